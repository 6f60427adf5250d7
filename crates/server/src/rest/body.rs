//! Bodies of requests and answers: bounded, timed, unpacked and packed.

use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tidegate_serving::{Encoded, ErrorCode, InferError};

use crate::ServerConfig;
use crate::compression::Encoding;

const MAX_WANTED_BYTES: usize = 64 << 10;

/// A body on its way in, from a connection or out of the router.
pub(crate) trait Arriving:
    http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send
{
}

impl<B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send> Arriving for B {}

/// Reads a whole body, decompressed. A body that was taken before is empty.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Option<impl Arriving>,
    config: &ServerConfig,
) -> Result<Bytes, InferError> {
    let Some(body) = body else {
        return Ok(Bytes::new());
    };
    read_at_most(config.max_body_bytes, headers, body, config).await
}

/// Reads what somebody wants of the server, as JSON; that is never much.
pub(crate) async fn wanted<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: impl Arriving,
    config: &ServerConfig,
) -> Result<T, InferError> {
    let max_bytes = config.max_body_bytes.min(MAX_WANTED_BYTES);
    parse(&read_at_most(max_bytes, headers, body, config).await?)
}

/// The JSON value of a body.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, InferError> {
    serde_json::from_slice(body).map_err(|error| {
        // Valid JSON, but not of the form that is wanted.
        let code = if error.is_data() {
            ErrorCode::MalformedRequest
        } else {
            ErrorCode::MalformedJson
        };
        InferError::new(code, format!("the body cannot be read: {error}"))
    })
}

/// As [`read`], with a limit of its own.
pub(crate) async fn read_at_most(
    max_bytes: usize,
    headers: &HeaderMap,
    body: impl Arriving,
    config: &ServerConfig,
) -> Result<Bytes, InferError> {
    let encoding = Encoding::of_request(headers)?;
    // Refused before it is asked for: a client that waits for "100 Continue" never sends it.
    if body.size_hint().lower() > max_bytes as u64 {
        return Err(too_large(max_bytes, config));
    }
    let timeout = Duration::from_millis(config.body_timeout_ms);
    let collected = tokio::time::timeout(timeout, Limited::new(body, max_bytes).collect()).await;
    let body = match collected {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(too_large(max_bytes, config));
        }
        Ok(Err(error)) => {
            return Err(InferError::new(
                ErrorCode::MalformedRequest,
                format!("the body cannot be read: {error}"),
            ));
        }
        Err(_) => {
            let message = format!(
                "the body did not arrive within {} ms",
                config.body_timeout_ms
            );
            return Err(InferError::new(ErrorCode::MalformedRequest, message));
        }
    };
    match encoding {
        None => Ok(body),
        Some(encoding) => encoding.unpack(body, max_bytes).await,
    }
}

fn too_large(max_bytes: usize, config: &ServerConfig) -> InferError {
    // The setting is named only where it is the limit: forms and the like have smaller ones.
    let setting = if max_bytes == config.max_body_bytes {
        " (server.max_body_bytes)"
    } else {
        ""
    };
    let message = format!("the body is larger than {max_bytes} bytes{setting}");
    InferError::new(ErrorCode::BodyTooLarge, message)
}

/// A successful answer, compressed where the client asked for it and it is large enough to gain.
pub(crate) async fn answer(
    body: Vec<u8>,
    content_type: &'static str,
    accepted: Option<Encoding>,
    config: &ServerConfig,
) -> Result<Response, InferError> {
    let encoding = accepted.filter(|_| body.len() >= config.compress_min_bytes);
    let body = match encoding {
        None => body,
        Some(encoding) => encoding.pack(body).await?,
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, encoding.header());
        // A shared cache must not give it to clients that cannot unpack it.
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    Ok(response)
}

/// As [`answer`], for the request pipeline.
pub(super) async fn encoded(
    body: Vec<u8>,
    content_type: &'static str,
    headers: &HeaderMap,
    config: &ServerConfig,
) -> Result<Encoded<Response>, InferError> {
    let answer = answer(body, content_type, Encoding::accepted(headers), config).await?;
    let size = http_body::Body::size_hint(answer.body());
    let bytes = usize::try_from(size.lower()).unwrap_or(usize::MAX);
    Ok(Encoded { answer, bytes })
}
