//! Inhibition: an alert that explains others keeps them from being told.

use serde::{Deserialize, Serialize};

use super::{Alert, Matcher};

/// While an alert fires that fulfils `source`, those that fulfil `target` and have the same values
/// of the labels `equal` are told to nobody. An alert does not inhibit itself, nor those that
/// inhibit it in turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Inhibition {
    /// The alert that explains.
    pub source: Vec<Matcher>,
    /// The alerts that it explains.
    pub target: Vec<Matcher>,
    /// Labels whose values must be the same, or absent, in both.
    pub equal: Vec<String>,
}

impl Inhibition {
    /// What holds unless it is configured otherwise: a page of an endpoint inhibits its tickets,
    /// and a server that is not ready the alerts of its endpoints.
    ///
    /// # Panics
    /// Never: the matchers are constants.
    pub fn defaults() -> Vec<Self> {
        let parse = |text: &str| text.parse().expect("constants are matchers");
        let matchers = |texts: &[&str]| texts.iter().copied().map(parse).collect();
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
        let (is_source, is_target) = (
            |alert: &Alert| Matcher::all_match(&self.source, &alert.labels),
            |alert: &Alert| Matcher::all_match(&self.target, &alert.labels),
        );
        // As Alertmanager has it: what is source and target at once would inhibit its like, and be
        // inhibited by it.
        let both = is_source(target) && is_target(source);
        let equal = || {
            self.equal
                .iter()
                .all(|name| source.label(name) == target.label(name))
        };
        source.is_firing() && is_source(source) && is_target(target) && !both && equal()
    }
}

/// The alert that inhibits another, if one does.
pub(super) fn inhibiting<'a>(
    inhibitions: &[Inhibition],
    alerts: &'a [Alert],
    target: &Alert,
) -> Option<&'a Alert> {
    let mut sources = alerts
        .iter()
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
