//! A buffer that collects short texts before they are appended to an answer.
//!
//! Copying a number of some ten bytes by a call, into memory that may have to grow, costs as much
//! as writing its digits.

/// Longer than any number in decimal.
const LONGEST: usize = 32;
const SIZE: usize = 1024;

/// At most a kilobyte of collected text.
pub(super) struct Piece {
    bytes: [u8; SIZE],
    len: usize,
}

impl Piece {
    pub(super) fn new() -> Self {
        Self {
            bytes: [0; SIZE],
            len: 0,
        }
    }

    /// Whether it must be appended to the answer before more is pushed: no space for a comma and a
    /// number is left.
    pub(super) fn is_full(&self) -> bool {
        self.len > SIZE - 2 * LONGEST
    }

    /// Appends a comma.
    #[inline(always)]
    pub(super) fn comma(&mut self) {
        self.bytes[self.len] = b',';
        self.len += 1;
    }

    /// Appends a text of at most 32 bytes.
    #[inline(always)]
    pub(super) fn push(&mut self, text: &[u8]) {
        let space: &mut [u8; LONGEST] = self.bytes[self.len..]
            .first_chunk_mut()
            .expect("a full piece is appended to the answer before more is pushed");
        // Two copies of a fixed size that overlap: any length between the one and the double of it.
        match text.len() {
            0 => return,
            len @ 1..=3 => {
                space[0] = text[0];
                space[len / 2] = text[len / 2];
                space[len - 1] = text[len - 1];
            }
            len @ 4..=7 => ends::<4>(space, text, len),
            len @ 8..=15 => ends::<8>(space, text, len),
            len @ 16..=LONGEST => ends::<16>(space, text, len),
            len => unreachable!("no number has {len} bytes"),
        }
        self.len += text.len();
    }

    /// Appends all of it to `out`; it is empty afterwards.
    pub(super) fn append_to(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes[..self.len]);
        self.len = 0;
    }
}

/// Copies the first and the last `N` bytes of `len`.
#[inline(always)]
fn ends<const N: usize>(space: &mut [u8; LONGEST], text: &[u8], len: usize) {
    space[..N].copy_from_slice(&text[..N]);
    space[len - N..len].copy_from_slice(&text[len - N..len]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_every_length_come_out_as_they_went_in() {
        let text: Vec<u8> = (b'0'..=b'Z').collect();
        let (mut out, mut expected) = (Vec::new(), Vec::new());
        let mut piece = Piece::new();
        for len in (0..=LONGEST).cycle().take(10 * LONGEST) {
            if piece.is_full() {
                piece.append_to(&mut out);
            }
            piece.comma();
            piece.push(&text[..len]);
            expected.push(b',');
            expected.extend_from_slice(&text[..len]);
        }
        piece.append_to(&mut out);
        assert_eq!(out, expected);
        piece.append_to(&mut out);
        assert_eq!(out, expected, "it was empty");
    }
}
