//! Configuration: a file, overridden by the environment. Commands put their flags on top.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tidegate_core::EngineChoice;
use tidegate_features::FeaturesConfig;
use tidegate_gateway::{AuditConfig, AuthConfig, CacheConfig, LimitsConfig};
use tidegate_observe::Objective;
use tidegate_observe::cost::CostConfig;
use tidegate_redaction::PrivacyConfig;
use tidegate_redis::RedisConfig;
use tidegate_registry::RegistryConfig;
use tidegate_server::{
    AlertsConfig, CaptureConfig, ConsoleConfig, DatasetsConfig, GpuConfig, PlatformConfig,
    ReplicasConfig, RetrainConfig, RolloutsConfig, ServerConfig, TlsConfig,
};
use tidegate_serving::{EndpointConfig, FleetConfig, TrialSettings};
use tidegate_traces::TracesConfig;

use crate::output::printable;

/// `tidegate.toml`. Every key can be set in the environment as `TIDEGATE_SECTION__KEY`, and
/// top-level ones as `TIDEGATE_KEY`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// What to serve.
    pub(crate) models: Vec<PathBuf>,
    /// The folder with the state of this server.
    pub(crate) data: Option<PathBuf>,
    /// The front ends.
    pub(crate) server: ServerConfig,
    /// The platform that calls the server.
    pub(crate) platform: PlatformConfig,
    /// TLS of the front ends.
    pub(crate) tls: TlsConfig,
    /// Authentication of callers.
    pub(crate) auth: AuthConfig,
    /// How much callers may ask for.
    pub(crate) limits: LimitsConfig,
    /// Which answers are kept.
    pub(crate) cache: CacheConfig,
    /// Which predictions are captured, and what is watched on them.
    pub(crate) capture: CaptureConfig,
    /// What data sets may take.
    pub(crate) datasets: DatasetsConfig,
    /// When rollouts may go on.
    pub(crate) rollouts: RolloutsConfig,
    /// When new versions are asked for.
    pub(crate) retrain: Vec<RetrainConfig>,
    /// When versions get no requests.
    pub(crate) endpoints: Vec<EndpointConfig>,
    /// The Redis that servers share.
    pub(crate) redis: RedisConfig,
    /// The feature stores.
    pub(crate) features: FeaturesConfig,
    /// The web console.
    pub(crate) console: ConsoleConfig,
    /// The engines.
    pub(crate) engines: EnginesConfig,
    /// The log.
    pub(crate) log: LogConfig,
    /// The model registry.
    pub(crate) registry: RegistryConfig,
    /// Which versions of the registry are loaded.
    pub(crate) fleet: FleetConfig,
    /// The service level objectives.
    pub(crate) slo: Vec<Objective>,
    /// Further alert rules, and the routes to receivers.
    pub(crate) alerts: AlertsConfig,
    /// The prices and budgets for the cost of serving.
    pub(crate) cost: CostConfig,
    /// The traces of requests.
    pub(crate) traces: TracesConfig,
    /// The group of servers that share objectives and alerts.
    pub(crate) replicas: ReplicasConfig,
    /// How GPUs are measured.
    pub(crate) gpu: GpuConfig,
    /// The audit log.
    pub(crate) audit: AuditConfig,
    /// What is replaced in whatever is logged, traced or kept.
    pub(crate) privacy: PrivacyConfig,
}

/// The `[engines]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EnginesConfig {
    /// The engine for models that do not choose one themselves.
    pub(crate) default: EngineChoice,
    /// The path of ONNX Runtime's shared library; searched if absent.
    pub(crate) onnxruntime: Option<PathBuf>,
    /// Whether new model content is first loaded in a separate process (a trial).
    pub(crate) load_trial: bool,
    /// Time limit for a trial, in seconds.
    pub(crate) load_trial_timeout_s: u64,
    /// Maximum memory of a trial, in bytes; by default four fifths of the machine's.
    pub(crate) load_trial_memory_bytes: Option<u64>,
    /// The folder of bearer tokens that remote versions may name.
    pub(crate) remote_credentials: Option<PathBuf>,
}

impl Default for EnginesConfig {
    fn default() -> Self {
        Self {
            default: EngineChoice::default(),
            onnxruntime: None,
            load_trial: true,
            load_trial_timeout_s: 120,
            load_trial_memory_bytes: None,
            remote_credentials: None,
        }
    }
}

impl EnginesConfig {
    /// How versions are tried before they are loaded.
    pub(crate) fn trial_settings(&self) -> TrialSettings {
        TrialSettings {
            onnxruntime: self.onnxruntime.clone(),
            default_engine: self.default.clone(),
            timeout_s: self.load_trial_timeout_s,
            memory_bytes: self.load_trial_memory_bytes,
        }
    }
}

/// The `[log]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogConfig {
    /// The lowest level that is logged, as in `info` or `warn,tidegate_serving=debug`.
    pub(crate) level: String,
    /// `text` for people, `json` for machines.
    pub(crate) format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// See [`LogConfig::format`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

const PREFIX: &str = "TIDEGATE_";
/// Top-level keys that the environment may set.
const TOP_LEVEL: [&str; 2] = ["models", "data"];

/// Reads a configuration file, if there is one, and the environment. An empty variable counts as
/// not set.
pub(crate) fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config> {
    let mut table = match file {
        None => toml::Table::new(),
        Some(path) => read(path)?,
    };
    // Before the environment, so that no variable is blamed for a mistake of the file.
    let mut config = parse(&table)?;
    for (name, value) in environment {
        if !name.starts_with(PREFIX) || value.is_empty() {
            continue;
        }
        overlay(&mut table, &name, &value)?;
        // Parsed after each variable, so that the message names the one that is wrong.
        config = parse(&table).with_context(|| format!("environment variable {name}"))?;
    }
    Ok(config)
}

/// Variables of the process. Those that are not UTF-8 are skipped: none of our settings is.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()))
}

/// Reads a file, and checks it against the known keys while their positions in it are known.
fn read(path: &Path) -> Result<toml::Table> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str::<Config>(&text)
        .and_then(|_| toml::from_str(&text))
        .map_err(|error| {
            let path = printable(&path.display().to_string());
            FileError(format!("{path}: {}", with_hint(&error.to_string()))).into()
        })
}

/// What is wrong with a configuration, over several lines: a part of a file is shown, or a hint.
#[derive(Debug)]
pub(crate) struct FileError(String);

impl std::fmt::Display for FileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FileError {}

fn parse(table: &toml::Table) -> Result<Config> {
    let config = toml::Value::Table(table.clone()).try_into();
    let config: Config =
        config.map_err(|error: toml::de::Error| FileError(with_hint(error.message())))?;
    tidegate_engines::check_name(&config.engines.default).context("engines.default")?;
    Ok(config)
}

/// Puts `TIDEGATE_SERVER__HTTP=…` at `server.http`.
fn overlay(table: &mut toml::Table, name: &str, value: &str) -> Result<()> {
    let Some(path) = name.strip_prefix(PREFIX).map(str::to_ascii_lowercase) else {
        return Ok(());
    };
    match path.split("__").collect::<Vec<_>>().as_slice() {
        ["models"] => {
            // A list is separated as in PATH, by colons on Unix.
            let paths = std::env::split_paths(value)
                .map(|path| toml::Value::from(path.display().to_string()));
            table.insert("models".to_owned(), toml::Value::Array(paths.collect()));
        }
        [key] if TOP_LEVEL.contains(key) => {
            table.insert((*key).to_owned(), toml::Value::from(value));
        }
        // Unknown variables without a section, such as TIDEGATE_ONNXRUNTIME, are ignored: other
        // parts of Tidegate read some of them.
        [_] => {}
        [sections @ .., key] => {
            let mut table = table;
            for section in sections {
                let section = table
                    .entry(*section)
                    .or_insert_with(|| toml::Value::Table(toml::Table::new()));
                table = section
                    .as_table_mut()
                    .with_context(|| format!("{name}: there is no such section"))?;
            }
            table.insert((*key).to_owned(), parse_value(value));
        }
        [] => {}
    }
    Ok(())
}

/// A number, bool or list if the text is one, else the text.
fn parse_value(text: &str) -> toml::Value {
    parse_list(text)
        .or_else(|| text.parse().map(toml::Value::Integer).ok())
        .or_else(|| parse_float(text))
        .or_else(|| text.parse().map(toml::Value::Boolean).ok())
        .unwrap_or_else(|| toml::Value::from(text))
}

fn parse_list(text: &str) -> Option<toml::Value> {
    if !text.starts_with('[') {
        return None;
    }
    // Read by TOML, so that quotes and nested lists follow the rules of the file.
    let mut table: toml::Table = format!("list = {text}").parse().ok()?;
    table.remove("list")
}

/// A number with a point. Rust also takes `inf`, `nan` and `1e5` for floats, and those may be names.
fn parse_float(text: &str) -> Option<toml::Value> {
    let digits = text.trim_start_matches(['-', '+']);
    let is_number = text.contains('.') && digits.starts_with(|first: char| first.is_ascii_digit());
    is_number.then(|| text.parse().map(toml::Value::Float).ok())?
}

/// Adds the nearest known key to serde's message about an unknown one.
fn with_hint(message: &str) -> String {
    let message = message.trim_end();
    match nearest_key(message) {
        Some(key) => format!("{message}\nhint: did you mean `{key}`?"),
        None => message.to_owned(),
    }
}

fn nearest_key(message: &str) -> Option<&str> {
    /// Jaro-Winkler similarity, from 0 to 1, below which two keys have too little in common.
    const MIN_SIMILARITY: f64 = 0.7;
    if !message.contains("unknown field") {
        return None;
    }
    // serde quotes the unknown key first, then the known ones.
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    quoted
        .map(|known| (strsim::jaro_winkler(unknown, known), known))
        .filter(|(similarity, _)| *similarity > MIN_SIMILARITY)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests;
