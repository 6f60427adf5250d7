//! The parts that most components are made from, and components that need little more.

use std::path::PathBuf;
use std::sync::Arc;

use tidegate_features::{FeatureStores, FeaturesConfig};
use tidegate_gateway::{AuditAnchors, AuditConfig, AuditConfigError, AuditPlace, AuthConfig};
use tidegate_observe::cost::{CostConfig, CostError};
use tidegate_observe::{Objective, ObjectiveError};
use tidegate_redaction::{PrivacyConfig, Redactor};
use tidegate_serving::{EndpointConfig, MemoryBudget, MetricRegistry, ProcessMetrics, Serving};

use super::{ComponentsError, ServerEnvironment, ServerSections};
use crate::access_control::AccessControl;
use crate::alerting::{Alerting, AlertingContext};
use crate::allocator::AllocatorMetrics;
use crate::audit::AuditLog;
use crate::cost::Costs;
use crate::data_folder::DiskMetrics;
use crate::datasets::{DatasetPlace, DatasetsConfig, ServerDatasets};
use crate::events::EventJournal;
use crate::experiments::{Experiments, ExperimentsContext};
use crate::exposition::MetricExposition;
use crate::features::Features;
use crate::gpu::Gpus;
use crate::group_notes::GroupOutbox;
use crate::lifecycle::Lifecycle;
use crate::objectives::{Objectives, ObjectivesContext};
use crate::policies::AccessPolicies;
use crate::quality::{Quality, QualityContext};
use crate::readiness::ReadinessMetrics;
use crate::redis::RedisMonitor;
use crate::replicas::{GroupContext, ReplicaMetrics, Replicas};
use crate::repository_poll::RepositoryPoller;
use crate::retraining::{Retraining, RetrainingContext};
use crate::rollouts::{Rollouts, RolloutsContext};
use crate::shared_memory::SharedMemory;
use crate::traffic::Traffic;
use crate::{
    AlertsConfig, AlertsError, CaptureConfig, CaptureConfigError, GpuConfig, ReplicasConfig,
    ReplicasError, RetrainConfig, RetrainConfigError, RolloutsConfig, ServerConfig,
    TrafficConfigError, request_memory,
};

/// The parts that most components are made from.
pub(super) struct Base {
    pub(super) serving: Arc<Serving>,
    pub(super) registry: Arc<MetricRegistry>,
    pub(super) server: ServerConfig,
    pub(super) environment: ServerEnvironment,
    pub(super) lifecycle: Arc<Lifecycle>,
    /// What requests and answers may take together.
    pub(super) memory: Arc<MemoryBudget>,
    /// The name of the group of replicas, and what waits to be sent to it.
    group: Option<(String, Arc<GroupOutbox>)>,
}

impl Base {
    pub(super) fn new(
        sections: &ServerSections,
        environment: ServerEnvironment,
        serving: Arc<Serving>,
        registry: Arc<MetricRegistry>,
    ) -> Result<Self, ReplicasError> {
        let lifecycle = Arc::new(Lifecycle::new(
            serving.clone(),
            sections.server.client_timeout(),
        ));
        let group = sections.replicas.parse()?;
        let outbox = match &group {
            Some(group) => GroupOutbox::open(environment.state_folder.as_deref(), group),
            None => GroupOutbox::default(),
        };
        let memory = request_memory::budget(sections.server.memory_budget_bytes, &registry);
        Ok(Self {
            memory,
            serving,
            registry,
            server: sections.server.clone(),
            environment,
            lifecycle,
            // One outbox for objectives, alerting and replicas, which need not know one another.
            group: group.map(|name| (name, Arc::new(outbox))),
        })
    }

    /// Where a component keeps its state over restarts.
    pub(super) fn state_file(&self, name: &str) -> Option<PathBuf> {
        let folder = self.environment.state_folder.as_deref()?;
        Some(folder.join(name))
    }

    /// The feature stores: the embedded one is in the data folder.
    pub(super) fn features(&self, config: &FeaturesConfig) -> Result<Features, ComponentsError> {
        let folder = self.environment.feature_folder.clone();
        let stores = FeatureStores::start(config, folder)?;
        let (server, memory) = (self.server.clone(), self.memory.clone());
        Ok(Features::new(stores, server, memory, &self.registry))
    }

    /// Captured predictions, and what is watched on them.
    pub(super) fn quality(
        &self,
        config: &CaptureConfig,
        redactor: &Arc<Redactor>,
        events: &Arc<EventJournal>,
    ) -> Result<Quality, CaptureConfigError> {
        let context = QualityContext {
            server: self.server.clone(),
            memory: self.memory.clone(),
            serving: self.serving.clone(),
            redactor: redactor.clone(),
            events: events.clone(),
            data_folder: self.environment.data_folder.clone(),
            state_file: self.state_file("drift-windows.json"),
            database: self.environment.registry_database.clone(),
        };
        Quality::start(config, context, &self.registry)
    }

    /// Data sets of captured predictions.
    pub(super) fn datasets(
        &self,
        config: &DatasetsConfig,
        privacy: &PrivacyConfig,
        quality: &Arc<Quality>,
    ) -> ServerDatasets {
        let place = DatasetPlace {
            // Where `tidegate dataset` looks for them, too.
            data_folder: self.environment.feature_folder.clone(),
            database: self.environment.registry_database.clone(),
            privacy: privacy.clone(),
            config: config.clone(),
        };
        let (quality, server) = (quality.clone(), self.server.clone());
        ServerDatasets::new(quality, server, place, &self.registry)
    }

    /// The rules that ask for new versions.
    pub(super) fn retraining(
        &self,
        rules: &[RetrainConfig],
        quality: &Arc<Quality>,
        datasets: &Arc<ServerDatasets>,
        events: &Arc<EventJournal>,
    ) -> Result<Retraining, RetrainConfigError> {
        let context = RetrainingContext {
            quality: quality.clone(),
            datasets: datasets.clone(),
            events: events.clone(),
            database: self.environment.registry_database.clone(),
            server_name: self.environment.name.clone(),
        };
        Retraining::new(rules, context)
    }

    /// Registers the metrics that are read from the process and its machine at each scrape.
    pub(super) fn measure_process(&self, gpu: &GpuConfig) {
        let environment = &self.environment;
        ProcessMetrics::register(&self.registry);
        DiskMetrics::register(&self.registry, environment.data_folder.clone());
        AllocatorMetrics::register(&self.registry, environment.allocator);
        Gpus::watch(gpu, &self.registry);
    }

    /// The policies that decide besides roles.
    pub(super) fn policies(
        &self,
        config: &AuthConfig,
        events: &Arc<EventJournal>,
    ) -> Result<AccessPolicies, ComponentsError> {
        AccessPolicies::new(config, self.serving.gateway(), events, &self.registry)
    }

    pub(super) fn access_control(&self, config: &AuthConfig) -> AccessControl {
        let gateway = self.serving.gateway().clone();
        let database = &self.environment.registry_database;
        AccessControl::new(config, self.server.clone(), gateway, database)
    }

    pub(super) fn rollouts(
        &self,
        config: &RolloutsConfig,
        traffic: &Arc<Traffic>,
        objectives: &Arc<Objectives>,
        events: &Arc<EventJournal>,
    ) -> Rollouts {
        let context = RolloutsContext {
            serving: self.serving.clone(),
            traffic: traffic.clone(),
            objectives: objectives.clone(),
            events: events.clone(),
            server: self.server.clone(),
            server_name: self.environment.name.clone(),
            registry: self.registry.clone(),
        };
        Rollouts::new(config.clone(), context)
    }

    pub(super) fn experiments(
        &self,
        traffic: &Arc<Traffic>,
        quality: &Arc<Quality>,
        events: &Arc<EventJournal>,
    ) -> Experiments {
        Experiments::new(ExperimentsContext {
            serving: self.serving.clone(),
            traffic: traffic.clone(),
            quality: quality.clone(),
            events: events.clone(),
            server: self.server.clone(),
            server_name: self.environment.name.clone(),
        })
    }

    pub(super) fn traffic(
        &self,
        endpoints: &[EndpointConfig],
        events: &Arc<EventJournal>,
    ) -> Result<Traffic, TrafficConfigError> {
        let environment = &self.environment;
        // As for the audit log: without a folder of its own the server leaves nothing on the disk.
        let has_place = environment.state_folder.is_some() || environment.follows_registry;
        let database = has_place.then(|| environment.registry_database.clone());
        Traffic::new(
            endpoints,
            self.server.clone(),
            self.serving.clone(),
            events.clone(),
            (database, &environment.name),
        )
    }

    pub(super) fn repository_poll(&self) -> RepositoryPoller {
        let poll_ms = self.server.repository_poll_ms;
        RepositoryPoller::new(self.serving.clone(), self.lifecycle.clone(), poll_ms)
    }

    pub(super) fn redis(&self, events: &Arc<EventJournal>) -> RedisMonitor {
        let redis = self.environment.redis.clone();
        let cache = self.serving.cache().cloned();
        RedisMonitor::new(redis, cache, events.clone(), &self.registry)
    }

    pub(super) fn shared_memory(&self) -> Arc<SharedMemory> {
        let server = &self.server;
        Arc::new(SharedMemory::new(
            server.shared_memory,
            server.max_body_bytes,
        ))
    }

    pub(super) fn exposition(&self) -> Arc<MetricExposition> {
        Arc::new(MetricExposition {
            registry: self.registry.clone(),
            serving: self.serving.clone(),
            lifecycle: self.lifecycle.clone(),
            readiness: ReadinessMetrics::new(&self.registry),
            server: self.server.clone(),
            memory: self.memory.clone(),
        })
    }

    pub(super) fn audit(
        &self,
        config: &AuditConfig,
        redactor: Arc<Redactor>,
    ) -> Result<AuditLog, AuditConfigError> {
        config.check()?;
        let place = self.audit_place(config);
        Ok(AuditLog::new(place, config, &self.registry, redactor))
    }

    fn audit_place(&self, config: &AuditConfig) -> Option<AuditPlace> {
        let environment = &self.environment;
        // Without a folder of its own the server leaves nothing on the disk unless it is told to.
        let has_place = environment.state_folder.is_some() || environment.follows_registry;
        let is_enabled = config
            .enabled
            .unwrap_or(has_place || config.database.is_some());
        let folder = environment
            .state_folder
            .as_ref()
            .or(environment.data_folder.as_ref());
        let database = config.database.as_ref();
        is_enabled.then(|| AuditPlace {
            database: database.unwrap_or(&environment.registry_database).clone(),
            anchors: folder.map(|folder| AuditAnchors::in_folder(folder).path().to_owned()),
        })
    }

    pub(super) fn objectives(
        &self,
        slo: &[Objective],
        events: &Arc<EventJournal>,
    ) -> Result<Arc<Objectives>, ObjectiveError> {
        let slos = Objective::parse_all(slo)?;
        let context = ObjectivesContext {
            observations: self.serving.metrics().observations().clone(),
            fleet: self.serving.fleet().cloned(),
            events: events.clone(),
            group: self.group.clone(),
            server: self.server.clone(),
        };
        let file = self.state_file("objectives.json");
        Ok(Arc::new(Objectives::new(
            slos,
            &self.registry,
            file,
            context,
        )))
    }

    pub(super) fn costs(
        &self,
        config: &CostConfig,
        events: &Arc<EventJournal>,
    ) -> Result<Arc<Costs>, CostError> {
        let costs = Costs::new(
            config,
            &self.registry,
            self.state_file("cost.json"),
            self.serving.clone(),
            events.clone(),
        )?;
        Ok(Arc::new(costs))
    }

    pub(super) fn alerting(
        &self,
        config: &AlertsConfig,
        exposition: &Arc<MetricExposition>,
        objectives: &Arc<Objectives>,
        events: &Arc<EventJournal>,
    ) -> Result<Arc<Alerting>, AlertsError> {
        let context = AlertingContext {
            serving: self.serving.clone(),
            lifecycle: self.lifecycle.clone(),
            exposition: exposition.clone(),
            objectives: objectives.clone(),
            events: events.clone(),
            group: self.group.as_ref().map(|(_, outbox)| outbox.clone()),
            server: self.server.clone(),
        };
        let folder = self.environment.state_folder.as_deref();
        let alerting = Alerting::new(config, &self.registry, folder, context)?;
        Ok(Arc::new(alerting))
    }

    pub(super) fn replicas(
        &self,
        config: &ReplicasConfig,
        objectives: &Arc<Objectives>,
        alerting: &Arc<Alerting>,
        metrics: ReplicaMetrics,
    ) -> Arc<Replicas> {
        let Some((name, outbox)) = &self.group else {
            return Arc::new(Replicas::alone());
        };
        let context = GroupContext {
            outbox: outbox.clone(),
            default_database: self.environment.registry_database.clone(),
            server_name: self.environment.name.clone(),
            objectives: objectives.clone(),
            alerting: alerting.clone(),
            metrics,
        };
        Arc::new(Replicas::member(name.clone(), config, context))
    }
}
