//! The `[fleet]` section of `tidegate.toml`: which versions of the registry are loaded, and how much
//! memory they may take.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::policy::VersionPolicy;

/// Which models and versions of the registry this server loads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FleetConfig {
    /// Whether the registry is followed. By default it is followed if no model paths are given.
    pub follow: Option<bool>,
    /// The models of the registry to serve; all of them if empty.
    pub models: Vec<String>,
    /// Which of a model's versions are served: `aliases` (those with an alias; without the alias
    /// `champion` also the newest one), `latest` or `latest:N`, `all` (also deprecated ones that
    /// have an alias), or numbers such as `3,5`.
    pub versions: VersionPolicy,
    /// Whether versions are loaded by their first request, not at the start.
    pub lazy: bool,
    /// Models that are loaded at the start and never evicted. The server is only ready if they are
    /// loaded.
    pub pinned: Vec<String>,
    /// Maximum memory of all loaded versions together, in bytes. By default four fifths of the
    /// machine's memory, or of the control group's limit.
    pub memory_budget_bytes: Option<u64>,
    /// The size of the warm pool: the number of lazy models that are loaded at the start and stay
    /// loaded while idle.
    pub keep_ready: usize,
    /// A lazy version without requests for this long is unloaded, in seconds; 0 for never.
    pub idle_unload_s: u64,
    /// The number of versions that may load at the same time.
    pub parallel_loads: usize,
    /// Time limit for a load, in seconds, unless the version's manifest sets it.
    pub max_load_seconds: u64,
    /// The number of requests that may wait for one load.
    pub max_waiting_requests: usize,
    /// How often the registry is checked for changes, in milliseconds.
    pub poll_interval_ms: u64,
    /// Settings of single models, by name.
    pub model: BTreeMap<String, ModelRule>,
}

impl Default for FleetConfig {
    fn default() -> Self {
        Self {
            follow: None,
            models: Vec::new(),
            versions: VersionPolicy::Aliases,
            lazy: false,
            pinned: Vec::new(),
            memory_budget_bytes: None,
            keep_ready: 0,
            idle_unload_s: 0,
            parallel_loads: 2,
            max_load_seconds: 300,
            max_waiting_requests: 1000,
            poll_interval_ms: 250,
            model: BTreeMap::new(),
        }
    }
}

/// Settings of one model, in a section `[fleet.model.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelRule {
    /// Instead of `fleet.versions`.
    pub versions: Option<VersionPolicy>,
    /// Instead of `fleet.lazy`.
    pub lazy: Option<bool>,
}

impl FleetConfig {
    pub(super) fn serves(&self, model: &str) -> bool {
        self.models.is_empty()
            || self.models.iter().any(|name| name == model)
            // A pinned model is served even if `models` leaves it out.
            || self.is_pinned(model)
    }

    /// The models that the configuration names, each with its key.
    pub(super) fn configured_models(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let models = self.models.iter().map(|name| ("fleet.models", name));
        let pinned = self.pinned.iter().map(|name| ("fleet.pinned", name));
        let rules = self.model.keys().map(|name| ("fleet.model", name));
        models.chain(pinned).chain(rules)
    }

    pub(super) fn versions_of(&self, model: &str) -> &VersionPolicy {
        self.model
            .get(model)
            .and_then(|rule| rule.versions.as_ref())
            .unwrap_or(&self.versions)
    }

    pub(super) fn is_pinned(&self, model: &str) -> bool {
        self.pinned.iter().any(|name| name == model)
    }

    pub(super) fn is_lazy(&self, model: &str) -> bool {
        let own = self.model.get(model).and_then(|rule| rule.lazy);
        // A pinned model must answer from the start, whatever its own rule says.
        own.unwrap_or(self.lazy) && !self.is_pinned(model)
    }
}
