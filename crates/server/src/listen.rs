//! Accepting connections, bounded, and letting them end well.

mod metrics;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::response::Response;
use http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tracing::{debug, warn};

pub(crate) use self::metrics::ConnectionMetrics;
use crate::front_end::FrontEnd;
use crate::handshake_timeout::HandshakeTimeoutStream;
use crate::workers::Workers;

/// The tasks that accept connections on both ports.
pub(crate) struct Listeners {
    front_end: Arc<FrontEnd>,
    permits: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

impl Listeners {
    pub(crate) fn new(front_end: Arc<FrontEnd>) -> Self {
        let permits = front_end
            .config
            .max_connections
            // 0 would refuse everybody; a larger semaphore would panic.
            .clamp(1, Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(permits)),
            tasks: JoinSet::new(),
            front_end,
        }
    }

    /// Serves a port until the server is stopping, its connections on `workers`.
    pub(crate) fn serve<S: Serve>(
        &mut self,
        listener: TcpListener,
        protocol: &'static str,
        service: S,
        workers: Arc<Workers>,
    ) {
        let port = Port {
            workers,
            front_end: self.front_end.clone(),
            protocol,
            permits: self.permits.clone(),
            builder: builder(&self.front_end),
            service,
            graceful: GracefulShutdown::new(),
            is_drained: Arc::default(),
        };
        self.tasks.spawn(port.accept(listener));
    }

    /// Waits until every connection has ended, once the server is stopping.
    pub(crate) async fn drain(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

fn builder(front_end: &FrontEnd) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // No `pipeline_flush`: with it, the answer to a request that is no HTTP is never sent.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(front_end.config.header_timeout_ms))
        // Also the largest head of a request, which has to fit into the buffer.
        .max_buf_size(256 << 10);
    builder
        .http2()
        .timer(TokioTimer::new())
        // Finds clients that are gone without a word: their connections count as open.
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        // Tensors are large: four streams can send without waiting for a window to grow.
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_concurrent_streams(1024);
    builder
}

/// What answers the requests of a port.
pub(crate) trait Serve:
    Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<
    S: Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
> Serve for S
{
}

struct Port<S> {
    front_end: Arc<FrontEnd>,
    workers: Arc<Workers>,
    protocol: &'static str,
    permits: Arc<Semaphore>,
    builder: auto::Builder<TokioExecutor>,
    service: S,
    graceful: GracefulShutdown,
    /// Whether the server is stopping, and what had arrived before has been read.
    is_drained: Arc<AtomicBool>,
}

impl<S: Serve> Port<S> {
    async fn accept(self, listener: TcpListener) {
        let stopped = self.front_end.lifecycle.stopping();
        tokio::pin!(stopped);
        let mut failing = false;
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        failing = false;
                        self.connect(stream);
                    }
                    Err(error) => {
                        // Most often the process is out of file descriptors: connections must end
                        // before it helps to try again.
                        if !failing {
                            warn!(%error, protocol = self.protocol, "connections cannot be accepted");
                        }
                        failing = true;
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                () = &mut stopped => break,
            }
        }
        // Closed at once, so that new clients are refused rather than left waiting.
        drop(listener);
        // A request that has arrived on an accepted connection is accepted too.
        self.workers.drain().await;
        self.is_drained.store(true, Ordering::Relaxed);
        self.graceful.shutdown().await;
    }

    fn connect(&self, stream: TcpStream) {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            // Returning drops the stream, which closes it: the client can try another server.
            self.front_end.connections.refused();
            return;
        };
        // Without it, an answer may wait for the client's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let open = Open::new(self.front_end.clone(), self.protocol, permit);
        let connection = Connection {
            builder: self.builder.clone(),
            service: self.service.clone(),
            watcher: self.graceful.watcher(),
            timeout: Duration::from_millis(self.front_end.config.header_timeout_ms),
            is_drained: self.is_drained.clone(),
            open,
        };
        // The worker's own event loop is to watch the socket.
        match stream.into_std() {
            Ok(stream) => self.workers.spawn(move || async move {
                match TcpStream::from_std(stream) {
                    Ok(stream) => connection.serve(stream).await,
                    Err(error) => debug!(%error, "a connection cannot be handed to a worker"),
                }
            }),
            Err(error) => debug!(%error, "a connection cannot be handed to a worker"),
        }
    }
}

/// An accepted connection, and what serves it.
struct Connection<S> {
    builder: auto::Builder<TokioExecutor>,
    service: S,
    watcher: Watcher,
    timeout: Duration,
    is_drained: Arc<AtomicBool>,
    open: Open,
}

impl<S: Serve> Connection<S> {
    async fn serve(self, stream: TcpStream) {
        let Self {
            builder,
            service,
            watcher,
            timeout,
            is_drained,
            open,
        } = self;
        let requests = Arc::new(AtomicUsize::new(0));
        let stream = HandshakeTimeoutStream::new(stream, timeout, is_drained, requests.clone());
        let service = service_fn(move |request| {
            let counted = Counted::new(requests.clone());
            let answer = service.call(request);
            async move { answer.await.map(|answer| counted.with(answer)) }
        });
        let connection = builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        if let Err(error) = watcher.watch(connection).await {
            debug!(%error, "a connection ended early");
        }
        // Only now: up to its last byte, a connection takes one of `max_connections`.
        drop(open);
    }
}

/// A request that is being answered, in the count of its connection.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(requests: Arc<AtomicUsize>) -> Self {
        requests.fetch_add(1, Ordering::Relaxed);
        Self(requests)
    }
}

impl Counted {
    /// Counts a request until its answer's body has been given away; one that is whole already goes
    /// with its head.
    fn with(self, answer: Response) -> Response {
        if answer.body().size_hint().exact().is_some() {
            return answer;
        }
        answer.map(|body| {
            Body::new(body.map_frame(move |frame| {
                // Moves the count into the closure, so that it lives as long as the body.
                let _ = &self;
                frame
            }))
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open connection, for its metric and its place.
struct Open {
    front_end: Arc<FrontEnd>,
    protocol: &'static str,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(front_end: Arc<FrontEnd>, protocol: &'static str, permit: OwnedSemaphorePermit) -> Self {
        front_end.connections.opened(protocol);
        Self {
            front_end,
            protocol,
            _permit: permit,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.front_end.connections.closed(self.protocol);
    }
}
