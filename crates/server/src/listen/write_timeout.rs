//! A bound on how long a client may leave an answer unread.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// Times the writes for which a connection has no room.
///
/// The system takes bytes of a writer in large steps: a client may read slowly for minutes before
/// there is room for the next step. So it counts as progress that fewer bytes are unread than
/// before, and only the connection of a client that reads nothing is closed.
pub(super) struct WriteTimeout {
    timeout: Duration,
    /// The same once the server is stopping.
    at_end: Duration,
    /// Set while bytes wait for the client to take those before.
    waiting: Option<Waiting>,
}

struct Waiting {
    timer: Pin<Box<Sleep>>,
    /// Bytes that the client had not taken when the timer was set.
    unread: Option<i32>,
    is_stopping: bool,
}

impl WriteTimeout {
    pub(super) fn new(timeout: Duration, at_end: Duration) -> Self {
        Self {
            timeout,
            at_end,
            waiting: None,
        }
    }

    /// Whether bytes wait for the client to take those before.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Stops the timer: there is room again.
    pub(super) fn stop(&mut self) {
        self.waiting = None;
    }

    /// Ready once the client has read nothing for too long.
    pub(super) fn poll_stalled(
        &mut self,
        stream: &TcpStream,
        is_stopping: bool,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let timeout = if is_stopping {
            self.at_end
        } else {
            self.timeout
        };
        let waiting = self.waiting.get_or_insert_with(|| Waiting {
            timer: Box::pin(tokio::time::sleep(timeout)),
            unread: unread_bytes(stream),
            is_stopping,
        });
        if is_stopping && !waiting.is_stopping {
            waiting.is_stopping = true;
            waiting.timer.as_mut().reset(Instant::now() + timeout);
        }
        while waiting.timer.as_mut().poll(context).is_ready() {
            let unread = unread_bytes(stream);
            if unread >= waiting.unread {
                return Poll::Ready(());
            }
            waiting.unread = unread;
            waiting.timer.as_mut().reset(Instant::now() + timeout);
        }
        Poll::Pending
    }
}

/// Bytes that were written and that the client's machine has not confirmed (`SIOCOUTQ`, tcp(7)).
/// `None` if the system does not report it: then a client has to make room within the timeout.
fn unread_bytes(stream: &TcpStream) -> Option<i32> {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        let mut bytes: libc::c_int = 0;
        // SAFETY: the descriptor is that of a live socket, and the call writes one int to `bytes`.
        let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
        (result == 0).then_some(bytes)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = stream;
        None
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    /// Both ends of a connection whose first end has no room for another byte.
    async fn full_connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (server, client) = tokio::join!(listener.accept(), client);
        let server = server.unwrap().0;
        while server.try_write(&[0; 65_536]).is_ok() {}
        (server, client.unwrap())
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_given_up() {
        let (server, _client) = full_connection().await;
        let mut timeout = WriteTimeout::new(Duration::from_millis(20), Duration::ZERO);
        poll_fn(|context| timeout.poll_stalled(&server, false, context)).await;
        assert!(timeout.is_waiting());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_client_that_reads_is_waited_for() {
        let (server, mut client) = full_connection().await;
        let mut timeout = WriteTimeout::new(Duration::from_millis(100), Duration::ZERO);
        let mut buffer = vec![0; 300_000];
        let polled = poll_fn(|context| Poll::Ready(timeout.poll_stalled(&server, false, context)));
        assert!(polled.await.is_pending());
        let unread = timeout.waiting.as_ref().unwrap().unread;
        client.read_exact(&mut buffer).await.unwrap();
        // Until the system has confirmed what was read.
        while unread_bytes(&server) >= unread {
            client.read_exact(&mut buffer).await.unwrap();
        }
        tokio::select! {
            // The first end of the timer sees the progress and sets it again, the second ends it.
            () = poll_fn(|context| timeout.poll_stalled(&server, false, context)) => {}
        }
        assert!(timeout.waiting.as_ref().unwrap().unread < unread);
    }
}
