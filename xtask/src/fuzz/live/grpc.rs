//! Calls over gRPC, written as frames of HTTP/2 (RFC 9113) by hand, so that any byte can be wrong.

use super::super::mutation::Random;
use super::Input;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const METHODS: [&str; 8] = [
    "ModelInfer",
    "ModelInfer",
    "ModelInfer",
    "ModelStreamInfer",
    "ModelMetadata",
    "ModelReady",
    "RepositoryIndex",
    "NoMethod",
];

/// One in two calls is well-formed but for its message. The others are changed anywhere.
pub(super) fn input(random: &mut Random, messages: &[Vec<u8>]) -> Input {
    let method = *random.choose(&METHODS);
    let mut message = random.choose(messages).clone();
    let is_whole = random.below(2) == 0;
    if is_whole {
        message = random.mutate(&message);
    }
    let mut body = vec![0];
    body.extend_from_slice(&(message.len() as u32).to_be_bytes());
    body.extend_from_slice(&message);
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(HEADERS, END_HEADERS, 1, &headers(method)));
    bytes.extend(frame(DATA, END_STREAM, 1, &body));
    if !is_whole {
        bytes = random.mutate(&bytes);
    }
    Input { bytes, is_whole }
}

/// Whether the call or the connection has ended.
pub(super) fn is_complete(received: &[u8]) -> bool {
    let mut rest = received;
    while let [l0, l1, l2, kind, flags, _, _, _, _, ..] = *rest {
        let ends_call = kind == RST_STREAM || kind == HEADERS && flags & END_STREAM > 0;
        if ends_call || kind == GOAWAY {
            return true;
        }
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let Some(next) = rest.get(9 + length..) else {
            return false;
        };
        rest = next;
    }
    false
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The headers of a call as literals without an index (RFC 7541, 6.2.2).
fn headers(method: &str) -> Vec<u8> {
    let path = format!("/inference.GRPCInferenceService/{method}");
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path.as_str()),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let mut block = Vec::new();
    for (name, value) in fields {
        // Lengths below 127 are one byte.
        block.extend_from_slice(&[0, name.len() as u8]);
        block.extend_from_slice(name.as_bytes());
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_call_is_seen() {
        let settings = frame(SETTINGS, 0, 0, &[]);
        let answer = frame(HEADERS, END_HEADERS, 1, b"x");
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, b"y");
        assert!(!is_complete(&[settings.clone(), answer.clone()].concat()));
        assert!(is_complete(&[settings, answer, trailers].concat()));
    }
}
