//! Alerts on their way to people, in the form of Alertmanager's API v2.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::alerts::{AlertState, BurnAlert};
use crate::burn::Standing;
use crate::rules::RuleOptions;
use crate::slo::Slo;

/// An alert that fires, or has fired, as `POST /api/v2/alerts` takes it. Labels and runbook are those of the rules for
/// Prometheus, so that routes, inhibitions and silences treat both alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// What tells it from others.
    pub labels: BTreeMap<&'static str, String>,
    /// What people read.
    pub annotations: BTreeMap<&'static str, String>,
    /// Since when it fires, as RFC 3339 has it.
    pub starts_at: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<String>,
}

impl Notification {
    /// The notification of an alert in a state; none where nothing fires or has fired.
    pub fn of(
        slo: &Slo,
        alert: &BurnAlert,
        state: AlertState,
        standing: &Standing,
        options: &RuleOptions,
    ) -> Option<Self> {
        let (since_ms, is_over) = match state {
            AlertState::Firing { since_ms } => (since_ms, false),
            AlertState::Resolved { since_ms } => (since_ms, true),
            AlertState::Inactive | AlertState::Pending { .. } => return None,
        };
        let (name, labels, mut annotations) = crate::rules::burn_alert(slo, alert, options);
        let (long, short) = (standing.burn(alert.long), standing.burn(alert.short));
        let rate = |rate: Option<f64>| rate.map_or_else(|| "none".to_owned(), |rate| format!("{rate:.1}"));
        let description = format!(
            "Of {} requests in the last {} {} were bad: the burn rate is {}, and {} in the last {}. {:.1}% of the error \
             budget is left.",
            long.counts.total,
            alert.long.name(),
            long.counts.bad(),
            rate(long.rate),
            rate(short.rate),
            alert.short.name(),
            100.0 * standing.budget_remaining,
        );
        annotations.insert("description", description);
        let mut labels = labels;
        labels.insert("alertname", name.to_owned());
        let at = time(since_ms);
        Some(Self { labels, annotations, starts_at: at.clone(), ends_at: is_over.then_some(at) })
    }
}

fn time(ms: u64) -> String {
    let time = DateTime::<Utc>::from_timestamp_millis(i64::try_from(ms).unwrap_or(i64::MAX));
    time.unwrap_or(DateTime::<Utc>::MAX_UTC).to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BURN_ALERTS, Ledger, Objective};

    #[test]
    fn what_fires_is_told_with_its_numbers_and_what_has_ended_with_its_end() {
        let objective = Objective { name: "all".to_owned(), tier: "gold".to_owned(), ..Objective::default() };
        let slo = objective.parse().unwrap();
        let mut ledger = Ledger::default();
        let now_ms = 1_700_000_040_000;
        ledger.add(now_ms - 1, 900, 1000);
        let standing = Standing::of(&slo, &ledger, now_ms);
        let of = |state| Notification::of(&slo, &BURN_ALERTS[0], state, &standing, &RuleOptions::default());
        assert_eq!((of(AlertState::Inactive), of(AlertState::Pending { since_ms: 1 })), (None, None));
        let firing = of(AlertState::Firing { since_ms: now_ms }).unwrap();
        assert_eq!((firing.starts_at.as_str(), &firing.ends_at), ("2023-11-14T22:14:00.000Z", &None));
        let label = |name| firing.labels.get(name).map(String::as_str);
        let wanted = [Some("TidegateAvailabilityBurn"), Some("page"), Some("all"), Some("gold")];
        assert_eq!(["alertname", "severity", "slo", "tier"].map(label), wanted);
        let told = &firing.annotations["description"];
        assert!(told.starts_with("Of 1000 requests in the last 1h 100 were bad: the burn rate is 100.0,"), "{told}");
        assert!(firing.annotations["runbook_url"].ends_with("/availability-burn.md"));
        let over = of(AlertState::Resolved { since_ms: now_ms }).unwrap();
        assert_eq!(over.ends_at.as_deref(), Some("2023-11-14T22:14:00.000Z"));
    }
}
