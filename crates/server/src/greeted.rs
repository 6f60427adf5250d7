//! A time limit on the first bytes of a connection.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How every HTTP/2 client begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that fails to be read when the client has not shown in time which version of HTTP it speaks.
///
/// hyper times the headers of a request, but only once it knows the version: without this, a client that sends nothing,
/// or the first letters of the preface, would keep its place for ever.
pub(crate) struct Greeted {
    stream: TcpStream,
    /// Until the version is known: when to give up, and how much of the preface was seen.
    waiting: Option<(Pin<Box<Sleep>>, usize)>,
}

impl Greeted {
    pub(crate) fn new(stream: TcpStream, timeout: Duration) -> Self {
        Self { stream, waiting: Some((Box::pin(tokio::time::sleep(timeout)), 0)) }
    }
}

impl AsyncRead for Greeted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        let this = &mut *self;
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let Some((timeout, seen)) = &mut this.waiting else { return read };
        match read {
            Poll::Pending => timeout.as_mut().poll(context).map(|()| Err(Error::from(ErrorKind::TimedOut))),
            read => {
                let received = &buffer.filled()[before..];
                *seen += received.len();
                let is_preface = PREFACE.get(*seen - received.len()..*seen).is_some_and(|part| part == received);
                if !is_preface || *seen == PREFACE.len() {
                    this.waiting = None;
                }
                read
            }
        }
    }
}

impl AsyncWrite for Greeted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
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
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
