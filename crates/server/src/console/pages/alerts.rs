//! Alerts and silences.

use tidegate_console::{Alerts, Listing, NewSilence};
use tidegate_observe::AlertState;
use tidegate_observe::alerting::{Silence, TriagedAlert};

use crate::alerting::Alerting;

/// Most silences that are shown.
const SILENCES: usize = 100;

pub(crate) fn alerts(
    alerting: &Alerting,
    mut listing: Listing,
    new: NewSilence,
    now_ms: u64,
) -> Alerts {
    let triaged = alerting.alerts();
    let is_wanted = |triaged: &&TriagedAlert| {
        let alert = &triaged.alert;
        alert.state != AlertState::Inactive
            && (listing.matches(alert.name()) || listing.matches(alert.label("endpoint")))
    };
    let mut wanted: Vec<TriagedAlert> = triaged.iter().filter(is_wanted).cloned().collect();
    wanted.sort_by_key(|triaged| (rank(triaged), std::cmp::Reverse(triaged.alert.since_ms())));
    let mut silences: Vec<Silence> = alerting.silences();
    silences.sort_by_key(|silence| {
        (
            silence.state(now_ms) == "expired",
            std::cmp::Reverse(silence.from_ms),
        )
    });
    let more_silences = silences.len().saturating_sub(SILENCES);
    silences.truncate(SILENCES);
    Alerts {
        now_ms,
        alerts: listing.page_of(wanted),
        listing,
        silences,
        more_silences,
        new,
    }
}

/// Pages before tickets, what fires before what does not.
fn rank(triaged: &TriagedAlert) -> u8 {
    let is_page = triaged.alert.label("severity") == "page";
    match triaged.alert.state {
        AlertState::Firing { .. } if is_page => 0,
        AlertState::Firing { .. } => 1,
        AlertState::Pending { .. } => 2,
        AlertState::Resolved { .. } | AlertState::Inactive => 3,
    }
}

/// The matchers of a silence on one alert, by its fingerprint; none if there is no such alert.
pub(crate) fn matchers(alerting: &Alerting, key: &str) -> String {
    let triaged = alerting.alerts();
    let Some(triaged) = triaged
        .iter()
        .find(|triaged| triaged.alert.fingerprint() == key)
    else {
        return String::new();
    };
    let quoted = |value: &str| {
        value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    };
    let lines = triaged
        .alert
        .labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", quoted(value)));
    lines.collect::<Vec<_>>().join("\n")
}
