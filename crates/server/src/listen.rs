//! Accepting a bounded number of connections, and letting them end in order.

mod activity;
mod client_body;
mod client_stream;
mod clients;
mod connection;
mod metrics;
mod sent_body;
mod stream_timer;
mod tls;
mod write_timeout;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::response::Response;
use http::Request;
use hyper::service::Service;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

pub(crate) use self::client_body::ClientBody;
use self::clients::Clients;
use self::connection::{Connection, OpenConnection, Timeouts};
pub(crate) use self::metrics::ConnectionMetrics;
use self::stream_timer::StreamExecutor;
pub(crate) use self::tls::Tls;
use self::tls::TlsPort;
pub use self::tls::{ClientAuth, TlsConfig, TlsError, TlsVersion};
use crate::front_end::FrontEnd;
use crate::workers::Workers;

/// The tasks that accept connections on both ports.
pub(crate) struct Listeners {
    front_end: Arc<FrontEnd>,
    permits: Arc<Semaphore>,
    clients: Arc<Clients>,
    tasks: JoinSet<()>,
}

impl Listeners {
    pub(crate) fn new(front_end: Arc<FrontEnd>) -> Self {
        let permits = front_end
            .config
            .max_connections
            // 0 would refuse everybody; a larger semaphore would panic.
            .clamp(1, Semaphore::MAX_PERMITS);
        let max_each = match front_end.config.max_connections_per_client {
            // A quarter is left to other clients, and to health checks.
            0 => three_quarters(permits),
            set => set,
        };
        let memory = front_end.memory.clone();
        let memory_bytes_each = match front_end.config.memory_budget_bytes_per_client {
            0 => three_quarters(memory.limit_bytes()),
            set => set,
        };
        Self {
            permits: Arc::new(Semaphore::new(permits)),
            clients: Clients::new(max_each, memory, memory_bytes_each),
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
            tls: self.front_end.tls.port(protocol == "grpc"),
            front_end: self.front_end.clone(),
            protocol,
            permits: self.permits.clone(),
            clients: self.clients.clone(),
            builder: builder(&self.front_end),
            service,
            stopping: watch::Sender::new(false),
            is_drained: Arc::default(),
        };
        self.tasks.spawn(port.accept(listener));
    }

    /// Waits until every connection has ended, once the server is stopping.
    pub(crate) async fn drain(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

fn three_quarters(whole: usize) -> usize {
    whole - whole / 4
}

fn builder(front_end: &FrontEnd) -> auto::Builder<StreamExecutor> {
    let write_timeout = Duration::from_millis(front_end.config.write_timeout_ms);
    let executor = StreamExecutor::new(write_timeout, front_end.connections.clone());
    let mut builder = auto::Builder::new(executor);
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
        // Tensors are large: four streams can send without waiting for a window to grow. What a
        // connection has received and nobody has read yet is outside of the memory budget.
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_concurrent_streams(1024);
    builder
}

/// The service that answers the requests of a port.
pub(crate) trait Serve:
    Service<Request<ClientBody>, Response = Response, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<
    S: Service<Request<ClientBody>, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
> Serve for S
{
}

struct Port<S> {
    front_end: Arc<FrontEnd>,
    workers: Arc<Workers>,
    /// `None` if the port speaks no TLS.
    tls: Option<TlsPort>,
    protocol: &'static str,
    permits: Arc<Semaphore>,
    clients: Arc<Clients>,
    builder: auto::Builder<StreamExecutor>,
    service: S,
    /// Tells the connections that the server is stopping; each holds a receiver while it is open.
    stopping: watch::Sender<bool>,
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
                    Ok((stream, client)) => {
                        failing = false;
                        self.connect(stream, client);
                    }
                    Err(error) => {
                        // Most often the process is out of file descriptors: connections must end
                        // before it helps to try again.
                        if !failing {
                            warn!(%error, protocol = self.protocol, "connections cannot be accepted");
                        }
                        failing = true;
                        // Mostly no file descriptor is left. A connection must end before one is,
                        // and trying again at once would keep a core busy.
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
        // Before the connections learn of it: the reads that they then poll must see it.
        self.is_drained.store(true, Ordering::Relaxed);
        self.stopping.send_replace(true);
        self.stopping.closed().await;
    }

    fn connect(&self, stream: TcpStream, client: SocketAddr) {
        let metrics = &self.front_end.connections;
        // Returning drops the stream, which closes it: the client can try another server.
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            metrics.refused();
            return;
        };
        let Some(place) = self.clients.connect(client.ip()) else {
            metrics.refused();
            return;
        };
        // Without it, an answer may wait for the client's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let open = OpenConnection::new(self.front_end.clone(), self.protocol, permit, place);
        let connection = Connection {
            builder: self.builder.clone(),
            service: self.service.clone(),
            tls: self.tls.clone(),
            stopping: self.stopping.subscribe(),
            timeouts: Timeouts::of(&self.front_end.config),
            is_drained: self.is_drained.clone(),
            open,
            client: client.ip(),
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
