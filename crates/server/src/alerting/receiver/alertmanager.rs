//! Alertmanager, which gets alerts as from Prometheus: firing ones repeatedly, resolved ones for a
//! while.

use std::collections::BTreeMap;

use serde::Serialize;
use tidegate_observe::alerting::{Alert, RESOLVED_RETENTION_MS, Route, TriagedAlert, rfc3339};

use super::Undelivered;
use super::http::{Http, check_url, json_headers};

/// An Alertmanager, API v2.
pub(in crate::alerting) struct Alertmanager {
    url: String,
}

/// An alert as `POST /api/v2/alerts` takes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Posted<'a> {
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    starts_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<&'a String>,
}

impl Alertmanager {
    pub(super) fn new(url: &str) -> Result<Self, String> {
        check_url(url)?;
        Ok(Self {
            url: format!("{}/api/v2/alerts", url.trim_end_matches('/')),
        })
    }

    /// The alerts that it is sent: those that fire, and those that were resolved not long ago.
    pub(in crate::alerting) fn alerts<'a>(
        &self,
        route: &Route,
        triaged: &'a [TriagedAlert],
        now_ms: u64,
    ) -> Vec<&'a Alert> {
        let mut alerts = Vec::new();
        for one in triaged {
            let alert = &one.alert;
            let is_recent = alert.resolved_ms().is_some_and(|resolved_ms| {
                now_ms.saturating_sub(resolved_ms) <= RESOLVED_RETENTION_MS
            });
            let is_sent = one.suppression.is_none() && (alert.is_firing() || is_recent);
            if is_sent && route.accepts(one) {
                alerts.push(alert);
            }
        }
        alerts
    }

    /// Sends it alerts.
    pub(in crate::alerting) async fn send(
        &self,
        http: &Http,
        alerts: &[&Alert],
    ) -> Result<(), Undelivered> {
        let posted: Vec<Posted<'_>> = alerts.iter().map(|alert| Posted::of(alert)).collect();
        let body = serde_json::to_vec(&posted)
            .map_err(|problem| Undelivered::later(problem.to_string()))?;
        http.post(&self.url, json_headers(), body.into()).await
    }
}

impl<'a> Posted<'a> {
    fn of(alert: &'a Alert) -> Self {
        let ended_ms = alert.resolved_ms();
        Self {
            labels: &alert.labels,
            annotations: &alert.annotations,
            starts_at: rfc3339(alert.fired_ms.or(ended_ms).unwrap_or(0)),
            // Without an end, Alertmanager resolves it once it has not been sent for
            // `resolve_timeout`.
            ends_at: ended_ms.map(rfc3339),
            generator_url: alert.annotations.get("dashboard_url"),
        }
    }
}
