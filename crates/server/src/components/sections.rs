//! What a server is made from: its configuration, and the process and machine that it runs in.

use std::path::PathBuf;
use std::sync::Arc;

use tidegate_features::FeaturesConfig;
use tidegate_gateway::{AuditConfig, AuthConfig, CacheConfig, LimitsConfig};
use tidegate_observe::Objective;
use tidegate_observe::cost::CostConfig;
use tidegate_redaction::PrivacyConfig;
use tidegate_redis::RedisClient;
use tidegate_remote::Remotes;
use tidegate_serving::EndpointConfig;
use tidegate_traces::TracesConfig;

use crate::listen::TlsConfig;
use crate::log_settings::LogControl;
use crate::{
    AlertsConfig, CaptureConfig, ConsoleConfig, DatasetsConfig, GiveBackMemory, GpuConfig,
    PlatformConfig, ReadAllocator, ReplicasConfig, RetrainConfig, RolloutsConfig, ServerConfig,
};

/// The sections of the configuration that the server and its components read.
#[derive(Clone, Debug, Default)]
pub struct ServerSections {
    /// The front ends.
    pub server: ServerConfig,
    /// Who may call.
    pub auth: AuthConfig,
    /// The endpoints.
    pub endpoints: Vec<EndpointConfig>,
    /// The platform that calls the server.
    pub platform: PlatformConfig,
    /// TLS of the front ends.
    pub tls: TlsConfig,
    /// How much callers may ask for.
    pub limits: LimitsConfig,
    /// Which answers are kept.
    pub cache: CacheConfig,
    /// Which predictions are captured.
    pub capture: CaptureConfig,
    /// What data sets may take.
    pub datasets: DatasetsConfig,
    /// When rollouts may go on.
    pub rollouts: RolloutsConfig,
    /// When new versions are asked for.
    pub retrain: Vec<RetrainConfig>,
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
