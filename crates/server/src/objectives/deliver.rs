//! Alerts to Alertmanager, as Prometheus sends them: what fires again and again, what ended for a while.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_observe::{AlertState, Notification, RuleOptions};
use tidegate_serving::Metrics;
use tracing::warn;

use super::Status;

/// How long what has ended is told.
const TELL_ENDED_MS: u64 = 15 * 60_000;
/// Longest that an Alertmanager may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The `[alerts]` section: where alerts of objectives go, beside the log and the metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsConfig {
    /// Alertmanagers, such as `http://alertmanager:9093`. Each is told of every alert.
    pub alertmanagers: Vec<String>,
    /// Where the runbooks are that alerts link to; `/NAME.md` is appended.
    pub runbooks: String,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self { alertmanagers: Vec::new(), runbooks: RuleOptions::default().runbook_base }
    }
}

impl AlertsConfig {
    /// What is to be told at a moment.
    pub(super) fn notifications(&self, status: &[Status<'_>], now_ms: u64) -> Vec<Notification> {
        let options = RuleOptions { runbook_base: self.runbooks.clone(), ..RuleOptions::default() };
        let mut told = Vec::new();
        for one in status {
            for (alert, state) in &one.alerts {
                let is_old = |since_ms: u64| now_ms.saturating_sub(since_ms) > TELL_ENDED_MS;
                if !matches!(state, AlertState::Resolved { since_ms } if is_old(*since_ms)) {
                    told.extend(Notification::of(one.slo, alert, *state, &one.standing, &options));
                }
            }
        }
        told
    }

    /// Tells every Alertmanager. What does not arrive is told again in a minute. Blocks.
    pub(super) fn deliver(&self, notifications: &[Notification], metrics: &Metrics) {
        let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build().into();
        for manager in &self.alertmanagers {
            let url = format!("{}/api/v2/alerts", manager.trim_end_matches('/'));
            let sent = agent.post(&url).send_json(notifications);
            metrics.alert_delivery(sent.is_ok());
            if let Err(error) = sent {
                warn!(url, %error, alerts = notifications.len(), "alerts could not be delivered: tried again in a minute");
            }
        }
    }
}
