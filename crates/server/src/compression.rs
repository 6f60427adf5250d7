//! Bodies that are compressed on the wire.

use std::io::{Read, Write};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use tidegate_serving::{ErrorCode, InferError, MemoryReservation};

use crate::codec::{INLINE_BYTES, run_codec};

/// A content encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Gzip,
    Deflate,
    Zstd,
}

impl Encoding {
    fn parse(name: &str) -> Option<Self> {
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
    /// unpacks to is reserved before memory is taken for it.
    pub(crate) async fn unpack(
        self,
        body: Bytes,
        max_bytes: usize,
        memory: &mut MemoryReservation,
    ) -> Result<Bytes, InferError> {
        // Much can unpack to little: both sizes must be small.
        let is_small = body.len() <= INLINE_BYTES;
        let mut reader = self.reader(body)?;
        let mut unpacked = Vec::new();
        // One byte more than is allowed, to tell a body of just the limit from a larger one.
        let limit = max_bytes.saturating_add(1);
        let mut step = INLINE_BYTES;
        while unpacked.len() < limit {
            step = step.min(limit - unpacked.len());
            memory.grow(step, ErrorCode::BodyTooLarge)?;
            let ended = if is_small && unpacked.is_empty() {
                read_step(&mut reader, &mut unpacked, step)?
            } else {
                // By its unpacked size: a packed megabyte of blanks has a kilobyte.
                let (ended, same_reader, more) = run_codec(move || {
                    let ended = read_step(&mut reader, &mut unpacked, step);
                    (ended, reader, unpacked)
                })
                .await?;
                (reader, unpacked) = (same_reader, more);
                ended?
            };
            if ended {
                return Ok(unpacked.into());
            }
            // Large steps, but none much larger than what has been read: the client that sends
            // little reserves little.
            step = unpacked.len().max(INLINE_BYTES);
        }
        let message = format!("the body is larger than {max_bytes} bytes once decompressed");
        Err(InferError::new(ErrorCode::BodyTooLarge, message))
    }

    fn reader(self, body: Bytes) -> Result<Box<dyn Read + Send>, InferError> {
        let body = std::io::Cursor::new(body);
        Ok(match self {
            // A gzip body may have several members, one after the other (RFC 1952, section 2.2).
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(body)),
            // "deflate" is the zlib format (RFC 9110, section 8.4.1.2), not the bare algorithm.
            Self::Deflate => Box::new(flate2::read::ZlibDecoder::new(body)),
            Self::Zstd => {
                Box::new(zstd::stream::read::Decoder::new(body).map_err(not_decompressed)?)
            }
        })
    }

    /// Compresses an answer.
    pub(crate) async fn pack(self, body: Vec<u8>) -> Result<Vec<u8>, InferError> {
        if body.len() < INLINE_BYTES {
            return self.pack_now(&body);
        }
        run_codec(move || self.pack_now(&body)).await?
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
