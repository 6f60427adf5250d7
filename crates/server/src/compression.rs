//! Bodies that are compressed on the wire.

use std::io::{Read, Write};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use tidegate_serving::{ErrorCode, InferError};

/// A larger body is compressed and decompressed outside of the threads that serve connections.
const BLOCKING_BYTES: usize = 64 << 10;

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

    /// Decompresses a body to at most `max_bytes`, because a small body can hold a huge one.
    pub(crate) async fn unpack(self, body: Bytes, max_bytes: usize) -> Result<Bytes, InferError> {
        // Handing a small body to another thread takes longer than unpacking it here.
        if body.len() < BLOCKING_BYTES {
            return self.unpack_now(&body, max_bytes);
        }
        blocking(move || self.unpack_now(&body, max_bytes)).await?
    }

    fn unpack_now(self, body: &[u8], max_bytes: usize) -> Result<Bytes, InferError> {
        let mut out = Vec::new();
        // One byte more than is allowed, to tell a body of just the limit from a larger one.
        let limit = max_bytes as u64 + 1;
        let read = match self {
            // A gzip body may have several members, one after the other (RFC 1952, section 2.2).
            Self::Gzip => flate2::read::MultiGzDecoder::new(body)
                .take(limit)
                .read_to_end(&mut out),
            // "deflate" is the zlib format (RFC 9110, section 8.4.1.2), not the bare algorithm.
            Self::Deflate => flate2::read::ZlibDecoder::new(body)
                .take(limit)
                .read_to_end(&mut out),
            Self::Zstd => zstd::stream::read::Decoder::new(body)
                .and_then(|decoder| decoder.take(limit).read_to_end(&mut out)),
        };
        read.map_err(|error| {
            InferError::new(
                ErrorCode::MalformedRequest,
                format!("the body cannot be decompressed: {error}"),
            )
        })?;
        if out.len() > max_bytes {
            let message = format!("the body is larger than {max_bytes} bytes once decompressed");
            return Err(InferError::new(ErrorCode::BodyTooLarge, message));
        }
        Ok(out.into())
    }

    /// Compresses an answer.
    pub(crate) async fn pack(self, body: Vec<u8>) -> Result<Vec<u8>, InferError> {
        if body.len() < BLOCKING_BYTES {
            return self.pack_now(&body);
        }
        blocking(move || self.pack_now(&body)).await?
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

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, InferError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| InferError::new(ErrorCode::Internal, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_gives_the_body_back() {
        let body = b"tensor".repeat(1000);
        for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd] {
            let packed = encoding.pack_now(&body).unwrap();
            assert!(packed.len() < body.len() / 10);
            assert_eq!(encoding.unpack_now(&packed, body.len()).unwrap(), body);
            let bomb = encoding.unpack_now(&packed, body.len() - 1).unwrap_err();
            assert_eq!(bomb.code, ErrorCode::BodyTooLarge);
            let cut = encoding
                .unpack_now(&packed[..packed.len() / 2], body.len())
                .unwrap_err();
            assert_eq!(cut.code, ErrorCode::MalformedRequest);
        }
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
