//! A bound on what a client may delay: the first bytes of a connection, and the end of the server.

use std::io::{ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How every HTTP/2 client begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose reads fail when the client has not shown in time which version of HTTP it
/// speaks.
///
/// hyper times the headers of a request, but only once it knows the version: without this, a client
/// that sends nothing, or the first letters of the preface, would keep its connection for ever.
///
/// Reads fail too when the server is stopping and no request is being answered, up to the last byte
/// of its answer: incomplete requests are not accepted, and hyper would wait for the rest.
pub(crate) struct HandshakeTimeoutStream {
    stream: TcpStream,
    /// Whether the server is stopping, and what had arrived before has been read.
    is_drained: Arc<AtomicBool>,
    /// Requests of this connection that are being answered.
    requests: Arc<AtomicUsize>,
    /// Whether bytes of an answer wait for the client to take those before.
    is_sending: bool,
    /// Until the version is known: when to give up, and how much of the preface was seen.
    waiting: Option<(Pin<Box<Sleep>>, usize)>,
    is_http2: bool,
}

impl HandshakeTimeoutStream {
    pub(crate) fn new(
        stream: TcpStream,
        timeout: Duration,
        is_drained: Arc<AtomicBool>,
        requests: Arc<AtomicUsize>,
    ) -> Self {
        let waiting = Some((Box::pin(tokio::time::sleep(timeout)), 0));
        Self {
            stream,
            is_drained,
            requests,
            is_sending: false,
            waiting,
            is_http2: false,
        }
    }

    /// Whether a request that has not arrived by now need not be waited for.
    fn is_abandoned(&self) -> bool {
        // An HTTP/2 connection is ended by GOAWAY (RFC 9113, section 6.8), which hyper sends.
        !self.is_http2
            && !self.is_sending
            && self.requests.load(Ordering::Relaxed) == 0
            && self.is_drained.load(Ordering::Relaxed)
    }
}

impl AsyncRead for HandshakeTimeoutStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        let this = &mut *self;
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if read.is_pending() && this.is_abandoned() {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        let Some((timeout, seen)) = &mut this.waiting else {
            return read;
        };
        if read.is_pending() {
            return timeout
                .as_mut()
                .poll(context)
                .map(|()| Err(ErrorKind::TimedOut.into()));
        }
        let received = &buffer.filled()[before..];
        *seen += received.len();
        let is_preface = PREFACE
            .get(*seen - received.len()..)
            .is_some_and(|rest| shares_prefix(rest, received));
        // From the first byte that differs it is HTTP/1, whose headers hyper times itself.
        if !is_preface || *seen >= PREFACE.len() {
            this.is_http2 = is_preface;
            this.waiting = None;
        }
        read
    }
}

/// Whether the shorter one is the beginning of the other.
fn shares_prefix(one: &[u8], two: &[u8]) -> bool {
    one.iter().zip(two).all(|(one, two)| one == two)
}

impl AsyncWrite for HandshakeTimeoutStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.is_sending = written.is_pending();
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.is_sending = written.is_pending();
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
