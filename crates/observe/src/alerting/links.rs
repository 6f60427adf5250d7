//! Links of an alert: its runbook and its dashboard.

use super::Alert;
use crate::BurnWindow;
use crate::rules::RuleOptions;
use crate::window::HOUR_MS;

/// The `uid` of the on-call dashboard of [`crate::dashboards`].
const DASHBOARD: &str = "tidegate-on-call";

/// Base addresses of runbooks and dashboards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// Base address of the runbooks: `/NAME.md` is appended.
    pub runbooks: String,
    /// Base address of Grafana; empty if there is none.
    pub grafana: String,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            runbooks: RuleOptions::default().runbook_base,
            grafana: String::new(),
        }
    }
}

impl Links {
    /// The address of a runbook, from its name or address; `None` for an empty name.
    pub fn runbook(&self, name: &str) -> Option<String> {
        match name {
            "" => None,
            // Runbooks of other teams may lie elsewhere: a whole address is taken as it is.
            url if url.contains("://") => Some(url.to_owned()),
            name => Some(format!("{}/{name}.md", self.runbooks.trim_end_matches('/'))),
        }
    }

    /// The address of the on-call dashboard, with a time range that starts one hour before the alert
    /// (or its long window, if that is longer) and ends after it resolved, or now.
    pub fn dashboard(&self, alert: &Alert) -> Option<String> {
        let since_ms = alert.since_ms().filter(|_| !self.grafana.is_empty())?;
        let window = BurnWindow::ALL
            .into_iter()
            .find(|window| window.name() == alert.label("long_window"));
        let before_ms = window.map_or(HOUR_MS, |window| window.ms().max(HOUR_MS));
        let from_ms = alert.fired_ms.unwrap_or(since_ms).saturating_sub(before_ms);
        let to = alert.resolved_ms().map_or_else(
            || "now".to_owned(),
            // A quarter of an hour more shows that things are normal again.
            |resolved_ms| (resolved_ms + HOUR_MS / 4).to_string(),
        );
        Some(format!(
            "{}/d/{DASHBOARD}?from={from_ms}&to={to}",
            self.grafana.trim_end_matches('/')
        ))
    }

    /// The alert with the annotation `dashboard_url`.
    #[must_use]
    pub fn with_dashboard(&self, mut alert: Alert) -> Alert {
        if let Some(url) = self.dashboard(&alert) {
            alert.annotations.insert("dashboard_url".to_owned(), url);
        }
        alert
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AlertState;
    use crate::alerting::tests::alert;

    #[test]
    fn a_dashboard_shows_what_led_to_the_alert() {
        let links = Links {
            grafana: "https://grafana.example/".to_owned(),
            ..Links::default()
        };
        let mut burn = alert("x", "ticket", "a");
        burn.labels
            .insert("long_window".to_owned(), "1d".to_owned());
        (burn.state, burn.fired_ms) = (
            AlertState::Firing {
                since_ms: 100_000_000,
            },
            Some(100_000_000),
        );
        let told = "https://grafana.example/d/tidegate-on-call?from=13600000&to=now";
        assert_eq!(links.dashboard(&burn).as_deref(), Some(told));
        burn.state = AlertState::Resolved {
            since_ms: 200_000_000,
        };
        assert!(
            links
                .dashboard(&burn)
                .unwrap()
                .ends_with("?from=13600000&to=200900000")
        );
        assert_eq!(Links::default().dashboard(&burn), None);
    }

    #[test]
    fn the_dashboard_is_one_of_ours() {
        assert!(
            crate::dashboards("tidegate")
                .iter()
                .any(|dashboard| dashboard.name == DASHBOARD)
        );
    }

    #[test]
    fn runbooks_have_names_or_addresses() {
        let links = Links::default();
        assert!(
            links
                .runbook("memory")
                .unwrap()
                .ends_with("/docs/runbooks/memory.md")
        );
        assert_eq!(
            links.runbook("https://wiki/x").as_deref(),
            Some("https://wiki/x")
        );
        assert_eq!(links.runbook(""), None);
    }
}
