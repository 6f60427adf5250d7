//! Starting, serving and stopping.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidegate_serving::LoadReport;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::blocking::run_blocking;
use crate::component::Component;
use crate::front_end::FrontEnd;
use crate::grpc::GrpcService;
use crate::listen::Listeners;
use crate::request_memory::give_back_after_peaks;
use crate::rest::RestService;
use crate::workers::Workers;
use crate::{ServerComponents, grpc};

/// Longest that background tasks may take to notice that they are ended.
const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(1);

/// A server that listens.
pub struct Server {
    front_end: Arc<FrontEnd>,
    components: Vec<Arc<dyn Component>>,
    /// The background tasks of the components.
    background: JoinSet<()>,
    listeners: Listeners,
    workers: Arc<Workers>,
    http: SocketAddr,
    grpc: SocketAddr,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// Every accepted request was answered.
    Drained,
    /// Requests were still unanswered after the drain timeout.
    TimedOut,
}

impl Server {
    /// Opens both ports and answers from then on; models are not ready before [`Server::load_all`].
    ///
    /// # Errors
    /// If a port cannot be opened; the message names it.
    pub async fn start(components: ServerComponents) -> std::io::Result<Self> {
        let ServerComponents {
            front_end,
            list: components,
            ..
        } = components;
        front_end.serving.models().set_starting(true);
        // Both ports are opened before either is served: a server that lacks one answers nobody.
        let http = bind(front_end.config.http, "http").await?;
        let grpc = bind(front_end.config.grpc, "grpc").await?;
        let (http_address, grpc_address) = (http.local_addr()?, grpc.local_addr()?);
        let workers = Arc::new(Workers::start(
            std::thread::available_parallelism().map_or(1, usize::from),
        )?);
        let mut listeners = Listeners::new(front_end.clone());
        let rest_service = RestService::new(front_end.clone(), &components);
        listeners.serve(http, "http", rest_service, workers.clone());
        let grpc_router = grpc::router(front_end.clone()).await;
        let grpc_service = GrpcService::new(front_end.clone(), grpc_router);
        listeners.serve(grpc, "grpc", grpc_service, workers.clone());
        let mut background = JoinSet::new();
        if let Some(give_back) = front_end.give_back {
            let memory = front_end.memory.clone();
            background.spawn(give_back_after_peaks(memory, workers.clone(), give_back));
        }
        for component in &components {
            component.clone().start(&mut background);
        }
        Ok(Self {
            front_end,
            components,
            background,
            listeners,
            workers,
            http: http_address,
            grpc: grpc_address,
        })
    }

    /// Where REST listens.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where gRPC listens.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Whether both ports speak TLS.
    pub fn has_tls(&self) -> bool {
        self.front_end.tls.is_on()
    }

    /// Loads every model that is found in folders, and waits for the versions of the registry that
    /// are loaded at the start.
    pub async fn load_all(&self) -> LoadReport {
        let serving = &self.front_end.serving;
        let loading = serving.clone();
        let mut report = run_blocking(move || loading.models().load_all())
            .await
            .unwrap_or_default();
        if let Some(fleet) = serving.fleet() {
            fleet.follow();
            let from_registry = fleet.wait_for_initial_loads().await;
            report.ready.extend(from_registry.ready);
            report.failed.extend(from_registry.failed);
        }
        serving.models().set_starting(false);
        self.front_end.lifecycle.set_started();
        report
    }

    /// Stops accepting, answers what was accepted, and returns; at the latest after the drain
    /// timeout.
    pub async fn stop(mut self) -> StopCause {
        self.front_end.lifecycle.stop();
        let timeout_ms = self.front_end.config.drain_timeout_ms;
        info!(timeout_ms, "stopping: finishing accepted requests");
        let timeout = Duration::from_millis(timeout_ms);
        let cause = match tokio::time::timeout(timeout, self.listeners.drain()).await {
            Ok(()) => StopCause::Drained,
            Err(_) => {
                warn!("stopping: the drain timeout passed before all requests were answered");
                StopCause::TimedOut
            }
        };
        // Before the process ends: an engine that is torn down while it runs reports a failure that
        // no client should see.
        self.workers.end();
        // Only now: counts and alerts go on while the last requests are answered.
        let ended = self.background.shutdown();
        // Their last writes must not come between those of `finish`.
        let _ = tokio::time::timeout(BACKGROUND_TIMEOUT, ended).await;
        // After the last answer, so that the state that they save counts every request.
        for component in &self.components {
            debug!(component = component.name(), "finishing");
            component.finish().await;
        }
        cause
    }
}

async fn bind(address: SocketAddr, name: &str) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        std::io::Error::new(
            error.kind(),
            format!("cannot listen on {address} (server.{name}): {error}"),
        )
    })
}
