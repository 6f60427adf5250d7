//! The `[fleet]` section of `tidegate.toml`: which versions of the registry are loaded, and how
//! much they may take.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::policy::VersionPolicy;

/// What this server loads of the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FleetConfig {
    /// Whether the registry is followed. By default it is if no paths of models are given.
    pub follow: Option<bool>,
    /// The models of the registry to serve; all of them if empty.
    pub models: Vec<String>,
    /// Which of a model's versions are served: `aliases` (those that an alias points at; the newest
    /// where none is the champion), `latest` or `latest:N`, `all`, or numbers such as `3,5`.
    pub versions: VersionPolicy,
    /// Whether versions are loaded by their first request only.
    pub lazy: bool,
    /// Models that are loaded at the start and never evicted; the server is ready when they are.
    pub pinned: Vec<String>,
    /// Most memory that loaded versions may take, in bytes. By default four fifths of the
    /// machine's, or of the control group's limit.
    pub memory_budget_bytes: Option<u64>,
    /// The warm pool: so many of the lazy models are loaded at the start and not unloaded for being
    /// idle.
    pub keep_ready: usize,
    /// A lazy version that was not asked for so long is unloaded, in seconds; 0 for never.
    pub idle_unload_s: u64,
    /// Loads that go on at once.
    pub parallel_loads: usize,
    /// Most time that a load may take, in seconds, where the version's manifest says nothing.
    pub max_load_seconds: u64,
    /// Requests that may wait for the first load of a version.
    pub max_waiting_requests: usize,
    /// How often the registry is asked whether anything changed, in milliseconds.
    pub poll_interval_ms: u64,
    /// What differs for single models, by name.
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

/// What differs for one model, in a section `[fleet.model.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelRule {
    /// As `fleet.versions`.
    pub versions: Option<VersionPolicy>,
    /// As `fleet.lazy`.
    pub lazy: Option<bool>,
}

impl FleetConfig {
    pub(super) fn serves(&self, model: &str) -> bool {
        self.models.is_empty()
            || self.models.iter().any(|name| name == model)
            || self.is_pinned(model)
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
        own.unwrap_or(self.lazy) && !self.is_pinned(model)
    }
}
