//! A bound on what a client may delay: the first bytes of a connection, the answers that it does not
//! read, and the end of the server.

use std::io::{ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::activity::Activity;
use super::connection::Timeouts;
use super::tls::Transport;
use super::write_timeout::WriteTimeout;

/// How every HTTP/2 client begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A client that closes its half of a connection this soon after a request waits for the answer.
const HALF_CLOSE_WITHIN: Duration = Duration::from_millis(20);

/// A connection whose reads fail when the client has not shown in time which version of HTTP it
/// speaks, and whose writes fail when the client has not read in time what was written before.
///
/// hyper times the headers of a request, but only once it knows the version: without this, a client
/// that sends nothing, or the first letters of the preface, would keep its connection for ever.
///
/// Reads fail too when the server is stopping and no request is being answered, up to the last byte
/// of its answer: incomplete requests are not accepted, and hyper would wait for the rest.
pub(crate) struct ClientStream {
    stream: Transport,
    /// Whether the server is stopping, and what had arrived before has been read.
    is_drained: Arc<AtomicBool>,
    activity: Arc<Activity>,
    write_timeout: WriteTimeout,
    /// Until the version is known: when to give up, and how much of the preface was seen.
    waiting: Option<(Pin<Box<Sleep>>, usize)>,
    is_http2: bool,
    last_read: Instant,
    /// Whether the client has closed its half of the connection and waits for its answers.
    is_half_closed: bool,
    /// When to believe that the rest of a body is missing.
    body_patience: Option<Pin<Box<Sleep>>>,
}

impl ClientStream {
    pub(crate) fn new(
        stream: Transport,
        timeouts: Timeouts,
        is_drained: Arc<AtomicBool>,
        activity: Arc<Activity>,
    ) -> Self {
        let waiting = Some((Box::pin(tokio::time::sleep(timeouts.handshake)), 0));
        Self {
            stream,
            is_drained,
            activity,
            write_timeout: WriteTimeout::new(timeouts.write, timeouts.write_at_end),
            waiting,
            is_http2: false,
            last_read: Instant::now(),
            is_half_closed: false,
            body_patience: None,
        }
    }

    /// Whether a request that has not arrived by now need not be waited for.
    fn is_abandoned(&self) -> bool {
        // An HTTP/2 connection is ended by GOAWAY (RFC 9113, section 6.8), which hyper sends.
        !self.is_http2
            && !self.write_timeout.is_waiting()
            && !self.activity.has_requests()
            && self.is_drained.load(Ordering::Relaxed)
    }

    /// The end of what a client sends. One that ends its half directly behind its request wants the
    /// answer, as `nc -N` does; hyper would give it up. One that ends it later has gone away, and its
    /// request is dropped to make room for others.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        let is_early = self.last_read.elapsed() < HALF_CLOSE_WITHIN;
        self.is_half_closed |= is_early && !self.is_http2;
        let is_awaited = self.activity.has_requests() || self.write_timeout.is_waiting();
        if !self.is_half_closed || !is_awaited {
            return Poll::Ready(Ok(()));
        }
        if !self.activity.is_receiving() {
            // Read again once the request was answered.
            return Poll::Pending;
        }
        // The end of the body may be on its way from hyper to whoever reads it.
        let patience = self
            .body_patience
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(HALF_CLOSE_WITHIN)));
        patience.as_mut().poll(context).map(Ok)
    }

    /// Fails a write for which the client has not made room in time.
    fn in_time<T>(
        &mut self,
        written: Poll<Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<Result<T>> {
        if written.is_ready() {
            self.write_timeout.stop();
            return written;
        }
        let is_stopping = self.is_drained.load(Ordering::Relaxed);
        let stalled = self
            .write_timeout
            .poll_stalled(self.stream.socket(), is_stopping, context);
        stalled.map(|()| Err(ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        let this = &mut *self;
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = read {
            if buffer.filled().len() > before {
                this.last_read = Instant::now();
            } else if buffer.remaining() > 0 && this.waiting.is_none() {
                return this.poll_end(context);
            }
        }
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
            this.activity.begin(is_preface);
            this.waiting = None;
        }
        read
    }
}

/// Whether the shorter one is the beginning of the other.
fn shares_prefix(one: &[u8], two: &[u8]) -> bool {
    one.iter().zip(two).all(|(one, two)| one == two)
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        match self.stream.is_buffered() {
            true => self.in_time(flushed, context),
            false => flushed,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let shut_down = Pin::new(&mut self.stream).poll_shutdown(context);
        match self.stream.is_buffered() {
            true => self.in_time(shut_down, context),
            false => shut_down,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.in_time(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
