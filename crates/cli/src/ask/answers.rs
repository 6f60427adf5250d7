//! What a server answers, as far as commands look at it.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use serde::Deserialize;
use serde_json::Value;
use tidegate_observe::{BudgetPolicy, SliKind};

/// `/v2/health/ready` of a server that is ready.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Readiness {
    pub(crate) problems: Vec<String>,
}

/// One of `/v2/repository/index`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct IndexEntry {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) version: String,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) reason: String,
    /// Servers that are not ours leave these out.
    pub(crate) stage: Option<String>,
    #[serde(default)]
    pub(crate) aliases: Vec<String>,
    #[serde(default)]
    pub(crate) default: bool,
    pub(crate) memory_bytes: Option<u64>,
}

impl IndexEntry {
    /// Where it stands, as exactly as the server says.
    pub(crate) fn stage(&self) -> String {
        self.stage
            .clone()
            .unwrap_or_else(|| self.state.to_lowercase())
    }

    /// The name, and the version where it has one.
    pub(crate) fn title(&self) -> String {
        if self.version.is_empty() {
            self.name.clone()
        } else {
            format!("{}:{}", self.name, self.version)
        }
    }
}

/// One of `/api/slos`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Objective {
    pub(crate) name: String,
    pub(crate) endpoint: String,
    pub(crate) sli: String,
    pub(crate) threshold_ms: Option<f64>,
    pub(crate) target: f64,
    pub(crate) window: String,
    #[serde(flatten)]
    pub(crate) terms: Terms,
    pub(crate) good: u64,
    pub(crate) total: u64,
    pub(crate) budget_remaining: f64,
    pub(crate) exhausted_ms: Option<u64>,
    pub(crate) burn_rates: BTreeMap<String, Option<f64>>,
    pub(crate) alerts: Vec<BurnAlert>,
    /// Since when rollouts wait for its budget.
    pub(crate) frozen_since_ms: Option<u64>,
    /// What waits: by model, the aliases that would move, with their versions.
    #[serde(default)]
    pub(crate) held_back: BTreeMap<String, BTreeMap<String, u64>>,
}

/// What is written of an objective beside what it measures. Servers of before leave some of it out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Terms {
    pub(crate) tier: Option<String>,
    pub(crate) min_events: Option<u64>,
    pub(crate) policy: BudgetPolicy,
}

impl Objective {
    /// As it stands in a configuration.
    pub(crate) fn written(&self) -> Result<tidegate_observe::Objective> {
        let usual = tidegate_observe::Objective::default();
        Ok(tidegate_observe::Objective {
            name: self.name.clone(),
            endpoint: self.endpoint.clone(),
            sli: if self.sli == "latency" {
                SliKind::Latency
            } else {
                SliKind::Availability
            },
            threshold_ms: self.threshold_ms,
            target: self.target,
            window: self
                .window
                .parse()
                .map_err(|error| anyhow!("{}: {error}", self.name))?,
            tier: self.terms.tier.clone().unwrap_or(usual.tier),
            min_events: self.terms.min_events.unwrap_or(usual.min_events),
            policy: self.terms.policy,
        })
    }

    /// What it measures.
    pub(crate) fn measures(&self) -> String {
        match self.threshold_ms {
            Some(threshold) => format!("{} <= {threshold} ms", self.sli),
            None => self.sli.clone(),
        }
    }

    /// Its burn rate over a window; `None` if there were no requests.
    pub(crate) fn burn(&self, window: &str) -> Option<f64> {
        self.burn_rates.get(window).copied().flatten()
    }

    /// Whether rollouts wait for its budget, and which; empty if they do not.
    pub(crate) fn rollouts(&self) -> String {
        if self.frozen_since_ms.is_none() {
            return String::new();
        }
        let moves = |(model, names): (&String, &BTreeMap<String, u64>)| {
            let moves = names
                .iter()
                .filter(|(name, _)| *name != "default" || names.len() == 1);
            moves
                .map(|(name, version)| format!("{model}@{name} -> {version}"))
                .collect::<Vec<_>>()
        };
        let held_back: Vec<String> = self.held_back.iter().flat_map(moves).collect();
        if held_back.is_empty() {
            "frozen".to_owned()
        } else {
            format!("frozen: {}", held_back.join(", "))
        }
    }

    /// Its alerts that fire.
    pub(crate) fn firing(&self) -> impl Iterator<Item = &BurnAlert> {
        self.alerts.iter().filter(|alert| alert.state == "firing")
    }
}

/// An alert of an objective.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct BurnAlert {
    pub(crate) id: String,
    pub(crate) severity: String,
    pub(crate) state: String,
}

/// One of `/api/alerts`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Alert {
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) severity: String,
    pub(crate) state: String,
    pub(crate) since_ms: i64,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) suppressed: Option<Suppressed>,
}

impl Alert {
    /// Why nobody is told of it; `None` if somebody is, by this server or another one of its group.
    pub(crate) fn suppression(&self) -> Option<&Suppressed> {
        self.suppressed
            .as_ref()
            .filter(|suppressed| suppressed.by != "replica")
    }

    /// A label; empty where it has none of this name.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// An annotation; empty where it has none of this name.
    pub(crate) fn annotation(&self, name: &str) -> &str {
        self.annotations.get(name).map_or("", String::as_str)
    }
}

/// Why a server tells nobody of an alert.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Suppressed {
    pub(crate) by: String,
    pub(crate) what: String,
}

/// One of `/api/alerts/routes`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AlertRoute {
    pub(crate) name: String,
    pub(crate) receiver: String,
    pub(crate) waiting: u64,
    pub(crate) failing_since_ms: Option<u64>,
    pub(crate) reason: Option<String>,
}

/// One of `/api/events`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Event {
    pub(crate) at_ms: u64,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) model: String,
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, Value>,
}

impl Event {
    /// A field as a text; empty where it has none of this name.
    pub(crate) fn field(&self, name: &str) -> String {
        match self.fields.get(name) {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    /// The model and version that it is about.
    pub(crate) fn subject(&self) -> String {
        if self.version.is_empty() {
            self.model.clone()
        } else {
            format!("{}:{}", self.model, self.version)
        }
    }
}
