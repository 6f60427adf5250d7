//! Accepting connections, bounded, and letting them end well.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::app::App;

/// The tasks that accept connections on both ports.
pub(crate) struct Listeners {
    app: Arc<App>,
    permits: Arc<Semaphore>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Listeners {
    pub(crate) fn new(app: Arc<App>) -> Self {
        let permits = app.config.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(permits)), stop: watch::channel(false).0, tasks: JoinSet::new(), app }
    }

    /// Serves a port until [`Listeners::drain`].
    pub(crate) fn serve(&mut self, listener: TcpListener, protocol: &'static str, router: Router) {
        let port = Port {
            app: self.app.clone(),
            protocol,
            permits: self.permits.clone(),
            builder: builder(&self.app),
            service: TowerToHyperService::new(router),
            graceful: GracefulShutdown::new(),
        };
        self.tasks.spawn(port.accept(listener, self.stop.subscribe()));
    }

    /// Stops accepting and waits until every connection has ended.
    pub(crate) async fn drain(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

fn builder(app: &App) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(app.config.header_timeout_ms))
        .pipeline_flush(true)
        .max_buf_size(256 << 10);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_concurrent_streams(1024);
    builder
}

struct Port {
    app: Arc<App>,
    protocol: &'static str,
    permits: Arc<Semaphore>,
    builder: auto::Builder<TokioExecutor>,
    service: TowerToHyperService<Router>,
    graceful: GracefulShutdown,
}

impl Port {
    async fn accept(self, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.connect(stream),
                    Err(error) => {
                        // Most often the process is out of file descriptors: connections must end before it helps to
                        // try again.
                        warn!(%error, protocol = self.protocol, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                () = &mut stopped => break,
            }
        }
        drop(listener);
        self.graceful.shutdown().await;
    }

    fn connect(&self, stream: TcpStream) {
        let metrics = self.app.serving.metrics();
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            metrics.connection_refused();
            return;
        };
        // Without it an answer may wait for the client's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let open = Open::new(self.app.clone(), self.protocol, permit);
        let connection = self.builder.serve_connection(TokioIo::new(stream), self.service.clone()).into_owned();
        let connection = self.graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a connection ended early");
            }
            drop(open);
        });
    }
}

/// An open connection, for its metric and its place.
struct Open {
    app: Arc<App>,
    protocol: &'static str,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(app: Arc<App>, protocol: &'static str, permit: OwnedSemaphorePermit) -> Self {
        app.serving.metrics().connection(protocol, 1);
        Self { app, protocol, _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.app.serving.metrics().connection(self.protocol, -1);
    }
}
