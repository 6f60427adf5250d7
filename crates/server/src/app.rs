//! What every handler shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_gateway::Gateway;
use tidegate_serving::{ErrorCode, InferError, MetricRegistry, Serving};
use tokio::sync::watch;

use crate::console::Console;
use crate::history::History;
use crate::{
    Alerting, ConnectionMetrics, Costs, Objectives, Observers, ReadinessMetrics, Replicas,
    ServerConfig, Traces,
};

/// The state behind both front ends.
pub(crate) struct App {
    /// Who may do what.
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) serving: Arc<Serving>,
    pub(crate) config: ServerConfig,
    pub(crate) objectives: Arc<Objectives>,
    pub(crate) history: History,
    pub(crate) alerting: Arc<Alerting>,
    /// All metrics.
    pub(crate) registry: Arc<MetricRegistry>,
    pub(crate) readiness: ReadinessMetrics,
    pub(crate) connections: ConnectionMetrics,
    pub(crate) console: Console,
    pub(crate) costs: Arc<Costs>,
    /// The group that this server is one of.
    pub(crate) replicas: Option<Arc<Replicas>>,
    pub(crate) traces: Traces,
    /// Whether the models of the start have been loaded, or given up.
    pub(crate) started: AtomicBool,
    /// Whether the server is stopping.
    pub(crate) stop: watch::Sender<bool>,
}

impl App {
    pub(crate) fn new(serving: Arc<Serving>, config: ServerConfig, observers: Observers) -> Self {
        let Observers {
            registry,
            history,
            readiness,
            connections,
            console_metrics,
            console,
            objectives,
            alerting,
            costs,
            traces,
            replicas,
        } = observers;
        Self {
            gateway: serving.gateway().clone(),
            registry,
            history,
            readiness,
            connections,
            serving,
            config,
            objectives: Arc::new(objectives),
            alerting: Arc::new(alerting),
            console: Console::new(&console, console_metrics),
            costs: Arc::new(costs),
            replicas: replicas.map(Arc::new),
            traces,
            started: AtomicBool::new(false),
            stop: watch::channel(false).0,
        }
    }

    /// Whether the server is stopping: it answers what it has accepted and takes nothing new.
    pub(crate) fn stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until the server is stopping.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stop = self.stop.subscribe();
        async move { drop(stop.wait_for(|stop| *stop).await) }
    }

    /// Whether the models of the start have been loaded, or given up.
    pub(crate) fn has_started(&self) -> bool {
        self.started.load(Ordering::Relaxed)
    }

    /// Sets the gauges that are only set when they are asked for.
    pub(crate) fn refresh_gauges(&self) {
        for model in self.serving.models().all() {
            model.versions().for_each(|version| version.count_waiting());
        }
        self.readiness.set(self.ready());
        if let Some(fleet) = self.serving.fleet() {
            fleet.update_gauges();
        }
    }

    /// Holds the rollouts of the models whose error budget is spent, and lets those of all others
    /// go on.
    pub(crate) fn hold_rollouts(&self) {
        if let Some(fleet) = self.serving.fleet() {
            fleet.freeze(self.objectives.frozen());
        }
    }

    /// Whether traffic should be sent here: everything that was found answers, and the server is
    /// not stopping.
    pub(crate) fn ready(&self) -> bool {
        self.has_started() && !self.stopping() && self.serving.is_ready()
    }

    /// Loads (`true`) or unloads a model off the threads that serve connections.
    pub(crate) async fn control(
        self: &Arc<Self>,
        model: String,
        load: bool,
    ) -> Result<(), InferError> {
        if !self.config.model_control {
            let message = "loading and unloading is switched off: server.model_control is false";
            return Err(InferError::new(ErrorCode::MethodNotAllowed, message));
        }
        if let Some(fleet) = self.serving.fleet().filter(|fleet| fleet.manages(&model)) {
            return if load {
                fleet.load(&model).await
            } else {
                fleet.unload(&model)
            };
        }
        self.blocking(move |serving| {
            let models = serving.models();
            if load {
                models.load(&model)
            } else {
                models.unload(&model)
            }
        })
        .await?
    }

    /// Runs something that reads files or takes long.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Serving) -> T + Send + 'static,
    ) -> Result<T, InferError> {
        let serving = self.serving.clone();
        tokio::task::spawn_blocking(move || work(&serving))
            .await
            .map_err(|error| InferError::new(ErrorCode::Internal, error.to_string()))
    }
}
