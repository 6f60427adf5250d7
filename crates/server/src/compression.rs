//! Bodies that are compressed on the wire.

use std::io::{Read, Write};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use tidegate_serving::{ErrorCode, InferError, MemoryReservation};

use crate::body_buffer::{larger, make_room};
use crate::codec::{INLINE_BYTES, run_codec};

/// Largest window of zstd, as a power of two: what RFC 9659 allows for bodies on the wire. The packed
/// body alone says how large it is, and the library would take up to 128 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// A content encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Gzip,
    Deflate,
    Zstd,
}

impl Encoding {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            // An old name of the same (RFC 9110, section 8.4.1.3).
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The value of `Content-Encoding`.
    pub(crate) fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        })
    }

    /// The encoding of a request's body, if it has one.
    pub(crate) fn of_request(headers: &HeaderMap) -> Result<Option<Self>, InferError> {
        let Some(value) = headers.get(header::CONTENT_ENCODING) else {
            return Ok(None);
        };
        let name = value.to_str().unwrap_or("?").trim().to_ascii_lowercase();
        if name.is_empty() || name == "identity" {
            return Ok(None);
        }
        Self::parse(&name).map(Some).ok_or_else(|| {
            // Cut: the header is the client's, of any length.
            let name: String = name.chars().take(32).collect();
            let message =
                format!("content encoding {name:?} is not known: use gzip, deflate or zstd");
            InferError::new(ErrorCode::UnsupportedEncoding, message)
        })
    }

    /// The encoding that the client prefers, of those that are supported.
    pub(crate) fn accepted(headers: &HeaderMap) -> Option<Self> {
        let accepted = headers.get(header::ACCEPT_ENCODING)?.to_str().ok()?;
        let mut best: Option<(Self, f32)> = None;
        for item in accepted.split(',') {
            let mut parts = item.split(';');
            let encoding = parts.next().and_then(|name| Self::parse(name.trim()));
            let weight = parts
                .find_map(|part| part.trim().strip_prefix("q=")?.parse().ok())
                .unwrap_or(1.0);
            if let Some(encoding) = encoding
                // A weight of 0 says "not acceptable" (RFC 9110, section 12.4.2). Of equal weights
                // the first wins.
                && weight > 0.0
                && best.is_none_or(|(_, other)| weight > other)
            {
                best = Some((encoding, weight));
            }
        }
        best.map(|(encoding, _)| encoding)
    }

    /// Unpacks a body to at most `max_bytes`: a small body must not unpack to a large one. What it
    /// unpacks to is reserved before memory is taken for it, beside what is reserved already.
    pub(crate) async fn unpack(
        self,
        body: Bytes,
        max_bytes: usize,
        memory: &mut MemoryReservation,
    ) -> Result<Bytes, InferError> {
        // Much can unpack to little: both sizes must be small.
        let is_small = body.len() <= INLINE_BYTES;
        let before = memory.bytes();
        let mut reader = self.reader(body)?;
        let mut unpacked = Vec::new();
        // One byte more than is allowed, to tell a body of just the limit from a larger one.
        let limit = max_bytes.saturating_add(1);
        let mut step = INLINE_BYTES;
        while unpacked.len() < limit {
            step = step.min(limit - unpacked.len());
            let bytes = unpacked.len() + step;
            let room = room(&unpacked, step, limit);
            // Both buffers are there while one is copied into the other.
            let copied = if room > 0 { unpacked.len() } else { 0 };
            let takes = before + bytes + self.window_bytes(bytes) + copied;
            memory.resize(takes, ErrorCode::BodyTooLarge)?;
            make_room(&mut unpacked, room)?;
            let ended = if is_small && unpacked.is_empty() {
                read_step(&mut reader, &mut unpacked, step)?
            } else {
                // By its unpacked size: a packed megabyte of blanks has a kilobyte.
                let (ended, same_reader, more) = run_codec(memory, move || {
                    let ended = read_step(&mut reader, &mut unpacked, step);
                    (ended, reader, unpacked)
                })
                .await?;
                (reader, unpacked) = (same_reader, more);
                ended?
            };
            if ended {
                memory.resize(before + unpacked.len(), ErrorCode::BodyTooLarge)?;
                return Ok(unpacked.into());
            }
            // Large steps, but none much larger than what has been read: the client that sends
            // little reserves little.
            step = unpacked.len().max(INLINE_BYTES);
        }
        let message = format!("the body is larger than {max_bytes} bytes once decompressed");
        Err(InferError::new(ErrorCode::BodyTooLarge, message))
    }

    /// What the reader keeps of so many unpacked bytes: the window of zstd, of which only the part that
    /// was written takes memory. The other encodings have small ones.
    fn window_bytes(self, unpacked: usize) -> usize {
        match self {
            Self::Gzip | Self::Deflate => 0,
            Self::Zstd => unpacked.min(1 << ZSTD_WINDOW_LOG),
        }
    }

    fn reader(self, body: Bytes) -> Result<Box<dyn Read + Send>, InferError> {
        let body = std::io::Cursor::new(body);
        Ok(match self {
            // A gzip body may have several members, one after the other (RFC 1952, section 2.2).
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(body)),
            // "deflate" is the zlib format (RFC 9110, section 8.4.1.2), not the bare algorithm.
            Self::Deflate => Box::new(flate2::read::ZlibDecoder::new(body)),
            Self::Zstd => {
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(body).map_err(not_decompressed)?;
                let limited = decoder.window_log_max(ZSTD_WINDOW_LOG);
                limited.map_err(not_decompressed)?;
                Box::new(decoder)
            }
        })
    }

    /// Compresses an answer.
    pub(crate) async fn pack(
        self,
        body: Vec<u8>,
        memory: &mut MemoryReservation,
    ) -> Result<Vec<u8>, InferError> {
        if body.len() < INLINE_BYTES {
            return self.pack_now(&body);
        }
        run_codec(memory, move || self.pack_now(&body)).await?
    }

    fn pack_now(self, body: &[u8]) -> Result<Vec<u8>, InferError> {
        // The fastest levels: the client waits meanwhile.
        let level = flate2::Compression::fast();
        let packed = match self {
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(body).and_then(|()| encoder.finish())
            }
            Self::Deflate => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(body).and_then(|()| encoder.finish())
            }
            Self::Zstd => zstd::stream::encode_all(body, 1),
        };
        packed.map_err(|error| InferError::new(ErrorCode::Internal, error.to_string()))
    }
}

/// How much larger the buffer becomes before the next step: most bodies end with the first one.
fn room(unpacked: &Vec<u8>, step: usize, limit: usize) -> usize {
    let bytes = unpacked.len() + step;
    if bytes <= unpacked.capacity() {
        return 0;
    }
    let capacity = match unpacked.len() {
        0 => bytes,
        _ => larger(bytes, limit),
    };
    capacity - unpacked.len()
}

/// Reads up to so many bytes more; whether the body has ended.
fn read_step(
    reader: &mut (impl Read + ?Sized),
    unpacked: &mut Vec<u8>,
    bytes: usize,
) -> Result<bool, InferError> {
    let read = reader.take(bytes as u64).read_to_end(unpacked);
    Ok(read.map_err(not_decompressed)? < bytes)
}

fn not_decompressed(error: std::io::Error) -> InferError {
    let message = format!("the body cannot be decompressed: {error}");
    InferError::new(ErrorCode::MalformedRequest, message)
}

#[cfg(test)]
mod tests {
    use tidegate_serving::MemoryBudget;

    use super::*;

    async fn unpack(
        encoding: Encoding,
        packed: &[u8],
        max_bytes: usize,
    ) -> Result<Bytes, ErrorCode> {
        let mut memory = MemoryReservation::default();
        let packed = Bytes::copy_from_slice(packed);
        let unpacked = encoding.unpack(packed, max_bytes, &mut memory).await;
        unpacked.map_err(|error| error.code)
    }

    #[tokio::test]
    async fn every_encoding_gives_the_body_back() {
        // Smaller and larger than what is unpacked at once.
        for body in [b"tensor".repeat(1000), b"tensor".repeat(100_000)] {
            for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd] {
                let packed = encoding.pack_now(&body).unwrap();
                assert!(packed.len() < body.len() / 10);
                let unpacked = unpack(encoding, &packed, body.len()).await;
                assert_eq!(unpacked.unwrap(), body);
                let bomb = unpack(encoding, &packed, body.len() - 1).await;
                assert_eq!(bomb.unwrap_err(), ErrorCode::BodyTooLarge);
                let cut = unpack(encoding, &packed[..packed.len() / 2], body.len()).await;
                assert_eq!(cut.unwrap_err(), ErrorCode::MalformedRequest);
            }
        }
    }

    #[tokio::test]
    async fn a_bomb_is_refused_by_the_memory_that_is_left() {
        let budget = MemoryBudget::new(1 << 20);
        let packed = Encoding::Zstd.pack_now(&vec![b' '; 8 << 20]).unwrap();
        let mut memory = budget.begin();
        let unpacked = Encoding::Zstd.unpack(packed.into(), 64 << 20, &mut memory);
        assert_eq!(unpacked.await.unwrap_err().code, ErrorCode::BodyTooLarge);
        drop(memory);
        assert_eq!(budget.used_bytes(), 0);
        assert!(budget.take_peak() <= budget.limit_bytes());
    }

    #[tokio::test]
    async fn what_an_unpacked_body_takes_is_what_is_reserved() {
        let budget = MemoryBudget::new(64 << 20);
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let body = vec![b' '; 3_000_001];
            let packed = encoding.pack_now(&body).unwrap();
            let mut memory = budget.begin();
            memory.grow(10, ErrorCode::BodyTooLarge).unwrap();
            let unpacked = encoding.unpack(packed.into(), 64 << 20, &mut memory);
            let unpacked = unpacked.await.unwrap();
            assert_eq!(memory.bytes(), 10 + unpacked.len());
            let window = if encoding == Encoding::Zstd {
                3 << 20
            } else {
                0
            };
            assert!(budget.take_peak() >= 3_000_000 + window, "{encoding:?}");
        }
    }

    #[tokio::test]
    async fn a_zstd_window_that_the_wire_may_not_have_is_refused() {
        let pack = |window_log: u32| {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(window_log).unwrap();
            encoder.write_all(&vec![b' '; 100_000]).unwrap();
            encoder.finish().unwrap()
        };
        let fits = unpack(Encoding::Zstd, &pack(ZSTD_WINDOW_LOG), 1 << 20).await;
        assert_eq!(fits.unwrap().len(), 100_000);
        let large = unpack(Encoding::Zstd, &pack(ZSTD_WINDOW_LOG + 1), 1 << 20).await;
        assert_eq!(large.unwrap_err(), ErrorCode::MalformedRequest);
    }

    #[test]
    fn the_client_chooses_the_encoding() {
        let accepted = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            Encoding::accepted(&headers)
        };
        assert_eq!(accepted("br, gzip, deflate"), Some(Encoding::Gzip));
        assert_eq!(
            accepted("gzip;q=0, deflate;q=0.5, zstd"),
            Some(Encoding::Zstd)
        );
        assert_eq!(accepted("identity"), None);
    }
}
