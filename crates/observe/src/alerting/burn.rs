//! Alerts on burn rates, as people are told of them.

use super::{Alert, Links};
use crate::alerts::{AlertState, BurnAlert};
use crate::burn::Standing;
use crate::rules::RuleOptions;
use crate::slo::Slo;

impl Alert {
    /// A burn alert of an objective in a state; none where nothing is wrong or was. Labels and
    /// runbook are those of the rules for Prometheus, so that routes, inhibitions and silences
    /// treat both alike.
    pub fn of_burn(
        slo: &Slo,
        alert: &BurnAlert,
        state: AlertState,
        standing: &Standing,
        links: &Links,
    ) -> Option<Self> {
        if state == AlertState::Inactive {
            return None;
        }
        let options = RuleOptions {
            runbook_base: links.runbooks.clone(),
            ..RuleOptions::default()
        };
        let (name, labels, annotations) = crate::rules::burn_alert(slo, alert, &options);
        let owned = |(name, value): (&str, String)| (name.to_owned(), value);
        let mut labels: std::collections::BTreeMap<_, _> = labels.into_iter().map(owned).collect();
        labels.insert("alertname".to_owned(), name.to_owned());
        let mut annotations: std::collections::BTreeMap<_, _> =
            annotations.into_iter().map(owned).collect();
        annotations.insert("description".to_owned(), description(alert, standing));
        Some(Self::new(labels, annotations, state))
    }
}

fn description(alert: &BurnAlert, standing: &Standing) -> String {
    let (long, short) = (standing.burn(alert.long), standing.burn(alert.short));
    let rate =
        |rate: Option<f64>| rate.map_or_else(|| "none".to_owned(), |rate| format!("{rate:.1}"));
    format!(
        "Of {} requests in the last {} {} were bad: the burn rate is {}, and {} in the last {}. {:.1}% of the error budget \
         is left.",
        long.counts.total,
        alert.long.name(),
        long.counts.bad(),
        rate(long.rate),
        rate(short.rate),
        alert.short.name(),
        100.0 * standing.budget_remaining,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BURN_ALERTS, Ledger, Objective};

    #[test]
    fn what_fires_is_told_with_its_numbers_and_what_has_ended_with_its_end() {
        let objective = Objective {
            name: "all".to_owned(),
            tier: "gold".to_owned(),
            ..Objective::default()
        };
        let slo = objective.parse().unwrap();
        let mut ledger = Ledger::default();
        let now_ms = 1_700_000_040_000;
        ledger.add(now_ms - 1, 900, 1000);
        let standing = Standing::of(&slo, &ledger, now_ms);
        let links = Links {
            runbooks: "https://runbooks".to_owned(),
            ..Links::default()
        };
        let of = |state| Alert::of_burn(&slo, &BURN_ALERTS[0], state, &standing, &links);
        assert_eq!(of(AlertState::Inactive), None);
        assert!(!of(AlertState::Pending { since_ms: 1 }).unwrap().is_firing());
        let firing = of(AlertState::Firing { since_ms: now_ms }).unwrap();
        assert_eq!((firing.fired_ms, firing.ended_ms()), (Some(now_ms), None));
        let wanted = ["TidegateAvailabilityBurn", "page", "all", "gold", "*"];
        assert_eq!(
            ["alertname", "severity", "slo", "tier", "endpoint"].map(|name| firing.label(name)),
            wanted
        );
        let told = firing.annotation("description");
        assert!(
            told.starts_with(
                "Of 1000 requests in the last 1h 100 were bad: the burn rate is 100.0,"
            ),
            "{told}"
        );
        assert_eq!(
            firing.annotation("runbook_url"),
            "https://runbooks/availability-burn.md"
        );
        let over = of(AlertState::Resolved { since_ms: now_ms }).unwrap();
        assert_eq!(
            (over.fingerprint(), over.ended_ms()),
            (firing.fingerprint(), Some(now_ms))
        );
    }
}
