//! The responses of the server's API, as far as commands read them.

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

/// An entry of `/v2/repository/index`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct IndexEntry {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) version: String,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) reason: String,
    /// Servers other than Tidegate leave these out.
    pub(crate) stage: Option<String>,
    #[serde(default)]
    pub(crate) aliases: Vec<String>,
    #[serde(default)]
    pub(crate) default: bool,
    pub(crate) memory_bytes: Option<u64>,
}

impl IndexEntry {
    /// The state, in as much detail as the server gives.
    pub(crate) fn stage(&self) -> String {
        self.stage
            .clone()
            .unwrap_or_else(|| self.state.to_lowercase())
    }

    /// `MODEL:VERSION`, or the name alone if it has no version.
    pub(crate) fn title(&self) -> String {
        if self.version.is_empty() {
            self.name.clone()
        } else {
            format!("{}:{}", self.name, self.version)
        }
    }
}

/// An entry of `/api/slos`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Objective {
    pub(crate) name: String,
    pub(crate) endpoint: String,
    pub(crate) sli: String,
    pub(crate) threshold_ms: Option<f64>,
    pub(crate) target: f64,
    pub(crate) window: String,
    #[serde(flatten)]
    pub(crate) settings: Settings,
    pub(crate) good: u64,
    pub(crate) total: u64,
    pub(crate) budget_remaining: f64,
    pub(crate) exhausted_ms: Option<u64>,
    pub(crate) burn_rates: BTreeMap<String, Option<f64>>,
    pub(crate) alerts: Vec<BurnAlert>,
    /// Since when rollouts are frozen because its error budget is used up.
    pub(crate) frozen_since_ms: Option<u64>,
    /// The rollouts that wait: by model, the aliases that would move, with their versions.
    #[serde(default)]
    pub(crate) held_back: BTreeMap<String, BTreeMap<String, u64>>,
}

/// The settings of an objective that older servers leave out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    pub(crate) tier: Option<String>,
    pub(crate) min_events: Option<u64>,
    pub(crate) policy: BudgetPolicy,
}

impl Objective {
    /// The objective as a section of a configuration.
    pub(crate) fn to_config(&self) -> Result<tidegate_observe::Objective> {
        let default = tidegate_observe::Objective::default();
        let sli = match self.sli.as_str() {
            "latency" => SliKind::Latency,
            _ => SliKind::Availability,
        };
        let window = self
            .window
            .parse()
            .map_err(|error| anyhow!("{}: {error}", self.name))?;
        Ok(tidegate_observe::Objective {
            name: self.name.clone(),
            endpoint: self.endpoint.clone(),
            sli,
            threshold_ms: self.threshold_ms,
            target: self.target,
            window,
            tier: self.settings.tier.clone().unwrap_or(default.tier),
            min_events: self.settings.min_events.unwrap_or(default.min_events),
            policy: self.settings.policy,
        })
    }

    /// The indicator with its threshold.
    pub(crate) fn indicator(&self) -> String {
        match self.threshold_ms {
            Some(threshold) => format!("{} <= {threshold} ms", self.sli),
            None => self.sli.clone(),
        }
    }

    /// Its burn rate over a window; `None` if there were no requests.
    pub(crate) fn burn_rate(&self, window: &str) -> Option<f64> {
        self.burn_rates.get(window).copied().flatten()
    }

    /// `frozen` with the rollouts that wait, or nothing if rollouts go on.
    pub(crate) fn rollouts(&self) -> String {
        if self.frozen_since_ms.is_none() {
            return String::new();
        }
        let waiting: Vec<String> = self.held_back.iter().flat_map(waiting_rollouts).collect();
        match waiting.is_empty() {
            true => "frozen".to_owned(),
            false => format!("frozen: {}", waiting.join(", ")),
        }
    }

    /// Its firing alerts.
    pub(crate) fn firing(&self) -> impl Iterator<Item = &BurnAlert> {
        self.alerts.iter().filter(|alert| alert.state == "firing")
    }
}

/// The aliases of a model that would move, such as `fraud@champion -> 7`.
fn waiting_rollouts((model, aliases): (&String, &BTreeMap<String, u64>)) -> Vec<String> {
    aliases
        .iter()
        // The default version follows an alias: it is news only where nothing else moves.
        .filter(|(alias, _)| *alias != "default" || aliases.len() == 1)
        .map(|(alias, version)| format!("{model}@{alias} -> {version}"))
        .collect()
}

/// An alert of an objective.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct BurnAlert {
    pub(crate) id: String,
    pub(crate) severity: String,
    pub(crate) state: String,
}

/// An entry of `/api/alerts`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Alert {
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) severity: String,
    pub(crate) state: String,
    pub(crate) since_ms: i64,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) suppressed: Option<Suppression>,
}

impl Alert {
    /// Why no message is sent; `None` if this server or another one of its group sends one.
    pub(crate) fn suppression(&self) -> Option<&Suppression> {
        self.suppressed
            .as_ref()
            .filter(|suppression| suppression.by != "replica")
    }

    /// A label, or an empty text.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// All labels but these, as `name=value, name=value`.
    pub(crate) fn labels_except(&self, names: &[&str]) -> String {
        let labels: Vec<String> = self
            .labels
            .iter()
            .filter(|(name, _)| !names.contains(&name.as_str()))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        labels.join(", ")
    }

    /// An annotation, or an empty text.
    pub(crate) fn annotation(&self, name: &str) -> &str {
        self.annotations.get(name).map_or("", String::as_str)
    }
}

/// Why a server sends no message about an alert.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Suppression {
    /// `silence`, `inhibition`, `deploy_window` or `replica`.
    pub(crate) by: String,
    /// The silence, the key of the other alert, the deployed version, or the replica.
    pub(crate) what: String,
}

impl Suppression {
    /// The reason for people. `alerts` has the names of alerts that inhibit this one.
    pub(crate) fn describe(&self, alerts: &[Alert]) -> String {
        let what = &self.what;
        match self.by.as_str() {
            "inhibition" => {
                let cause = alerts.iter().find(|alert| alert.key == *what);
                format!("alert {}", cause.map_or(what, |alert| &alert.name))
            }
            "deploy_window" => format!("deploy window of {what}"),
            by => format!("{by} {what}"),
        }
    }
}

/// An entry of `/api/alerts/routes`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AlertRoute {
    pub(crate) name: String,
    pub(crate) receiver: String,
    pub(crate) waiting: u64,
    pub(crate) failing_since_ms: Option<u64>,
    pub(crate) reason: Option<String>,
}

/// An entry of `/api/events`.
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
    /// A field as text, or an empty text.
    pub(crate) fn field(&self, name: &str) -> String {
        match self.fields.get(name) {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    /// The model it is about, with its version if it has one.
    pub(crate) fn subject(&self) -> String {
        if self.version.is_empty() {
            self.model.clone()
        } else {
            format!("{}:{}", self.model, self.version)
        }
    }
}
