//! The list of components. Each has what it needs from those above it.

use std::path::PathBuf;
use std::sync::Arc;

use tidegate_features::{FeatureStores, FeaturesConfig, FeaturesConfigError};
use tidegate_gateway::{
    AuditAnchors, AuditConfig, AuditConfigError, AuditPlace, AuthConfig, CacheConfig, CacheError,
    DatabaseQuotas, Gateway, LimitError, Limiter, LimitsConfig, PatternError, TokensError,
};
use tidegate_observe::cost::{CostConfig, CostError};
use tidegate_observe::{Objective, ObjectiveError};
use tidegate_redaction::{PrivacyConfig, PrivacyError, Redactor, SecretSource};
use tidegate_redis::{RedisClient, RedisConfigError, SharedAnswers};
use tidegate_remote::Remotes;
use tidegate_serving::{
    ANSWER_CODEC, AnswerCache, EndpointConfig, Fallbacks, MemoryBudget, MetricRegistry,
    ProcessMetrics, Serving,
};
use tidegate_traces::{TracesConfig, TracesError};

use crate::access_control::AccessControl;
use crate::alerting::{Alerting, AlertingContext};
use crate::allocator::AllocatorMetrics;
use crate::audit::AuditLog;
use crate::breakers::BreakerMonitor;
use crate::component::Component;
use crate::console::{Console, ConsoleMetrics, ConsoleSources};
use crate::cost::Costs;
use crate::data_folder::DiskMetrics;
use crate::events::EventJournal;
use crate::exposition::MetricExposition;
use crate::features::Features;
use crate::front_end::FrontEnd;
use crate::gpu::Gpus;
use crate::group_notes::GroupOutbox;
use crate::history::History;
use crate::lifecycle::Lifecycle;
use crate::listen::{ConnectionMetrics, Tls, TlsConfig, TlsError};
use crate::log_settings::{LogControl, LogSettings};
use crate::objectives::{Objectives, ObjectivesContext};
use crate::readiness::ReadinessMetrics;
use crate::redis::RedisMonitor;
use crate::remote::RemoteMonitor;
use crate::replicas::{GroupContext, ReplicaMetrics, Replicas};
use crate::repository_poll::RepositoryPoller;
use crate::serving_monitor::ServingMonitor;
use crate::shared_memory::SharedMemory;
use crate::{
    AlertsConfig, AlertsError, ConsoleConfig, GiveBackMemory, GpuConfig, PlatformConfig,
    PlatformError, ReadAllocator, ReplicasConfig, ReplicasError, ServerConfig, Traces,
    access_control, alerting, cache_metrics, cost, events, exposition, objectives, replicas,
    request_memory, rest,
};

/// The largest answer that servers may share.
const MAX_SHARED_ANSWER_BYTES: usize = 64 << 20;

/// The sections of the configuration that the server and its components read.
#[derive(Clone, Debug, Default)]
pub struct ServerSections {
    /// The front ends.
    pub server: ServerConfig,
    /// Who may call.
    pub auth: AuthConfig,
    /// The platform that calls the server.
    pub platform: PlatformConfig,
    /// TLS of the front ends.
    pub tls: TlsConfig,
    /// How much callers may ask for.
    pub limits: LimitsConfig,
    /// Which answers are kept.
    pub cache: CacheConfig,
    /// The feature stores.
    pub features: FeaturesConfig,
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
    /// The audit log.
    pub audit: AuditConfig,
    /// What is replaced in whatever is logged, traced or kept.
    pub privacy: PrivacyConfig,
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
    /// The folder of the embedded feature store; without one there is none.
    pub feature_folder: Option<PathBuf>,
    /// The database of the registry, where a group of replicas meets if its configuration names no
    /// other one.
    pub registry_database: String,
    /// Whether the server follows the registry.
    pub follows_registry: bool,
    /// The versions that other servers run, if there may be some.
    pub remotes: Arc<Remotes>,
    /// The Redis that servers share, if there is one.
    pub redis: Option<Arc<RedisClient>>,
    /// How to ask the allocator of the process for its usage, if that is possible.
    pub allocator: Option<ReadAllocator>,
    /// How to make the allocator return free memory, if that is possible.
    pub give_back: Option<GiveBackMemory>,
    /// How to change the log of the process, if it is the server's.
    pub log: Option<LogControl>,
}

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
        let remotes = base.environment.remotes.clone();
        let remote = RemoteMonitor::new(remotes, events.clone(), registry);
        let breakers = BreakerMonitor::new(serving.clone(), events.clone());
        let redis = RedisMonitor::new(
            base.environment.redis.clone(),
            serving.cache().cloned(),
            events.clone(),
            registry,
        );
        let features = Arc::new(base.features(&sections.features)?);
        let objectives = base.objectives(&sections.slo, &events)?;
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
            shared_memory: Arc::new(SharedMemory::new(
                base.server.shared_memory,
                base.server.max_body_bytes,
            )),
            log: Arc::new(LogSettings::new(base.environment.log)),
            memory: base.memory.clone(),
            features: features.clone(),
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
            },
        );
        let access_control = AccessControl::new(
            &sections.auth,
            base.server.clone(),
            serving.gateway().clone(),
            &base.environment.registry_database,
        );
        let repository_poll = RepositoryPoller::new(
            serving.clone(),
            base.lifecycle.clone(),
            base.server.repository_poll_ms,
        );
        // Objectives before replicas: they finish in this order, and what objectives count last is
        // then sent to the group.
        let list: Vec<Arc<dyn Component>> = vec![
            Arc::new(access_control),
            tls,
            objectives,
            replicas,
            monitor,
            Arc::new(repository_poll),
            Arc::new(remote),
            Arc::new(breakers),
            Arc::new(redis),
            features,
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

fn protected(auth: &AuthConfig, has_tls: bool) -> Result<Gateway, ComponentsError> {
    let gateway = Gateway::protected(auth.anonymous_grants()?).requiring_keys(auth.keys_required);
    let gateway = gateway.with_certificates(&auth.binding)?;
    let gateway = match auth.issuer.is_empty() {
        true => gateway,
        false => gateway.with_tokens(&auth.issuer, &auth.binding)?,
    };
    Ok(gateway.with_login(&auth.login, &auth.issuer, &auth.binding, has_tls)?)
}

/// The gateway that a configuration asks for; from within a runtime. Without a database of its own for keys and quotas, it
/// uses that of the registry. With Redis, rates are those of all servers together.
///
/// # Errors
/// A resource of `auth.anonymous` that cannot be read, or a limit that is not valid.
pub fn gateway(
    auth: &AuthConfig,
    tls: &TlsConfig,
    limits: &LimitsConfig,
    registry_database: &str,
    redis: Option<&Arc<RedisClient>>,
) -> Result<Gateway, ComponentsError> {
    let gateway = match auth.enabled {
        false => Gateway::open(),
        true => protected(auth, tls.cert_file.is_some())?,
    };
    let gateway = gateway.with_tenants(&limits.tenant)?;
    if limits.rule.is_empty() {
        return Ok(gateway);
    }
    let database = auth.database.as_deref().unwrap_or(registry_database);
    let quotas = Arc::new(DatabaseQuotas::new(database));
    let limiter = Limiter::new(limits, quotas)?;
    Ok(gateway.with_limiter(match redis {
        Some(redis) => limiter.with_shared_rates(redis.clone()),
        None => limiter,
    }))
}

/// The cache of a configuration. It keeps last answers for endpoints that fall back to them. From within
/// a runtime.
///
/// # Errors
/// What is wrong with the configuration.
pub fn answer_cache(
    config: &CacheConfig,
    endpoints: &[EndpointConfig],
    redis: Option<&Arc<RedisClient>>,
) -> Result<Arc<AnswerCache>, ComponentsError> {
    let cache = match Fallbacks::use_last_answers(endpoints) {
        true => AnswerCache::with_last_answers(config)?,
        false => AnswerCache::new(config)?,
    };
    let cache = match config.redis {
        true => cache.with_shared(shared_answers(config, redis)?, ANSWER_CODEC),
        false => cache,
    };
    Ok(Arc::new(cache))
}

fn shared_answers(
    config: &CacheConfig,
    redis: Option<&Arc<RedisClient>>,
) -> Result<SharedAnswers, CacheError> {
    let redis = redis.ok_or(CacheError::NoRedis)?.clone();
    let max_bytes = usize::try_from(config.redis_max_answer_bytes).unwrap_or(usize::MAX);
    if !(1..=MAX_SHARED_ANSWER_BYTES).contains(&max_bytes) {
        return Err(CacheError::AnswerSize);
    }
    let file = config.redis_secret_file.as_deref();
    let source = SecretSource::required(&config.redis_secret, file, "redis_secret");
    let secret = source.and_then(|source| source.read());
    let secret = secret.map_err(CacheError::Secret)?;
    SharedAnswers::start(redis, &secret, max_bytes)
        .map_err(|error| CacheError::Secret(error.to_string()))
}

/// The parts that most components are made from.
struct Base {
    serving: Arc<Serving>,
    registry: Arc<MetricRegistry>,
    server: ServerConfig,
    environment: ServerEnvironment,
    lifecycle: Arc<Lifecycle>,
    /// What requests and answers may take together.
    memory: Arc<MemoryBudget>,
    /// The name of the group of replicas, and what waits to be sent to it.
    group: Option<(String, Arc<GroupOutbox>)>,
}

impl Base {
    fn new(
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
    fn state_file(&self, name: &str) -> Option<PathBuf> {
        let folder = self.environment.state_folder.as_deref()?;
        Some(folder.join(name))
    }

    /// The feature stores: the embedded one is in the data folder.
    fn features(&self, config: &FeaturesConfig) -> Result<Features, ComponentsError> {
        let folder = self.environment.feature_folder.clone();
        let stores = FeatureStores::start(config, folder)?;
        let (server, memory) = (self.server.clone(), self.memory.clone());
        Ok(Features::new(stores, server, memory, &self.registry))
    }

    /// Registers the metrics that are read from the process and its machine at each scrape.
    fn measure_process(&self, gpu: &GpuConfig) {
        let environment = &self.environment;
        ProcessMetrics::register(&self.registry);
        DiskMetrics::register(&self.registry, environment.data_folder.clone());
        AllocatorMetrics::register(&self.registry, environment.allocator);
        Gpus::watch(gpu, &self.registry);
    }

    fn exposition(&self) -> Arc<MetricExposition> {
        Arc::new(MetricExposition {
            registry: self.registry.clone(),
            serving: self.serving.clone(),
            lifecycle: self.lifecycle.clone(),
            readiness: ReadinessMetrics::new(&self.registry),
            server: self.server.clone(),
            memory: self.memory.clone(),
        })
    }

    fn audit(
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

    fn objectives(
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

    fn costs(
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

    fn alerting(
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

    fn replicas(
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

/// The descriptions of the components' interfaces.
pub(crate) const DESCRIPTIONS: [fn() -> utoipa::openapi::OpenApi; 7] = [
    access_control::description,
    alerting::description,
    cost::description,
    events::description,
    exposition::description,
    objectives::description,
    replicas::description,
];
