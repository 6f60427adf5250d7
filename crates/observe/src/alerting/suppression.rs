//! Suppression: why an alert that fires notifies nobody.

use serde::Serialize;

use super::builtin::ROLLED_BACK;
use super::inhibition::inhibiting;
use super::{Alert, DeployWindows, Inhibition, Silences};

/// Why an alert notifies nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Suppression {
    /// Somebody silenced it.
    Silence {
        /// The silence.
        id: String,
    },
    /// Another alert that fires explains it.
    Inhibition {
        /// The fingerprint of that alert.
        alert: String,
        /// Its name.
        name: String,
    },
    /// A version of its endpoint was deployed only just now.
    DeployWindow {
        /// That version.
        version: String,
        /// When the window ends, in Unix milliseconds.
        until_ms: u64,
    },
    /// All replicas have this alert, and another one of them notifies people.
    Replica {
        /// The name of that replica.
        name: String,
    },
}

/// An alert with the decision whether people are notified of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriagedAlert {
    /// The alert.
    pub alert: Alert,
    /// Why nobody is notified; `None` if people are.
    pub suppression: Option<Suppression>,
}

impl TriagedAlert {
    /// Whether it fires and is not suppressed.
    pub(super) fn is_unsuppressed(&self) -> bool {
        self.alert.is_firing() && self.suppression.is_none()
    }

    /// Whether it fires and people are notified, by this replica or another one.
    pub fn is_notified(&self) -> bool {
        self.alert.is_firing()
            && matches!(self.suppression, None | Some(Suppression::Replica { .. }))
    }
}

/// Everything that suppresses alerts.
#[derive(Clone, Copy, Debug)]
pub struct Suppressors<'a> {
    /// Alerts that somebody silenced.
    pub silences: &'a Silences,
    /// Which alerts explain which others.
    pub inhibitions: &'a [Inhibition],
    /// Endpoints with a recent deployment.
    pub deploys: &'a DeployWindows,
    /// The severities that a deploy window suppresses.
    pub deploy_severities: &'a [crate::Severity],
    /// The replica that notifies people of alerts that all replicas have, if it is not this one.
    pub notifying_replica: Option<&'a str>,
}

impl Suppressors<'_> {
    /// Decides for every alert whether people are notified. Alerts within a deploy window get the
    /// annotation `deploy`, suppressed or not.
    pub fn triage(&self, alerts: Vec<Alert>, now_ms: u64) -> Vec<TriagedAlert> {
        // All decisions before any change: inhibition compares the alerts with one another.
        let suppressions: Vec<_> = alerts
            .iter()
            .map(|alert| self.suppression(alert, &alerts, now_ms))
            .collect();
        let triaged = alerts.into_iter().zip(suppressions);
        triaged
            .map(|(alert, suppression)| TriagedAlert {
                alert: self.annotate(alert, now_ms),
                suppression,
            })
            .collect()
    }

    fn suppression(&self, alert: &Alert, alerts: &[Alert], now_ms: u64) -> Option<Suppression> {
        // The first match is shown as the reason, so what somebody decided comes before what follows
        // from configuration.
        if let Some(silence) = self.silences.silencing(alert, now_ms) {
            return Some(Suppression::Silence {
                id: silence.id.clone(),
            });
        }
        if self.is_held_back_after_deploys(alert)
            && let Some(window) = self.deploys.of(alert, now_ms)
        {
            return Some(Suppression::DeployWindow {
                version: window.version.clone(),
                until_ms: window.until_ms,
            });
        }
        if let Some(source) = inhibiting(self.inhibitions, alerts, alert) {
            return Some(Suppression::Inhibition {
                alert: source.fingerprint(),
                name: source.name().to_owned(),
            });
        }
        // Replicas count objectives together, so all of them have the same burn alerts. Every other
        // alert is about one replica, which notifies people itself.
        let name = self
            .notifying_replica
            .filter(|_| !alert.label("slo").is_empty())?;
        Some(Suppression::Replica {
            name: name.to_owned(),
        })
    }

    fn is_held_back_after_deploys(&self, alert: &Alert) -> bool {
        let mut severities = self.deploy_severities.iter();
        // What a rollout says of a version is no noise of its deploy.
        alert.name() != ROLLED_BACK
            && severities.any(|severity| severity.name() == alert.label("severity"))
    }

    fn annotate(&self, mut alert: Alert, now_ms: u64) -> Alert {
        if let Some(window) = self.deploys.of(&alert, now_ms) {
            let minutes = now_ms.saturating_sub(window.from_ms) / 60_000;
            let note = format!("Version {} was deployed {minutes} min ago.", window.version);
            alert.annotations.insert("deploy".to_owned(), note);
        }
        alert
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Severity;
    use crate::alerting::tests::alert;

    #[test]
    fn a_deploy_window_holds_tickets_back_and_notes_itself_on_pages() {
        let (silences, mut deploys) = (Silences::default(), DeployWindows::default());
        deploys.open("fraud", "3", 0, 600_000);
        let held_back = [Severity::Ticket];
        let suppressors = Suppressors {
            silences: &silences,
            inhibitions: &[],
            deploys: &deploys,
            deploy_severities: &held_back,
            notifying_replica: None,
        };
        let rolled_back = alert(ROLLED_BACK, "ticket", "fraud");
        let triaged = suppressors.triage(vec![rolled_back], 120_000);
        assert_eq!(triaged[0].suppression, None);
        let alerts = vec![
            alert("slow", "ticket", "fraud"),
            alert("down", "page", "fraud"),
        ];
        let triaged = suppressors.triage(alerts.clone(), 120_000);
        let window = Suppression::DeployWindow {
            version: "3".to_owned(),
            until_ms: 600_000,
        };
        assert_eq!(
            (&triaged[0].suppression, &triaged[1].suppression),
            (&Some(window), &None)
        );
        assert_eq!(
            triaged[1].alert.annotation("deploy"),
            "Version 3 was deployed 2 min ago."
        );
        assert!(
            suppressors
                .triage(alerts, 600_000)
                .iter()
                .all(|triaged| triaged.suppression.is_none())
        );
    }

    #[test]
    fn another_replica_tells_of_what_all_have() {
        let (silences, deploys) = (Silences::default(), DeployWindows::default());
        let notifying_replica = Some("host:1");
        let suppressors = Suppressors {
            silences: &silences,
            inhibitions: &[],
            deploys: &deploys,
            deploy_severities: &[],
            notifying_replica,
        };
        let own = alert("memory", "page", "fraud");
        let mut shared = alert("burn", "page", "fraud");
        shared
            .labels
            .insert("slo".to_owned(), "fraud-answers".to_owned());
        let triaged = suppressors.triage(vec![own, shared], 0);
        assert_eq!(triaged[0].suppression, None);
        assert_eq!(
            triaged[1].suppression,
            Some(Suppression::Replica {
                name: "host:1".to_owned()
            })
        );
        assert!(triaged.iter().all(TriagedAlert::is_notified));
    }
}
