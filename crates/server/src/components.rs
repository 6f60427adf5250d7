//! The list of components. Each has what it needs from those above it.

mod base;
mod gateway;
mod sections;

use std::sync::Arc;

use tidegate_cedar::PoliciesError;
use tidegate_features::FeaturesConfigError;
use tidegate_gateway::{AuditConfigError, CacheError, LimitError, PatternError, TokensError};
use tidegate_observe::ObjectiveError;
use tidegate_observe::cost::CostError;
use tidegate_redaction::{PrivacyError, Redactor};
use tidegate_redis::RedisConfigError;
use tidegate_serving::{MetricRegistry, Serving};
use tidegate_traces::TracesError;

use self::base::Base;
pub use self::gateway::{answer_cache, gateway};
pub use self::sections::{ServerEnvironment, ServerSections};
use crate::alerting::Alerting;
use crate::breakers::BreakerMonitor;
use crate::component::Component;
use crate::console::{Console, ConsoleMetrics, ConsoleSources};
use crate::events::EventJournal;
use crate::front_end::FrontEnd;
use crate::history::History;
use crate::listen::{ConnectionMetrics, Tls, TlsError};
use crate::log_settings::LogSettings;
use crate::remote::RemoteMonitor;
use crate::replicas::ReplicaMetrics;
use crate::serving_monitor::ServingMonitor;
use crate::traffic::Traffic;
use crate::{
    AlertsError, CaptureConfigError, PlatformError, ReplicasError, RetrainConfigError,
    ServerConfig, Traces, TrafficConfigError, access_control, alerting, audit, cache_metrics, cost,
    datasets, events, experiments, exposition, objectives, quality, replicas, rest, retraining,
    rollouts, traffic,
};

/// A wrong configuration of a component.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ComponentsError {
    #[error(
        "{key} is {address}, which others can reach, and authentication is off: everybody who can \
         connect could do everything. Set auth.enabled = true, or allow it with \
         --allow-unauthenticated (server.allow_unauthenticated = true)"
    )]
    Unprotected {
        key: &'static str,
        address: std::net::SocketAddr,
    },
    #[error("auth.anonymous: {0}")]
    Auth(#[from] PatternError),
    #[error(transparent)]
    Tokens(#[from] TokensError),
    #[error("auth.policies: {0}")]
    Policies(#[from] PoliciesError),
    #[error(
        "auth.policies is set and auth.enabled is false: without authentication policies decide nothing"
    )]
    PoliciesWithoutAuth,
    #[error(transparent)]
    Platform(#[from] PlatformError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Limits(#[from] LimitError),
    #[error(transparent)]
    Redis(#[from] RedisConfigError),
    #[error(transparent)]
    Capture(#[from] CaptureConfigError),
    #[error(transparent)]
    Retrain(#[from] RetrainConfigError),
    #[error(transparent)]
    Features(#[from] FeaturesConfigError),
    #[error(transparent)]
    Replicas(#[from] ReplicasError),
    #[error(transparent)]
    Objective(#[from] ObjectiveError),
    #[error(transparent)]
    Alerts(#[from] AlertsError),
    #[error(transparent)]
    Cost(#[from] CostError),
    #[error(transparent)]
    Traces(#[from] TracesError),
    #[error(transparent)]
    Audit(#[from] AuditConfigError),
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    #[error(transparent)]
    Traffic(#[from] TrafficConfigError),
}

/// The subsystems of a server that is not started yet.
pub struct ServerComponents {
    pub(crate) front_end: Arc<FrontEnd>,
    /// In the order in which they start and finish.
    pub(crate) list: Vec<Arc<dyn Component>>,
    alerting: Arc<Alerting>,
    traffic: Arc<Traffic>,
}

impl ServerComponents {
    /// Every component, as configured. From within a runtime.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(
        sections: ServerSections,
        environment: ServerEnvironment,
        serving: Arc<Serving>,
        registry: Arc<MetricRegistry>,
    ) -> Result<Self, ComponentsError> {
        check_addresses(&sections)?;
        let base = Base::new(&sections, environment, serving, registry)?;
        let serving = &base.serving;
        let registry = &base.registry;

        let monitor = Arc::new(ServingMonitor::new(serving.clone()));
        let history = Arc::new(History::new(registry, serving.metrics()));
        base.measure_process(&sections.gpu);
        let connections = ConnectionMetrics::new(registry);
        let tls = Arc::new(Tls::new(&sections.tls, registry)?);
        cache_metrics::register(serving.cache().cloned(), registry);
        let console_metrics = ConsoleMetrics::new(registry);
        let replica_metrics = ReplicaMetrics::new(registry);
        let exposition = base.exposition();
        let redactor = Arc::new(Redactor::new(&sections.privacy)?);
        let journal = EventJournal::new(base.state_file("events.json"), redactor.clone());
        let events = Arc::new(journal);
        let policies = base.policies(&sections.auth, &events)?;
        let remotes = base.environment.remotes.clone();
        let remote = RemoteMonitor::new(remotes, events.clone(), registry);
        let traffic = Arc::new(base.traffic(&sections.endpoints, &events)?);
        let breakers = BreakerMonitor::new(serving.clone(), events.clone());
        let redis = base.redis(&events);
        let features = Arc::new(base.features(&sections.features)?);
        let quality = Arc::new(base.quality(&sections.capture, &redactor, &events)?);
        let datasets = Arc::new(base.datasets(&sections.datasets, &sections.privacy, &quality));
        let retraining = base.retraining(&sections.retrain, &quality, &datasets, &events)?;
        let objectives = base.objectives(&sections.slo, &events)?;
        let rollouts = base.rollouts(&sections.rollouts, &traffic, &objectives, &events);
        let rollouts = Arc::new(rollouts);
        let experiments = Arc::new(base.experiments(&traffic, &quality, &events));
        let costs = base.costs(&sections.cost, &events)?;
        let observations = serving.metrics().observations();
        let traces = Traces::start(&sections.traces, registry, observations, redactor.clone())?;
        let traces = Arc::new(traces);
        // Rules may name any metric, so alerting comes after every component that registers some.
        let alerting = base.alerting(&sections.alerts, &exposition, &objectives, &events)?;
        // After alerting, which restores what is served of the models whose rollouts wait.
        objectives.hold_rollouts();
        let replicas = base.replicas(&sections.replicas, &objectives, &alerting, replica_metrics);
        let audit = base.audit(&sections.audit, redactor)?;
        let front_end = Arc::new(FrontEnd {
            serving: serving.clone(),
            config: base.server.clone(),
            platform: sections.platform.paths()?,
            lifecycle: base.lifecycle.clone(),
            traces: traces.clone(),
            audit: audit.clone(),
            connections,
            tls: tls.clone(),
            shared_memory: base.shared_memory(),
            features: features.clone(),
            log: Arc::new(LogSettings::new(base.environment.log)),
            memory: base.memory.clone(),
            give_back: base.environment.give_back,
        });
        let console = Console::new(
            &sections.console,
            console_metrics,
            ConsoleSources {
                front_end: front_end.clone(),
                history,
                objectives: objectives.clone(),
                alerting: alerting.clone(),
                events: events.clone(),
                costs: costs.clone(),
                quality: quality.clone(),
                rollouts: rollouts.clone(),
                experiments: experiments.clone(),
            },
        );
        let access_control = base.access_control(&sections.auth);
        let repository_poll = base.repository_poll();
        // Objectives before replicas: they finish in this order, and what objectives count last is
        // then sent to the group.
        let list: Vec<Arc<dyn Component>> = vec![
            Arc::new(access_control),
            Arc::new(policies),
            tls,
            objectives,
            replicas,
            monitor,
            Arc::new(repository_poll),
            traffic.clone(),
            rollouts,
            experiments,
            Arc::new(remote),
            Arc::new(breakers),
            Arc::new(redis),
            features,
            quality,
            datasets,
            Arc::new(retraining),
            exposition,
            events,
            alerting.clone(),
            costs,
            traces,
            Arc::new(console),
            // The last: what the others do at the end is recorded too.
            Arc::new(audit),
        ];
        if let Some(platform) = &front_end.platform {
            let routes = rest::routes(front_end.clone(), &list);
            platform.check_own_routes(routes.paths().chain(rest::DOCUMENTATION))?;
        }
        Ok(Self {
            front_end,
            list,
            alerting,
            traffic,
        })
    }

    /// The components as they are without any configuration but that of the front ends, and without
    /// state files; for tests and measurements. From within a runtime.
    ///
    /// # Errors
    /// If the machine lacks what alerts or traces need.
    pub fn minimal(
        server: ServerConfig,
        serving: Arc<Serving>,
        registry: Arc<MetricRegistry>,
    ) -> Result<Self, ComponentsError> {
        let sections = ServerSections {
            server,
            ..ServerSections::default()
        };
        Self::new(sections, ServerEnvironment::default(), serving, registry)
    }

    /// Reads the traffic policies of the database, so that the first request goes by them.
    pub async fn read_traffic(&self) {
        self.traffic.read_first().await;
    }

    /// Records that the process started, and which keys of the configuration have changed since the
    /// last start. Secrets must not be in `configuration` as they are.
    pub async fn record_start(&self, configuration: &serde_json::Value) {
        self.alerting.record_start(configuration).await;
    }
}

/// Refuses to let everybody in from other machines, unless that was asked for.
fn check_addresses(sections: &ServerSections) -> Result<(), ComponentsError> {
    if sections.auth.enabled || sections.server.allow_unauthenticated {
        return Ok(());
    }
    match sections.server.reachable_address() {
        None => Ok(()),
        Some((key, address)) => Err(ComponentsError::Unprotected { key, address }),
    }
}

/// The descriptions of the components' interfaces.
pub(crate) const DESCRIPTIONS: [fn() -> utoipa::openapi::OpenApi; 14] = [
    access_control::description,
    alerting::description,
    audit::description,
    cost::description,
    datasets::description,
    events::description,
    exposition::description,
    objectives::description,
    quality::description,
    replicas::description,
    rollouts::description,
    experiments::description,
    retraining::description,
    traffic::description,
];
