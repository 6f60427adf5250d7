//! Unary gRPC calls over HTTP/2 connections that many requests share.
//!
//! Messages are encoded once, before the load begins; the framing and the gRPC status of answers
//! are checked, and answers are decoded only if their content is needed.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, Uri, Version};
use percent_encoding::percent_decode_str;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::failure::{Failure, FailureKind};

/// Bytes that may be in flight on a stream, and on a connection, before the receiver extends its
/// window.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
/// Flag and length before each message.
const PREFIX_BYTES: usize = 5;

/// An HTTP/2 connection, which is opened again after it was lost.
#[derive(Debug)]
pub(crate) struct Channel {
    address: SocketAddr,
    /// The parts that all calls share; each call clones them.
    head: Request<()>,
    sender: Mutex<Option<SendRequest<Bytes>>>,
}

impl Channel {
    /// A channel for calls to one method, not connected yet.
    pub(crate) fn new(address: SocketAddr, uri: Uri, headers: &HeaderMap) -> Self {
        let mut head = Request::new(());
        *head.method_mut() = Method::POST;
        *head.version_mut() = Version::HTTP_2;
        *head.uri_mut() = uri;
        *head.headers_mut() = headers.clone();
        Self {
            address,
            head,
            sender: Mutex::new(None),
        }
    }

    /// Opens the connection if there is none; returns whether it did.
    pub(crate) async fn connect(&self) -> Result<bool, Failure> {
        let mut slot = self.sender.lock().await;
        // The lock is held while connecting, so that requests that wait for it share one
        // connection.
        if let Some(sender) = slot.as_ref()
            && sender.clone().ready().await.is_ok()
        {
            return Ok(false);
        }
        *slot = None;
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(connect_failed)?;
        stream.set_nodelay(true).map_err(connect_failed)?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            // gRPC does not use server push.
            .enable_push(false)
            .handshake(stream)
            .await
            .map_err(connect_failed)?;
        // Ends when the connection does; those who wait for answers learn why.
        tokio::spawn(connection);
        *slot = Some(sender);
        Ok(true)
    }

    /// Sends a framed message and reads the whole answer. Returns the message and the number of
    /// bytes received.
    pub(crate) async fn call(&self, message: &Bytes) -> Result<(Vec<Bytes>, u64), Failure> {
        // Cloned, so that the lock is not held during the call: many calls share the connection.
        let sender = self.sender.lock().await.clone();
        let sender =
            sender.ok_or_else(|| Failure::new(FailureKind::Connect, "there is no connection"))?;
        let mut sender = sender.ready().await.map_err(closed)?;
        let (response, mut body) = sender
            .send_request(self.head.clone(), false)
            .map_err(closed)?;
        body.send_data(message.clone(), true).map_err(closed)?;
        let (head, mut body) = response.await.map_err(closed)?.into_parts();
        if !head.status.is_success() {
            return Err(Failure::http(head.status.as_u16(), b""));
        }
        let mut parts = Vec::with_capacity(1);
        let mut received = 0;
        while let Some(part) = body.data().await {
            let part = part.map_err(closed)?;
            // Without it, the window closes and the server stops sending.
            let _ = body.flow_control().release_capacity(part.len());
            received += part.len();
            parts.push(part);
        }
        let trailers = body.trailers().await.map_err(closed)?;
        // An answer without a message has its status in the head.
        status(trailers.as_ref().unwrap_or(&head.headers))?;
        framed(&parts, received)?;
        Ok((parts, received as u64))
    }
}

fn connect_failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Connect, error)
}

fn closed(error: h2::Error) -> Failure {
    Failure::new(FailureKind::Closed, error)
}

/// A message with gRPC's prefix: not compressed, and its length.
pub(crate) fn frame(message: &impl prost::Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + length);
    bytes.push(0);
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    message
        .encode(&mut bytes)
        .expect("a vector grows as needed");
    bytes.into()
}

/// The reverse of [`frame`].
pub(crate) fn message<M: prost::Message + Default>(parts: &[Bytes]) -> Result<M, Failure> {
    let bytes = parts.concat();
    let message = M::decode(bytes.get(PREFIX_BYTES..).unwrap_or_default());
    message.map_err(|error| Failure::new(FailureKind::Malformed, error))
}

fn status(headers: &HeaderMap) -> Result<(), Failure> {
    match header_text(headers, "grpc-status").and_then(|status| status.parse().ok()) {
        Some(0) => Ok(()),
        Some(status) => {
            let code = header_text(headers, "tidegate-code").map(str::to_owned);
            let message =
                percent_decode_str(header_text(headers, "grpc-message").unwrap_or_default());
            Err(Failure::grpc(status, code, &message.decode_utf8_lossy()))
        }
        None => Err(Failure::new(
            FailureKind::Malformed,
            "the answer has no grpc-status",
        )),
    }
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Checks that there is one complete message without compression, as in unary calls.
fn framed(parts: &[Bytes], received: usize) -> Result<(), Failure> {
    let mut prefix = [0; PREFIX_BYTES];
    let bytes = parts.iter().flatten().copied();
    prefix
        .iter_mut()
        .zip(bytes)
        .for_each(|(slot, byte)| *slot = byte);
    let [flag, length @ ..] = prefix;
    if received < PREFIX_BYTES
        || flag != 0
        || u32::from_be_bytes(length) as usize != received - PREFIX_BYTES
    {
        return Err(Failure::new(
            FailureKind::Malformed,
            "the answer is not one whole uncompressed message",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_cut_off_or_compressed_is_malformed() {
        let whole = frame(&"hello".to_owned());
        let (one, two) = (whole.slice(..3), whole.slice(3..));
        assert!(framed(&[one.clone(), two], whole.len()).is_ok());
        assert_eq!(
            message::<String>(std::slice::from_ref(&whole)).unwrap(),
            "hello"
        );
        assert!(framed(std::slice::from_ref(&one), one.len()).is_err());
        let mut compressed = whole.to_vec();
        compressed[0] = 1;
        assert!(framed(&[compressed.into()], whole.len()).is_err());
        assert!(framed(&[], 0).is_err());
    }

    #[test]
    fn a_status_other_than_ok_is_a_failure_with_its_code() {
        let mut headers = HeaderMap::new();
        assert_eq!(status(&headers).unwrap_err().kind, FailureKind::Malformed);
        headers.insert("grpc-status", http::HeaderValue::from_static("8"));
        headers.insert(
            "tidegate-code",
            http::HeaderValue::from_static("queue_full"),
        );
        headers.insert(
            "grpc-message",
            http::HeaderValue::from_static("the%20queue is full"),
        );
        let failure = status(&headers).unwrap_err();
        assert_eq!(
            (failure.kind, failure.code.as_deref()),
            (FailureKind::Refused, Some("queue_full"))
        );
        assert_eq!(failure.message, "the queue is full");
        headers.insert("grpc-status", http::HeaderValue::from_static("0"));
        assert!(status(&headers).is_ok());
    }
}
