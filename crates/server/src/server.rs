//! Starting, serving and stopping.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidegate_observe::cost::CostConfig;
use tidegate_serving::{LoadReport, MetricRegistry, ProcessMetrics, RequestMetrics, Serving};
use tidegate_traces::TracesConfig;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::app::App;
use crate::grpc::GrpcService;
use crate::listen::Listeners;
use crate::rest::RestService;
use crate::workers::Workers;
use crate::{
    Alerting, AlertsConfig, AllocatorMetrics, ConnectionMetrics, ConsoleConfig, ConsoleMetrics,
    Costs, DiskMetrics, Gpus, History, Objectives, ReadinessMetrics, Replicas, ReplicasConfig,
    ServerConfig, Traces, grpc,
};

/// How often finished requests are counted where nobody asks for figures.
const DRAIN_EVERY: Duration = Duration::from_millis(50);

/// A server that listens.
pub struct Server {
    app: Arc<App>,
    /// What goes on beside the requests.
    background: JoinSet<()>,
    listeners: Listeners,
    workers: Arc<Workers>,
    http: SocketAddr,
    grpc: SocketAddr,
}

/// Who watches what becomes of requests.
pub struct Observers {
    /// All metrics.
    pub registry: Arc<MetricRegistry>,
    /// The requests of the last weeks.
    pub history: History,
    /// Whether the server is ready, as a metric.
    pub readiness: ReadinessMetrics,
    /// The metrics of connections.
    pub connections: ConnectionMetrics,
    /// The metrics of the console.
    pub console_metrics: ConsoleMetrics,
    /// The pages for people.
    pub console: ConsoleConfig,
    /// The objectives, which count.
    pub objectives: Objectives,
    /// The alerts, and who hears of them.
    pub alerting: Alerting,
    /// What it all costs.
    pub costs: Costs,
    /// The traces that are kept.
    pub traces: Traces,
    /// The group that this server is one of.
    pub replicas: Option<Replicas>,
}

impl Observers {
    /// Nobody but those who always watch: no objectives, no alerts, no costs, no traces, and
    /// nothing that is kept. From within a runtime; for tests and measurements.
    ///
    /// # Errors
    /// If the machine lacks what alerts or traces need.
    pub fn fewest(
        registry: Arc<MetricRegistry>,
        requests: &Arc<RequestMetrics>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let observations = requests.observations();
        ProcessMetrics::register(&registry);
        DiskMetrics::register(&registry, None);
        AllocatorMetrics::register(&registry, None);
        Gpus::register_none(&registry);
        let (alone, no_name) = (ReplicasConfig::default(), String::new());
        Ok(Self {
            history: History::new(&registry, requests),
            readiness: ReadinessMetrics::new(&registry),
            connections: ConnectionMetrics::new(&registry),
            console_metrics: ConsoleMetrics::new(&registry),
            console: ConsoleConfig::default(),
            objectives: Objectives::new(Vec::new(), &registry, observations.clone(), None, None),
            costs: Costs::new(&CostConfig::default(), &registry, None)?,
            traces: Traces::start(&TracesConfig::default(), &registry, observations)?,
            replicas: Replicas::new(&alone, String::new, no_name, &registry)?,
            // Last, for its rules may name the metrics of all others.
            alerting: Alerting::new(&AlertsConfig::default(), &registry, None, false)?,
            registry,
        })
    }
}

/// How serving came to its end.
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
    pub async fn start(
        config: ServerConfig,
        serving: Arc<Serving>,
        observers: Observers,
    ) -> std::io::Result<Self> {
        let http = bind(config.http, "http").await?;
        let grpc = bind(config.grpc, "grpc").await?;
        let (http_address, grpc_address) = (http.local_addr()?, grpc.local_addr()?);
        let app = Arc::new(App::new(serving, config, observers));
        app.alerting.restore_freezes(&app);
        let mut listeners = Listeners::new(app.clone());
        let workers = Arc::new(Workers::start(
            std::thread::available_parallelism().map_or(1, usize::from),
        )?);
        listeners.serve(http, "http", RestService::new(app.clone()), workers.clone());
        listeners.serve(
            grpc,
            "grpc",
            GrpcService::new(app.gateway.clone(), grpc::router(app.clone()).await),
            workers.clone(),
        );
        let mut background = JoinSet::new();
        background.spawn(app.objectives.clone().run(app.clone()));
        if let Some(replicas) = &app.replicas {
            background.spawn(replicas.clone().run(app.clone()));
        }
        background.spawn(observe(app.clone()));
        background.spawn(app.alerting.clone().run(app.clone()));
        background.spawn(app.costs.clone().run(app.clone()));
        Ok(Self {
            app,
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

    /// Loads every model that is found in folders, and waits for what is loaded of the registry at
    /// the start.
    pub async fn load_all(&self) -> LoadReport {
        let mut report = self
            .app
            .blocking(|serving| serving.models().load_all())
            .await
            .unwrap_or_default();
        if let Some(fleet) = self.app.serving.fleet() {
            fleet.follow();
            let from_registry = fleet.wait_for_initial_loads().await;
            report.ready.extend(from_registry.ready);
            report.failed.extend(from_registry.failed);
        }
        self.app.started.store(true, Ordering::Relaxed);
        report
    }

    /// Stops accepting, answers what was accepted, and returns; at the latest after the drain
    /// timeout.
    pub async fn stop(mut self) -> StopCause {
        self.app.stop.send_replace(true);
        let timeout = Duration::from_millis(self.app.config.drain_timeout_ms);
        info!(
            timeout_ms = self.app.config.drain_timeout_ms,
            "stopping: finishing what was accepted"
        );
        let cause = match tokio::time::timeout(timeout, self.listeners.drain()).await {
            Ok(()) => StopCause::Drained,
            Err(_) => {
                warn!("stopping: the drain timeout passed with requests unanswered");
                StopCause::TimedOut
            }
        };
        // Before the process ends: an engine that is torn down while it runs says that it failed,
        // and nobody should hear it.
        self.workers.end();
        self.background.abort_all();
        self.app.objectives.finish().await;
        if let Some(replicas) = &self.app.replicas {
            replicas.finish(&self.app).await;
            self.app.objectives.finish().await;
        }
        self.app.costs.finish(&self.app.serving).await;
        let observations = self.app.serving.metrics().observations();
        self.app.traces.finish(observations).await;
        cause
    }
}

/// Counts what finished, long before the rings between are full.
async fn observe(app: Arc<App>) {
    let mut tick = tokio::time::interval(DRAIN_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        app.serving.metrics().observations().drain();
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
