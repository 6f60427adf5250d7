//! Bodies of requests and answers: bounded, timed, unpacked and packed.

use std::pin::pin;
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tidegate_serving::{Encoded, ErrorCode, InferError, MemoryReservation};

use crate::ServerConfig;
use crate::codec::hold;
use crate::compression::Encoding;
use crate::front_end::FrontEnd;

const MAX_WANTED_BYTES: usize = 64 << 10;

/// A smaller answer gives its memory back before it is sent: holding it would cost more than it
/// takes.
const MIN_HELD_BYTES: usize = 16 << 10;

/// A body on its way in, from a connection or out of the router.
pub(crate) trait Arriving:
    http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send
{
}

impl<B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send> Arriving for B {}

/// Reads a whole body, decompressed, whose bytes are reserved as they arrive. A body that was taken
/// before is empty. A server that is stopping does not wait for one that does not come.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Option<impl Arriving>,
    front_end: &FrontEnd,
    memory: &mut MemoryReservation,
) -> Result<Bytes, InferError> {
    let Some(body) = body else {
        return Ok(Bytes::new());
    };
    let config = &front_end.config;
    let max_bytes = config.max_body_bytes;
    tokio::select! {
        // The body first: most are there already.
        biased;
        body = read_at_most(max_bytes, headers, body, config, memory) => body,
        () = front_end.lifecycle.stopping_for_long() => {
            let message = "the server is stopping, and the body has not arrived";
            Err(InferError::new(ErrorCode::ShuttingDown, message))
        }
    }
}

/// Reads what somebody wants of the server, as JSON; that is never much.
pub(crate) async fn wanted<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: impl Arriving,
    config: &ServerConfig,
) -> Result<T, InferError> {
    let max_bytes = config.max_body_bytes.min(MAX_WANTED_BYTES);
    // Too little to count.
    let mut memory = MemoryReservation::default();
    parse(&read_at_most(max_bytes, headers, body, config, &mut memory).await?)
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
    memory: &mut MemoryReservation,
) -> Result<Bytes, InferError> {
    let encoding = Encoding::of_request(headers)?;
    // Refused before it is asked for: a client that waits for "100 Continue" never sends it.
    if body.size_hint().lower() > max_bytes as u64 {
        return Err(too_large(max_bytes, config));
    }
    let timeout = Duration::from_millis(config.body_timeout_ms);
    let collecting = collect(max_bytes, body, config, memory);
    let body = tokio::time::timeout(timeout, collecting).await;
    let body = body.unwrap_or_else(|_| {
        let message = format!(
            "the body did not arrive within {} ms",
            config.body_timeout_ms
        );
        Err(InferError::new(ErrorCode::MalformedRequest, message))
    })?;
    match encoding {
        None => Ok(body),
        Some(encoding) => {
            // Boxed: few bodies are packed, and the future of every request would have room for it.
            let unpacked = Box::pin(encoding.unpack(body, max_bytes, memory)).await?;
            memory.resize(unpacked.len(), ErrorCode::BodyTooLarge)?;
            Ok(unpacked)
        }
    }
}

/// Collects the frames of a body. One that came in a single frame is not copied.
async fn collect(
    max_bytes: usize,
    body: impl Arriving,
    config: &ServerConfig,
    memory: &mut MemoryReservation,
) -> Result<Bytes, InferError> {
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut joined = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let error: BoxError = error.into();
            InferError::new(
                ErrorCode::MalformedRequest,
                format!("the body cannot be read: {error}"),
            )
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + joined.len() + data.len() > max_bytes {
            return Err(too_large(max_bytes, config));
        }
        memory.grow(data.len(), ErrorCode::BodyTooLarge)?;
        if joined.is_empty() && first.is_empty() {
            first = data;
            continue;
        }
        if joined.is_empty() {
            // As much as is announced, at once: a buffer that grows leaves its old ones behind.
            // What has not arrived takes no memory yet, only addresses.
            let announced = body.size_hint().lower().min(max_bytes as u64) as usize;
            reserve(&mut joined, first.len() + data.len() + announced)?;
            joined.extend_from_slice(&std::mem::take(&mut first));
        }
        reserve(&mut joined, data.len())?;
        joined.extend_from_slice(&data);
    }
    if joined.is_empty() {
        return Ok(first);
    }
    Ok(joined.into())
}

/// Makes room in a buffer, where the system lets the process have it.
fn reserve(buffer: &mut Vec<u8>, bytes: usize) -> Result<(), InferError> {
    buffer.try_reserve(bytes).map_err(|_| {
        let message = format!("the process has no memory for {bytes} bytes of a body");
        InferError::new(ErrorCode::MemoryFull, message)
    })
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
/// Its memory is given back once it was sent.
pub(crate) async fn answer(
    body: Vec<u8>,
    content_type: &'static str,
    accepted: Option<Encoding>,
    config: &ServerConfig,
    mut memory: MemoryReservation,
) -> Result<Response, InferError> {
    let encoding = accepted.filter(|_| body.len() >= config.compress_min_bytes);
    let body = match encoding {
        None => body,
        Some(encoding) => Box::pin(encoding.pack(body)).await?,
    };
    let body = if body.len() < MIN_HELD_BYTES {
        Body::from(body)
    } else {
        memory.resize(body.capacity(), ErrorCode::AnswerTooLarge)?;
        Body::from(hold(body, memory))
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, encoding.header());
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
    memory: MemoryReservation,
) -> Result<Encoded<Response>, InferError> {
    let accepted = Encoding::accepted(headers);
    let answer = answer(body, content_type, accepted, config, memory).await?;
    let size = http_body::Body::size_hint(answer.body());
    let bytes = usize::try_from(size.lower()).unwrap_or(usize::MAX);
    Ok(Encoded { answer, bytes })
}
