//! Why an alert that fires is told to nobody.

use serde::Serialize;

use super::inhibition::inhibiting;
use super::{Alert, DeployWindows, Inhibition, Silences};

/// What keeps an alert from being told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Suppression {
    /// Someone wants it so.
    Silence {
        /// The silence.
        id: String,
    },
    /// Another alert explains it.
    Inhibition {
        /// The fingerprint of that alert.
        alert: String,
    },
    /// A version of its endpoint has only just begun to answer.
    DeployWindow {
        /// That version.
        version: String,
        /// When the window ends, in Unix milliseconds.
        until_ms: u64,
    },
    /// All replicas have it, and another one tells people.
    Replica {
        /// That one's name.
        name: String,
    },
}

/// An alert, and what keeps it from being told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The alert.
    pub alert: Alert,
    /// Why it is told to nobody; `None` if it is.
    pub suppression: Option<Suppression>,
}

impl Judged {
    /// Whether it fires and people are told, here or by another replica.
    pub fn is_told(&self) -> bool {
        self.alert.is_firing()
            && matches!(self.suppression, None | Some(Suppression::Replica { .. }))
    }
}

/// Everything that suppresses alerts.
#[derive(Clone, Copy, Debug)]
pub struct Suppressors<'a> {
    /// What people do not want to be told.
    pub silences: &'a Silences,
    /// What explains what.
    pub inhibitions: &'a [Inhibition],
    /// Where something was deployed.
    pub deploys: &'a DeployWindows,
    /// The severities that a deploy window holds back.
    pub held_back: &'a [crate::Severity],
    /// The replica that tells people of the alerts that all replicas have, if it is not this one.
    pub told_by: Option<&'a str>,
}

impl Suppressors<'_> {
    /// Looks at every alert. Those that fall into a deploy window and are told all the same get the
    /// annotation `deploy`.
    pub fn judge(&self, alerts: Vec<Alert>, now_ms: u64) -> Vec<Judged> {
        let suppressions: Vec<_> = alerts
            .iter()
            .map(|alert| self.suppression(alert, &alerts, now_ms))
            .collect();
        let judged = alerts.into_iter().zip(suppressions);
        judged
            .map(|(alert, suppression)| Judged {
                alert: self.noted(alert, now_ms),
                suppression,
            })
            .collect()
    }

    fn suppression(&self, alert: &Alert, alerts: &[Alert], now_ms: u64) -> Option<Suppression> {
        if let Some(silence) = self.silences.silencing(alert, now_ms) {
            return Some(Suppression::Silence {
                id: silence.id.clone(),
            });
        }
        if self
            .held_back
            .iter()
            .any(|severity| severity.name() == alert.label("severity"))
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
            });
        }
        // Objectives are counted together; everything else each replica sees for itself.
        let name = self.told_by.filter(|_| !alert.label("slo").is_empty())?;
        Some(Suppression::Replica {
            name: name.to_owned(),
        })
    }

    fn noted(&self, mut alert: Alert, now_ms: u64) -> Alert {
        if let Some(window) = self.deploys.of(&alert, now_ms) {
            let minutes = now_ms.saturating_sub(window.from_ms) / 60_000;
            let note = format!(
                "Version {} began to answer {minutes} minutes ago.",
                window.version
            );
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
            held_back: &held_back,
            told_by: None,
        };
        let alerts = vec![
            alert("slow", "ticket", "fraud"),
            alert("down", "page", "fraud"),
        ];
        let judged = suppressors.judge(alerts.clone(), 120_000);
        let window = Suppression::DeployWindow {
            version: "3".to_owned(),
            until_ms: 600_000,
        };
        assert_eq!(
            (&judged[0].suppression, &judged[1].suppression),
            (&Some(window), &None)
        );
        assert_eq!(
            judged[1].alert.annotation("deploy"),
            "Version 3 began to answer 2 minutes ago."
        );
        assert!(
            suppressors
                .judge(alerts, 600_000)
                .iter()
                .all(|judged| judged.suppression.is_none())
        );
    }

    #[test]
    fn another_replica_tells_of_what_all_have() {
        let (silences, deploys) = (Silences::default(), DeployWindows::default());
        let told_by = Some("host:1");
        let suppressors = Suppressors {
            silences: &silences,
            inhibitions: &[],
            deploys: &deploys,
            held_back: &[],
            told_by,
        };
        let own = alert("memory", "page", "fraud");
        let mut shared = alert("burn", "page", "fraud");
        shared
            .labels
            .insert("slo".to_owned(), "fraud-answers".to_owned());
        let judged = suppressors.judge(vec![own, shared], 0);
        assert_eq!(judged[0].suppression, None);
        assert_eq!(
            judged[1].suppression,
            Some(Suppression::Replica {
                name: "host:1".to_owned()
            })
        );
        assert!(judged.iter().all(Judged::is_told));
    }
}
