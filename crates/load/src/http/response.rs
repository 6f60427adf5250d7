//! Reading an HTTP/1.1 answer from bytes as they arrive.

use httparse::{EMPTY_HEADER, Status};

/// A number of headers that no server exceeds.
const MAX_HEADERS: usize = 96;

/// Reads one answer after the other. It is fed the bytes that were not consumed yet, joined with
/// new ones, and says how many it consumed; it allocates only while its excerpt of the body grows
/// for the first time.
#[derive(Debug)]
pub(crate) struct ResponseParser {
    state: State,
    status: u16,
    keep_alive: bool,
    body_bytes: u64,
    excerpt: Vec<u8>,
    excerpt_limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    /// This many bytes of the body are missing.
    Body(u64),
    /// The body ends with the connection.
    UntilClose,
    ChunkSize,
    Chunk(u64),
    /// The line break after a chunk.
    ChunkEnd,
    Trailers,
    Done,
}

/// How an answer breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResponseError {
    #[error("the head of the answer is not HTTP/1: {0}")]
    Head(httparse::Error),
    #[error("the answer has a wrong Content-Length")]
    ContentLength,
    #[error("the answer has a transfer encoding that is not chunked")]
    TransferEncoding,
    #[error("a chunk of the answer has a wrong size or no end")]
    Chunk,
    #[error("the trailers of the answer are wrong: {0}")]
    Trailers(httparse::Error),
    #[error("the server switched protocols")]
    Switched,
}

impl ResponseParser {
    /// A parser that keeps the first bytes of each body for error messages.
    pub(crate) fn new(excerpt_limit: usize) -> Self {
        Self {
            state: State::Head,
            status: 0,
            keep_alive: true,
            body_bytes: 0,
            excerpt: Vec::new(),
            excerpt_limit,
        }
    }

    /// Prepares for the next answer.
    pub(crate) fn reset(&mut self) {
        self.state = State::Head;
        self.body_bytes = 0;
        self.excerpt.clear();
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether nothing of the answer was read yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.state == State::Head
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Whether the connection takes another request after this answer.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.keep_alive
    }

    /// Bytes of the body, without the sizes of chunks.
    #[cfg(test)]
    pub(crate) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// The first bytes of the body.
    pub(crate) fn excerpt(&self) -> &[u8] {
        &self.excerpt
    }

    /// Notes that the connection ended; returns whether that completes the answer.
    pub(crate) fn end(&mut self) -> bool {
        if self.state == State::UntilClose {
            self.state = State::Done;
        }
        self.is_done()
    }

    /// Reads further bytes, and returns how many it consumed. Bytes after the answer are not
    /// consumed.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<usize, ResponseError> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let consumed = match self.state {
                State::Done => return Ok(at),
                State::Head => self.head(rest)?,
                State::Body(missing) => {
                    let taken = self.body(rest, missing);
                    let missing = missing - taken as u64;
                    self.state = if missing == 0 {
                        State::Done
                    } else {
                        State::Body(missing)
                    };
                    Some(taken).filter(|_| missing == 0 || taken > 0)
                }
                State::UntilClose => Some(self.body(rest, u64::MAX)).filter(|taken| *taken > 0),
                State::ChunkSize => self.chunk_size(rest)?,
                State::Chunk(missing) => {
                    let taken = self.body(rest, missing);
                    let missing = missing - taken as u64;
                    self.state = if missing == 0 {
                        State::ChunkEnd
                    } else {
                        State::Chunk(missing)
                    };
                    Some(taken).filter(|taken| *taken > 0)
                }
                State::ChunkEnd => self.chunk_end(rest)?,
                State::Trailers => self.trailers(rest)?,
            };
            match consumed {
                Some(consumed) => at += consumed,
                None => return Ok(at),
            }
        }
    }

    /// `None`: more bytes are needed. The same holds for the functions below.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, ResponseError> {
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let Status::Complete(length) = response.parse(bytes).map_err(ResponseError::Head)? else {
            return Ok(None);
        };
        let status = response.code.unwrap_or(0);
        match status {
            101 => return Err(ResponseError::Switched),
            // An interim answer: the real one follows.
            100..200 => return Ok(Some(length)),
            _ => self.status = status,
        }
        // HTTP/1.1 keeps connections open unless it says otherwise, HTTP/1.0 closes them.
        self.keep_alive = response.version == Some(1);
        let framing = Framing::of(response.headers)?;
        self.keep_alive = framing.keep_alive.unwrap_or(self.keep_alive);
        self.state = match (status, framing.is_chunked, framing.content_length) {
            // 204 and 304 have no body, whatever their headers say (RFC 9112, section 6.3).
            (204 | 304, ..) | (_, false, Some(0)) => State::Done,
            (_, true, _) => State::ChunkSize,
            (_, false, Some(length)) => State::Body(length),
            (_, false, None) => State::UntilClose,
        };
        if self.state == State::UntilClose {
            self.keep_alive = false;
        }
        Ok(Some(length))
    }

    /// Takes at most `most` bytes of the body.
    fn body(&mut self, bytes: &[u8], most: u64) -> usize {
        let taken = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
        let stored = taken.min(self.excerpt_limit - self.excerpt.len());
        self.excerpt.extend_from_slice(&bytes[..stored]);
        self.body_bytes += taken as u64;
        taken
    }

    fn chunk_size(&mut self, bytes: &[u8]) -> Result<Option<usize>, ResponseError> {
        match httparse::parse_chunk_size(bytes) {
            Ok(Status::Complete((length, 0))) => {
                self.state = State::Trailers;
                Ok(Some(length))
            }
            Ok(Status::Complete((length, size))) => {
                self.state = State::Chunk(size);
                Ok(Some(length))
            }
            Ok(Status::Partial) => Ok(None),
            Err(_) => Err(ResponseError::Chunk),
        }
    }

    fn chunk_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, ResponseError> {
        match bytes {
            [] | [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] => {
                self.state = State::ChunkSize;
                Ok(Some(2))
            }
            _ => Err(ResponseError::Chunk),
        }
    }

    fn trailers(&mut self, bytes: &[u8]) -> Result<Option<usize>, ResponseError> {
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        match httparse::parse_headers(bytes, &mut headers).map_err(ResponseError::Trailers)? {
            Status::Complete((length, _)) => {
                self.state = State::Done;
                Ok(Some(length))
            }
            Status::Partial => Ok(None),
        }
    }
}

/// What headers say about the end of the body, and of the connection.
#[derive(Default)]
struct Framing {
    content_length: Option<u64>,
    is_chunked: bool,
    keep_alive: Option<bool>,
}

impl Framing {
    fn of(headers: &[httparse::Header<'_>]) -> Result<Self, ResponseError> {
        let mut found = Self::default();
        for header in headers {
            if header.name.eq_ignore_ascii_case("content-length") {
                let value = decimal(header.value).ok_or(ResponseError::ContentLength)?;
                let before = found.content_length.replace(value);
                // Different lengths leave the end of the body unknown; the same one twice is
                // allowed (RFC 9112, section 6.3).
                if before.is_some_and(|before| before != value) {
                    return Err(ResponseError::ContentLength);
                }
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                if !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(ResponseError::TransferEncoding);
                }
                found.is_chunked = true;
            } else if header.name.eq_ignore_ascii_case("connection") {
                found.keep_alive = connection(header.value).or(found.keep_alive);
            }
        }
        Ok(found)
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    // `parse` alone would take a sign.
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// Whether a `Connection` header keeps the connection open, if it says so.
fn connection(value: &[u8]) -> Option<bool> {
    let mut options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    options.find_map(|option| {
        if option.eq_ignore_ascii_case(b"close") {
            Some(false)
        } else {
            option.eq_ignore_ascii_case(b"keep-alive").then_some(true)
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a parser found, having been given the bytes in pieces.
    #[derive(Debug, PartialEq)]
    struct Found {
        status: u16,
        keep_alive: bool,
        body: Vec<u8>,
        body_bytes: u64,
        left: usize,
    }

    fn parse(bytes: &[u8], cuts: &[usize]) -> Result<Option<Found>, ResponseError> {
        let mut parser = ResponseParser::new(1 << 20);
        let mut pending = Vec::new();
        let mut cuts: Vec<usize> = cuts
            .iter()
            .map(|cut| cut % (bytes.len() + 1))
            .chain([0, bytes.len()])
            .collect();
        cuts.sort_unstable();
        for cut in cuts.windows(2) {
            pending.extend_from_slice(&bytes[cut[0]..cut[1]]);
            let consumed = parser.feed(&pending)?;
            pending.drain(..consumed);
        }
        Ok(parser.is_done().then(|| Found {
            status: parser.status(),
            keep_alive: parser.keeps_alive(),
            body: parser.excerpt().to_vec(),
            body_bytes: parser.body_bytes(),
            left: pending.len(),
        }))
    }

    fn whole(text: &str) -> Found {
        parse(text.as_bytes(), &[]).unwrap().unwrap()
    }

    #[test]
    fn bodies_end_where_their_framing_says() {
        let found = whole("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP");
        assert_eq!(
            (found.status, found.body.as_slice(), found.left),
            (200, b"hello".as_slice(), 4)
        );
        let found = whole(
            "HTTP/1.1 429 Slow Down\r\ntransfer-encoding: chunked\r\nConnection: close\r\n\r\n\
             3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nExpires: never\r\n\r\n",
        );
        assert_eq!(
            (found.status, found.body.as_slice(), found.keep_alive),
            (429, b"abcde".as_slice(), false)
        );
        assert_eq!(whole("HTTP/1.1 204 No Content\r\n\r\n").body_bytes, 0);
        assert_eq!(
            whole("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .status,
            200
        );
    }

    #[test]
    fn a_body_without_a_length_ends_with_the_connection() {
        let mut parser = ResponseParser::new(16);
        parser.feed(b"HTTP/1.0 200 OK\r\n\r\nabc").unwrap();
        assert!(!parser.is_done() && !parser.keeps_alive());
        assert!(parser.end());
        assert_eq!(parser.excerpt(), b"abc");
        let mut cut_off = ResponseParser::new(16);
        cut_off
            .feed(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabc")
            .unwrap();
        assert!(!cut_off.end());
    }

    #[test]
    fn contradictions_are_refused() {
        for text in [
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc",
            "HTTP/1.1 101 Switching\r\n\r\n",
            "SSH-2.0 hello\r\n\r\n",
        ] {
            assert!(parse(text.as_bytes(), &[]).is_err(), "{text:?}");
        }
    }

    /// A well-formed answer: with a length or in chunks of the given sizes.
    fn answers() -> impl Strategy<Value = Vec<u8>> {
        let body = prop::collection::vec(any::<u8>(), 0..200);
        (200u16..599, body, prop::option::of(1usize..50)).prop_map(|(status, body, chunk)| {
            let mut bytes = format!("HTTP/1.1 {status} Reason\r\nserver: x\r\n").into_bytes();
            match chunk {
                None => {
                    bytes.extend_from_slice(
                        format!("content-length: {}\r\n\r\n", body.len()).as_bytes(),
                    );
                    bytes.extend_from_slice(&body);
                }
                Some(size) => {
                    bytes.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
                    for chunk in body.chunks(size) {
                        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                        bytes.extend_from_slice(chunk);
                        bytes.extend_from_slice(b"\r\n");
                    }
                    bytes.extend_from_slice(b"0\r\n\r\n");
                }
            }
            bytes
        })
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_parses_the_same(
            answer in answers(), cuts in prop::collection::vec(any::<usize>(), 0..8),
        ) {
            let whole = parse(&answer, &[]).unwrap();
            prop_assert!(whole.is_some());
            prop_assert_eq!(parse(&answer, &cuts).unwrap(), whole);
        }

        #[test]
        fn changed_bytes_never_panic(
            answer in answers(), changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6),
            cuts in prop::collection::vec(any::<usize>(), 0..4),
        ) {
            let mut answer = answer;
            for (at, byte) in changes {
                let at = at % answer.len();
                answer[at] = byte;
            }
            let _ = parse(&answer, &cuts);
        }

        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&noise, &[noise.len() / 2]);
        }
    }
}
