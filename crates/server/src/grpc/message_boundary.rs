//! Where one gRPC message ends and the next one begins.

/// Before each message: a byte that says whether it is compressed, and four of its length
/// ("Length-Prefixed-Message" in gRPC's protocol over HTTP/2).
pub(super) const PREFIX_BYTES: usize = 5;

/// Where in its messages a body is.
#[derive(Default)]
pub(super) struct MessageBoundary {
    /// Bytes of the prefix that have arrived.
    prefix_bytes: usize,
    /// The length, as far as the prefix has arrived.
    length: u32,
    /// Bytes of the message that are missing, once its prefix is whole.
    missing: usize,
}

impl MessageBoundary {
    /// Whether no message is half sent.
    pub(super) fn is_whole(&self) -> bool {
        self.prefix_bytes == 0 && self.missing == 0
    }

    /// Moves over bytes that have arrived; whether a message ended in them.
    pub(super) fn advance(&mut self, mut data: &[u8]) -> bool {
        let mut has_ended = false;
        while let Some((&byte, rest)) = data.split_first() {
            if self.missing > 0 {
                let part = self.missing.min(data.len());
                data = &data[part..];
                self.missing -= part;
                has_ended |= self.missing == 0;
                continue;
            }
            data = rest;
            // The first byte of the prefix is a flag.
            if self.prefix_bytes > 0 {
                self.length = self.length << 8 | u32::from(byte);
            }
            self.prefix_bytes += 1;
            if self.prefix_bytes == PREFIX_BYTES {
                self.missing = self.length as usize;
                (self.prefix_bytes, self.length) = (0, 0);
                has_ended |= self.missing == 0;
            }
        }
        has_ended
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A message of so many bytes as it is on the wire.
    pub(in super::super) fn message(bytes: usize) -> Vec<u8> {
        let mut message = vec![0];
        message.extend_from_slice(&u32::try_from(bytes).unwrap().to_be_bytes());
        message.resize(PREFIX_BYTES + bytes, 7);
        message
    }

    #[test]
    fn the_end_of_a_message_is_found_however_it_is_cut() {
        let sent = [message(300), message(0), message(2)].concat();
        for part in [1, 2, 3, 7, 1000] {
            let mut boundary = MessageBoundary::default();
            let mut ends = Vec::new();
            let mut at = 0;
            for data in sent.chunks(part) {
                let has_ended = boundary.advance(data);
                at += data.len();
                if boundary.is_whole() {
                    assert!(has_ended);
                    ends.push(at);
                }
            }
            assert_eq!(ends.last(), Some(&sent.len()), "{part}");
            if part == 1 {
                assert_eq!(ends, [305, 310, 317]);
            }
        }
    }
}
