//! Bodies of requests and answers: bounded, timed, unpacked and packed.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use tidegate_serving::{Encoded, ErrorCode, InferError, MemoryReservation};

use crate::ServerConfig;
use crate::body_buffer::BodyBuffer;
use crate::codec::hold;
use crate::compression::Encoding;
use crate::front_end::FrontEnd;
use crate::lifecycle::Lifecycle;
use crate::upload_timer::{UploadLimits, UploadTimer};

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
    let arrival = Arrival::new(config.max_body_bytes, config, Some(&front_end.lifecycle));
    arrival.read(headers, body, memory).await
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
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, InferError> {
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
    let arrival = Arrival::new(max_bytes, config, None);
    arrival.read(headers, body, memory).await
}

/// A body while it arrives.
struct Arrival<'a> {
    max_bytes: usize,
    config: &'a ServerConfig,
    /// Where a server that is stopping does not wait for it.
    lifecycle: Option<&'a Lifecycle>,
    /// Set once a part was waited for.
    timer: Option<UploadTimer>,
    received: usize,
}

impl<'a> Arrival<'a> {
    fn new(max_bytes: usize, config: &'a ServerConfig, lifecycle: Option<&'a Lifecycle>) -> Self {
        Self {
            max_bytes,
            config,
            lifecycle,
            timer: None,
            received: 0,
        }
    }

    async fn read(
        mut self,
        headers: &HeaderMap,
        body: impl Arriving,
        memory: &mut MemoryReservation,
    ) -> Result<Bytes, InferError> {
        let encoding = Encoding::of_request(headers)?;
        // Refused before it is asked for: a client that waits for "100 Continue" never sends it.
        if body.size_hint().lower() > self.max_bytes as u64 {
            return Err(self.too_large());
        }
        let body = self.collect(body, memory).await?;
        match encoding {
            None => Ok(body),
            // Boxed: few bodies are packed, and the future of every request would have room for it.
            Some(encoding) => Box::pin(unpack(encoding, body, self.max_bytes, memory)).await,
        }
    }

    /// Collects the frames of a body. One that came in a single frame is not copied.
    async fn collect(
        &mut self,
        body: impl Arriving,
        memory: &mut MemoryReservation,
    ) -> Result<Bytes, InferError> {
        let mut body = pin!(body);
        let Some(first) = self.next(body.as_mut()).await? else {
            return Ok(Bytes::new());
        };
        memory.grow(first.len(), ErrorCode::BodyTooLarge)?;
        if body.is_end_stream() {
            return Ok(first);
        }
        let Some(second) = self.next(body.as_mut()).await? else {
            return Ok(first);
        };
        // As much as is announced, at once: a buffer that grows leaves its old ones behind.
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let announced = announced.saturating_add(self.received);
        let mut joined = BodyBuffer::new(announced, self.max_bytes)?;
        joined.push_counted(&first, memory)?;
        drop(first);
        let mut next = Some(second);
        while let Some(data) = next {
            joined.push(&data, memory)?;
            next = self.next(body.as_mut()).await?;
        }
        Ok(joined.into_bytes().into())
    }

    /// The next bytes, in time and within the limit.
    async fn next(
        &mut self,
        mut body: Pin<&mut impl Arriving>,
    ) -> Result<Option<Bytes>, InferError> {
        loop {
            let frame = poll_fn(|context| match body.as_mut().poll_frame(context) {
                Poll::Pending => self.poll_late(context).map(Err),
                Poll::Ready(frame) => Poll::Ready(Ok(frame)),
            });
            let Some(frame) = frame.await? else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| unreadable(error.into()))?;
            if let Ok(data) = frame.into_data() {
                self.received = self.received.saturating_add(data.len());
                if self.received > self.max_bytes {
                    return Err(self.too_large());
                }
                return Ok(Some(data));
            }
        }
    }

    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<InferError> {
        let timer = self.timer.get_or_insert_with(|| {
            UploadTimer::start(UploadLimits::of(self.config), self.lifecycle, self.received)
        });
        timer.poll_late(self.received, context)
    }

    fn too_large(&self) -> InferError {
        let max_bytes = self.max_bytes;
        // The setting is named only where it is the limit: forms and the like have smaller ones.
        let setting = if max_bytes == self.config.max_body_bytes {
            " (server.max_body_bytes)"
        } else {
            ""
        };
        let message = format!("the body is larger than {max_bytes} bytes{setting}");
        InferError::new(ErrorCode::BodyTooLarge, message)
    }
}

async fn unpack(
    encoding: Encoding,
    body: Bytes,
    max_bytes: usize,
    memory: &mut MemoryReservation,
) -> Result<Bytes, InferError> {
    let packed = memory.bytes();
    let unpacked = encoding.unpack(body, max_bytes, memory).await?;
    memory.shrink_to(memory.bytes() - packed);
    Ok(unpacked)
}

fn unreadable(error: BoxError) -> InferError {
    let message = format!("the body cannot be read: {error}");
    InferError::new(ErrorCode::MalformedRequest, message)
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
        Some(encoding) => Box::pin(encoding.pack(body, &mut memory)).await?,
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
