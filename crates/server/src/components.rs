//! The list of components. Each has what it needs from those above it.

use std::path::PathBuf;
use std::sync::Arc;

use tidegate_observe::cost::{CostConfig, CostError};
use tidegate_observe::{Objective, ObjectiveError};
use tidegate_serving::{MetricRegistry, ProcessMetrics, Serving};
use tidegate_traces::{TracesConfig, TracesError};

use crate::alerting::{Alerting, AlertingContext};
use crate::allocator::AllocatorMetrics;
use crate::component::Component;
use crate::console::{Console, ConsoleMetrics, ConsoleSources};
use crate::cost::Costs;
use crate::data_folder::DiskMetrics;
use crate::events::EventJournal;
use crate::exposition::MetricExposition;
use crate::front_end::FrontEnd;
use crate::gpu::Gpus;
use crate::group_notes::GroupOutbox;
use crate::history::History;
use crate::lifecycle::Lifecycle;
use crate::listen::ConnectionMetrics;
use crate::objectives::{Objectives, ObjectivesContext};
use crate::readiness::ReadinessMetrics;
use crate::replicas::{GroupContext, ReplicaMetrics, Replicas};
use crate::serving_monitor::ServingMonitor;
use crate::{
    AlertsConfig, AlertsError, ConsoleConfig, GpuConfig, ReadAllocator, ReplicasConfig,
    ReplicasError, ServerConfig, Traces, alerting, cost, events, exposition, objectives, replicas,
};

/// The sections of the configuration that the server and its components read.
#[derive(Clone, Debug, Default)]
pub struct ServerSections {
    /// The front ends.
    pub server: ServerConfig,
    /// The pages for people.
    pub console: ConsoleConfig,
    /// The objectives.
    pub slo: Vec<Objective>,
    /// Alerts, and who is notified.
    pub alerts: AlertsConfig,
    /// What serving costs.
    pub cost: CostConfig,
    /// The traces of requests.
    pub traces: TracesConfig,
    /// The group of replicas.
    pub replicas: ReplicasConfig,
    /// The GPUs.
    pub gpu: GpuConfig,
}

/// The process and machine that a server runs in.
#[derive(Clone, Debug, Default)]
pub struct ServerEnvironment {
    /// The name of this server among others.
    pub name: String,
    /// The folder of state files; without one, all state ends with the process.
    pub state_folder: Option<PathBuf>,
    /// The folder that the process writes to, whose disk is measured.
    pub data_folder: Option<PathBuf>,
    /// The database of the registry, where a group of replicas meets if its configuration names no
    /// other one.
    pub registry_database: String,
    /// How to ask the allocator of the process for its usage, if it can say.
    pub allocator: Option<ReadAllocator>,
}

/// What is wrong with the configuration of a component.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ComponentsError {
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
}

/// The subsystems of a server that is not started yet.
pub struct ServerComponents {
    pub(crate) front_end: Arc<FrontEnd>,
    /// In the order in which they start and finish.
    pub(crate) list: Vec<Arc<dyn Component>>,
    alerting: Arc<Alerting>,
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
        let ServerSections {
            server,
            console,
            slo,
            alerts,
            cost,
            traces,
            replicas,
            gpu,
        } = sections;
        let requests = serving.metrics().clone();
        let observations = requests.observations();
        let fleet = serving.fleet().cloned();
        let state_folder = environment.state_folder.as_deref();
        let state_file = |name: &str| state_folder.map(|folder| folder.join(name));
        let lifecycle = Arc::new(Lifecycle::new(serving.clone()));
        let group = replicas
            .parse()?
            .map(|name| (name, Arc::new(GroupOutbox::default())));
        let outbox = group.as_ref().map(|(_, outbox)| outbox.clone());

        let monitor = Arc::new(ServingMonitor::new(serving.clone()));
        let history = Arc::new(History::new(&registry, &requests));
        ProcessMetrics::register(&registry);
        DiskMetrics::register(&registry, environment.data_folder);
        AllocatorMetrics::register(&registry, environment.allocator);
        Gpus::watch(&gpu, &registry);
        let connections = ConnectionMetrics::new(&registry);
        let console_metrics = ConsoleMetrics::new(&registry);
        let replica_metrics = ReplicaMetrics::new(&registry);
        let exposition = Arc::new(MetricExposition {
            registry: registry.clone(),
            serving: serving.clone(),
            lifecycle: lifecycle.clone(),
            readiness: ReadinessMetrics::new(&registry),
            server: server.clone(),
        });
        let events = Arc::new(EventJournal::new(state_file("events.json")));
        let objectives = Arc::new(Objectives::new(
            Objective::parse_all(&slo)?,
            &registry,
            state_file("objectives.json"),
            ObjectivesContext {
                observations: observations.clone(),
                fleet,
                events: events.clone(),
                group: group.clone(),
                server: server.clone(),
            },
        ));
        let costs = Arc::new(Costs::new(
            &cost,
            &registry,
            state_file("cost.json"),
            serving.clone(),
            events.clone(),
        )?);
        let traces = Arc::new(Traces::start(&traces, &registry, observations)?);
        let context = AlertingContext {
            serving: serving.clone(),
            lifecycle: lifecycle.clone(),
            exposition: exposition.clone(),
            objectives: objectives.clone(),
            events: events.clone(),
            group: outbox,
            server: server.clone(),
        };
        // After everything else that registers metrics: its rules may name all of them.
        let alerting = Arc::new(Alerting::new(&alerts, &registry, state_folder, context)?);
        // Alerting has restored by now what is served of the models whose rollouts wait.
        objectives.hold_rollouts();
        let replicas = Arc::new(match group {
            None => Replicas::alone(),
            Some((name, outbox)) => {
                let context = GroupContext {
                    outbox,
                    default_database: environment.registry_database,
                    server_name: environment.name,
                    objectives: objectives.clone(),
                    alerting: alerting.clone(),
                    metrics: replica_metrics,
                };
                Replicas::member(name, &replicas, context)
            }
        });
        let front_end = Arc::new(FrontEnd {
            serving,
            config: server,
            lifecycle,
            traces: traces.clone(),
            connections,
        });
        let console = Arc::new(Console::new(
            &console,
            console_metrics,
            ConsoleSources {
                front_end: front_end.clone(),
                history: history.clone(),
                objectives: objectives.clone(),
                alerting: alerting.clone(),
                events: events.clone(),
                costs: costs.clone(),
            },
        ));
        let list: Vec<Arc<dyn Component>> = vec![
            objectives,
            replicas,
            monitor,
            exposition,
            events,
            alerting.clone(),
            costs,
            traces,
            console,
        ];
        Ok(Self {
            front_end,
            list,
            alerting,
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

    /// Records that the process started, and which keys of the configuration have changed since the
    /// last start. Secrets must not be in `configuration` as they are.
    pub async fn record_start(&self, configuration: &serde_json::Value) {
        self.alerting.record_start(configuration).await;
    }
}

/// The descriptions of the components' interfaces.
pub(crate) const DESCRIPTIONS: [fn() -> utoipa::openapi::OpenApi; 6] = [
    alerting::description,
    cost::description,
    events::description,
    exposition::description,
    objectives::description,
    replicas::description,
];
