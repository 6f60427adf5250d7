//! Inhibition: while an alert fires, alerts that it explains notify nobody.

use serde::{Deserialize, Serialize};

use super::{Alert, Matcher};

/// While an alert that matches `source` fires, alerts that match `target` and have the same values of
/// the labels `equal` notify nobody. As in Alertmanager, an alert does not inhibit itself, nor an
/// alert that would inhibit it in turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Inhibition {
    /// Matches the alert that explains others.
    pub source: Vec<Matcher>,
    /// Matches the alerts that it explains.
    pub target: Vec<Matcher>,
    /// Labels whose values must be equal, or absent, in both.
    pub equal: Vec<String>,
}

impl Inhibition {
    /// The default: a page of an endpoint inhibits the tickets of the endpoint, and a server that is
    /// not ready inhibits the alerts of its endpoints.
    ///
    /// # Panics
    /// Never: the matchers are constants.
    pub fn defaults() -> Vec<Self> {
        vec![
            Self {
                source: matchers(&["severity=\"page\""]),
                target: matchers(&["severity=\"ticket\"", "endpoint!=\"\""]),
                equal: vec!["endpoint".to_owned()],
            },
            Self {
                source: matchers(&["alertname=\"TidegateServerNotReady\""]),
                target: matchers(&["endpoint!=\"\""]),
                equal: Vec::new(),
            },
        ]
    }

    fn inhibits(&self, source: &Alert, target: &Alert) -> bool {
        if !source.is_firing() || !self.is_source(source) || !self.is_target(target) {
            return false;
        }
        // Two alerts that are both source and target would inhibit each other, and nobody would be
        // notified of either.
        if self.is_source(target) && self.is_target(source) {
            return false;
        }
        let mut labels = self.equal.iter();
        labels.all(|name| source.label(name) == target.label(name))
    }

    fn is_source(&self, alert: &Alert) -> bool {
        Matcher::all_match(&self.source, &alert.labels)
    }

    fn is_target(&self, alert: &Alert) -> bool {
        Matcher::all_match(&self.target, &alert.labels)
    }
}

fn matchers(texts: &[&str]) -> Vec<Matcher> {
    let parsed = texts.iter().map(|text| text.parse());
    parsed
        .map(|matcher| matcher.expect("the constants above are valid matchers"))
        .collect()
}

/// The alert that inhibits another, if any does.
pub(super) fn inhibiting<'a>(
    inhibitions: &[Inhibition],
    alerts: &'a [Alert],
    target: &Alert,
) -> Option<&'a Alert> {
    let mut sources = alerts
        .iter()
        // An alert that is its own source would never be sent.
        .filter(|source| source.labels != target.labels);
    sources.find(|source| {
        inhibitions
            .iter()
            .any(|inhibition| inhibition.inhibits(source, target))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AlertState;
    use crate::alerting::tests::alert;

    #[test]
    fn a_page_inhibits_the_tickets_of_its_endpoint() {
        let (page, ticket) = (
            alert("down", "page", "fraud"),
            alert("slow", "ticket", "fraud"),
        );
        let other = alert("slow", "ticket", "iris");
        let alerts = [page.clone(), ticket.clone(), other.clone()];
        let by = |target| inhibiting(&Inhibition::defaults(), &alerts, target).map(Alert::name);
        assert_eq!(by(&ticket), Some("down"));
        assert_eq!((by(&other), by(&page)), (None, None));
        let over = Alert {
            state: AlertState::Resolved { since_ms: 1 },
            ..page
        };
        assert!(inhibiting(&Inhibition::defaults(), &[over, ticket.clone()], &ticket).is_none());
    }

    #[test]
    fn a_server_that_is_not_ready_explains_its_endpoints() {
        let server = alert("TidegateServerNotReady", "page", "");
        let alerts = [
            server.clone(),
            alert("down", "page", "fraud"),
            alert("memory", "ticket", ""),
        ];
        let by = |target| inhibiting(&Inhibition::defaults(), &alerts, target).map(Alert::name);
        assert_eq!(by(&alerts[1]), Some("TidegateServerNotReady"));
        assert_eq!((by(&alerts[2]), by(&server)), (None, None));
    }

    #[test]
    fn alerts_that_are_both_do_not_silence_each_other() {
        let matchers: Vec<Matcher> = vec!["severity=\"page\"".parse().unwrap()];
        let mutual = Inhibition {
            source: matchers.clone(),
            target: matchers,
            equal: Vec::new(),
        };
        let alerts = [alert("a", "page", "x"), alert("b", "page", "y")];
        assert!(inhibiting(&[mutual], &alerts, &alerts[0]).is_none());
    }
}
