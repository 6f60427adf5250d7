//! HTTP/1.1 over one connection that stays open, with little work per request.

mod response;

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use self::response::ResponseParser;
use crate::failure::{Failure, FailureKind};

/// The largest head of an answer, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;
/// How much of an answer's body is stored for error messages, in bytes.
const EXCERPT_BYTES: usize = 4096;

/// A client that sends one request at a time, over a connection that it opens when it has none.
#[derive(Debug)]
pub(crate) struct HttpClient {
    address: SocketAddr,
    connection: Option<Connection>,
}

impl HttpClient {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connection: None,
        }
    }

    /// Opens a connection if there is none; returns whether it did. A connection that the server
    /// closed while it was idle counts as none: no request failed because of that.
    pub(crate) async fn connect(&mut self) -> Result<bool, Failure> {
        if self
            .connection
            .as_ref()
            .is_some_and(|connection| !connection.is_closed())
        {
            return Ok(false);
        }
        self.connection = Some(Connection::open(self.address, EXCERPT_BYTES).await?);
        Ok(true)
    }

    /// Sends a rendered request and reads the whole answer. Returns the number of bytes received.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<u64, Failure> {
        // Out of its place while in use: an exchange that is given up leaves no connection behind.
        let Some(mut connection) = self.connection.take() else {
            return Err(Failure::new(FailureKind::Connect, "there is no connection"));
        };
        let received = connection.exchange(request).await?;
        let parser = &connection.parser;
        let outcome = match parser.status() {
            200..300 => Ok(received),
            status => Err(Failure::http(status, parser.excerpt())),
        };
        if parser.keeps_alive() {
            self.connection = Some(connection);
        }
        outcome
    }
}

/// Sends one request over a connection of its own. Returns status and body, at most `most` bytes of
/// it.
pub(crate) async fn fetch(
    address: SocketAddr,
    request: &[u8],
    most: usize,
) -> Result<(u16, Vec<u8>), Failure> {
    let mut connection = Connection::open(address, most).await?;
    connection.exchange(request).await?;
    Ok((
        connection.parser.status(),
        connection.parser.excerpt().to_vec(),
    ))
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    parser: ResponseParser,
    buffer: Box<[u8]>,
    /// Bytes of the buffer that were received and not yet consumed.
    start: usize,
    end: usize,
}

impl Connection {
    async fn open(address: SocketAddr, excerpt_bytes: usize) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| Failure::new(FailureKind::Connect, error))?;
        // Nagle's algorithm would hold back small requests until earlier bytes are acknowledged.
        stream
            .set_nodelay(true)
            .map_err(|error| Failure::new(FailureKind::Connect, error))?;
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Ok(Self {
            stream,
            parser: ResponseParser::new(excerpt_bytes),
            buffer,
            start: 0,
            end: 0,
        })
    }

    /// Whether the other side closed the connection, or sent bytes without a request. Makes no
    /// system call while nothing has arrived.
    fn is_closed(&self) -> bool {
        let nothing = self.stream.try_read(&mut [0]);
        !nothing.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<u64, Failure> {
        self.stream.write_all(request).await.map_err(closed)?;
        self.parser.reset();
        let mut received = 0;
        while !self.parser.is_done() {
            let count = self
                .stream
                .read(&mut self.buffer[self.end..])
                .await
                .map_err(closed)?;
            if count == 0 {
                if self.parser.end() {
                    break;
                }
                let when = if self.parser.is_fresh() {
                    "before it answered"
                } else {
                    "in the middle of an answer"
                };
                return Err(Failure::new(
                    FailureKind::Closed,
                    format!("the server closed the connection {when}"),
                ));
            }
            received += count as u64;
            self.end += count;
            self.consume()?;
        }
        Ok(received)
    }

    fn consume(&mut self) -> Result<(), Failure> {
        let consumed = self.parser.feed(&self.buffer[self.start..self.end]);
        self.start += consumed.map_err(|error| Failure::new(FailureKind::Malformed, error))?;
        // Usual case: the buffer is empty again, and nothing has to be moved.
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.parser.is_done() {
            return Err(Failure::new(
                FailureKind::Malformed,
                "the server sent more bytes than the answer has",
            ));
        } else if self.end == self.buffer.len() {
            if self.start == 0 {
                let message = format!(
                    "a head or chunk size of the answer is longer than {BUFFER_BYTES} bytes"
                );
                return Err(Failure::new(FailureKind::Malformed, message));
            }
            // A head or chunk size that is cut by the end of the buffer continues from its start.
            self.buffer.copy_within(self.start.., 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        Ok(())
    }
}

fn closed(error: std::io::Error) -> Failure {
    Failure::new(FailureKind::Closed, error)
}
