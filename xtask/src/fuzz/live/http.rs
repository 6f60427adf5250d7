//! Requests over HTTP/1.1: well-formed ones with changed bodies, and changed bytes.

use super::super::mutation::Random;
use super::Input;

const TARGETS: [(&str, &str); 16] = [
    ("POST", "/v2/models/digits/infer"),
    ("POST", "/v2/models/digits/infer"),
    ("POST", "/v2/models/digits/versions/1/infer"),
    ("POST", "/v1/models/digits:predict"),
    ("POST", "/v2/repository/index"),
    ("GET", "/v2"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/models/digits"),
    ("GET", "/v2/models/digits/config"),
    ("GET", "/v2/models/digits/stats"),
    ("GET", "/v2/models/nothing"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/console"),
    ("PUT", "/v2/models/digits/infer"),
    ("OPTIONS", "*"),
];

/// One in two requests is well-formed but for its body. The others are changed anywhere.
pub(super) fn input(random: &mut Random, bodies: &[Vec<u8>]) -> Input {
    let (method, path) = *random.choose(&TARGETS);
    let mut body = match random.below(3) {
        0 => row(random).into_bytes(),
        _ => random.choose(bodies).clone(),
    };
    let is_whole = random.below(2) == 0;
    if is_whole {
        body = random.mutate(&body);
    }
    let header = match random.below(6) {
        0 => format!(
            "Inference-Header-Content-Length: {}\r\n",
            random.below(body.len() + 2)
        ),
        1 => "Content-Encoding: gzip\r\n".to_owned(),
        2 => "Connection: close\r\n".to_owned(),
        _ => String::new(),
    };
    let mut bytes = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{header}\
         Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(&body);
    if !is_whole {
        bytes = random.mutate(&bytes);
    }
    Input { bytes, is_whole }
}

/// A request that `digits` answers.
fn row(random: &mut Random) -> String {
    let pixels: Vec<String> = (0..64).map(|_| random.below(17).to_string()).collect();
    let data = pixels.join(",");
    format!(
        "{{\"inputs\":[{{\"name\":\"image\",\"datatype\":\"FP32\",\"shape\":[1,64],\"data\":[{data}]}}]}}"
    )
}

/// Whether an answer with a length has all of its body, or a chunked one its last chunk.
pub(super) fn is_complete(received: &[u8]) -> bool {
    let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
    if head.contains("transfer-encoding: chunked") {
        return received.ends_with(b"0\r\n\r\n");
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|length| length.trim().parse().ok());
    received.len() - end - 4 >= length.unwrap_or(0usize)
}

/// A status of 500 or more.
pub(super) fn problem(answer: &[u8]) -> Option<String> {
    let line = String::from_utf8_lossy(answer.split(|byte| *byte == b'\r').next()?).into_owned();
    let status: u16 = line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    // A method or version of HTTP that nobody knows is the client's fault, in spite of its number.
    (status >= 500 && status != 501 && status != 505).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_answer_is_seen() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
        assert!(!is_complete(head));
        assert!(is_complete(&[head.as_slice(), b"abc"].concat()));
        assert!(!is_complete(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        ));
    }

    #[test]
    fn faults_of_the_server_are_problems() {
        assert!(problem(b"HTTP/1.1 500 Internal Server Error\r\n\r\n").is_some());
        assert!(problem(b"HTTP/1.1 400 Bad Request\r\n\r\n").is_none());
    }
}
