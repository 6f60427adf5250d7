//! Burn alerts of objectives as [`Alert`]s.

use std::collections::BTreeMap;

use super::{Alert, Links};
use crate::alerts::{AlertState, BurnAlert};
use crate::rules::RuleOptions;
use crate::slo::Slo;
use crate::status::{SloStatus, describe_budget};

impl Alert {
    /// The alert for a burn alert of an objective; `None` while it is inactive. Labels and runbook are
    /// those of the rules for Prometheus, so that routes, inhibitions and silences work for both.
    pub fn of_burn(
        slo: &Slo,
        alert: &BurnAlert,
        state: AlertState,
        status: &SloStatus,
        links: &Links,
    ) -> Option<Self> {
        if state == AlertState::Inactive {
            return None;
        }
        // The job is part of expressions only, and no expression is taken from the rules here.
        let options = RuleOptions {
            runbook_base: links.runbooks.clone(),
            ..RuleOptions::default()
        };
        let (name, labels, annotations) = crate::rules::burn_alert(slo, alert, &options);
        let mut labels = owned(labels);
        labels.insert("alertname".to_owned(), name.to_owned());
        let mut annotations = owned(annotations);
        // The rules' description is a template that only Prometheus can fill in.
        annotations.insert("description".to_owned(), description(alert, status));
        Some(Self::new(labels, annotations, state))
    }
}

fn owned(map: BTreeMap<&str, String>) -> BTreeMap<String, String> {
    let entries = map.into_iter();
    entries
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// For example: "5 of 100 requests in the last 1h were bad. Burn rate: 50.0 over 1h, 48.2 over 5m.
/// Error budget: 34.1% left."
fn description(alert: &BurnAlert, status: &SloStatus) -> String {
    let (long, short) = (status.burn(alert.long), status.burn(alert.short));
    format!(
        "{} of {} requests in the last {long_window} were bad. Burn rate: {} over {long_window}, {} over {}. Error budget: {}.",
        long.counts.bad(),
        long.counts.total,
        rate_text(long.rate),
        rate_text(short.rate),
        alert.short.name(),
        describe_budget(status.budget_remaining),
        long_window = alert.long.name(),
    )
}

fn rate_text(rate: Option<f64>) -> String {
    rate.map_or_else(|| "none".to_owned(), |rate| format!("{rate:.1}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BURN_ALERTS, Ledger, Objective};

    #[test]
    fn a_firing_alert_has_its_numbers_and_a_resolved_one_its_end() {
        let objective = Objective {
            name: "all".to_owned(),
            tier: "gold".to_owned(),
            ..Objective::default()
        };
        let slo = objective.parse().unwrap();
        let mut ledger = Ledger::default();
        let now_ms = 1_700_000_040_000;
        ledger.add(now_ms - 1, 900, 1000);
        let status = SloStatus::of(&slo, &ledger, now_ms);
        let links = Links {
            runbooks: "https://runbooks".to_owned(),
            ..Links::default()
        };
        let of = |state| Alert::of_burn(&slo, &BURN_ALERTS[0], state, &status, &links);
        assert_eq!(of(AlertState::Inactive), None);
        assert!(!of(AlertState::Pending { since_ms: 1 }).unwrap().is_firing());
        let firing = of(AlertState::Firing { since_ms: now_ms }).unwrap();
        assert_eq!(
            (firing.fired_ms, firing.resolved_ms()),
            (Some(now_ms), None)
        );
        let wanted = ["TidegateAvailabilityBurn", "page", "all", "gold", "*"];
        assert_eq!(
            ["alertname", "severity", "slo", "tier", "endpoint"].map(|name| firing.label(name)),
            wanted
        );
        let description = firing.annotation("description");
        assert!(
            description.starts_with(
                "100 of 1000 requests in the last 1h were bad. Burn rate: 100.0 over 1h,"
            ),
            "{description}"
        );
        assert_eq!(
            firing.annotation("runbook_url"),
            "https://runbooks/availability-burn.md"
        );
        let over = of(AlertState::Resolved { since_ms: now_ms }).unwrap();
        assert_eq!(
            (over.fingerprint(), over.resolved_ms()),
            (firing.fingerprint(), Some(now_ms))
        );
    }
}
