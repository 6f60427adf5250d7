//! The rules of an objective: what burns, what is left, and the alerts on it.

use std::collections::BTreeMap;

use super::{Rule, RuleGroup, RuleOptions};
use crate::alerts::{BURN_ALERTS, BurnAlert};
use crate::burn::BurnWindow;
use crate::promql::Counters;
use crate::sli::Sli;
use crate::slo::Slo;
use crate::window::{DAY_MS, MINUTE_MS, Window};

/// Series of a window, whose name is appended.
const EVENTS: &str = "tidegate_slo:events:increase";
const ERROR_RATE: &str = "tidegate_slo:error_rate:ratio";
const BURN_RATE: &str = "tidegate_slo:burn_rate:ratio";
/// Series of the objective.
const TARGET: &str = "tidegate_slo:target:ratio";
const REMAINING: &str = "tidegate_slo:budget_remaining:ratio";

pub(super) fn groups(slo: &Slo, options: &RuleOptions) -> Vec<RuleGroup> {
    let rules = ObjectiveRules {
        slo,
        options,
        counters: Counters::of(slo, &options.job),
    };
    let mut groups = vec![rules.burn()];
    if let Window::Rolling { days } = slo.window() {
        groups.push(rules.remaining(&format!("{days}d")));
    }
    groups
}

/// Name, labels and annotations.
type AlertNames = (
    &'static str,
    BTreeMap<&'static str, String>,
    BTreeMap<&'static str, String>,
);

/// The name, labels and annotations that the rules give an alert of an objective.
pub(crate) fn burn_alert(slo: &Slo, alert: &BurnAlert, options: &RuleOptions) -> AlertNames {
    ObjectiveRules {
        slo,
        options,
        counters: Counters::of(slo, &options.job),
    }
    .names(alert)
}

struct ObjectiveRules<'a> {
    slo: &'a Slo,
    options: &'a RuleOptions,
    counters: Counters,
}

impl ObjectiveRules<'_> {
    /// Burn rates and the alerts on them. Together in one group, so that an alert sees the rates of
    /// its own moment.
    fn burn(&self) -> RuleGroup {
        let target = self.record(TARGET.to_owned(), format!("vector({})", self.slo.target()));
        let rates = BurnWindow::ALL.iter().flat_map(|window| {
            let [events, error_rate] = self.error_rate(window.name());
            let budget = self.slo.error_budget();
            let burn = format!("{} / {budget}", self.series(ERROR_RATE, window.name()));
            [
                events,
                error_rate,
                self.record(format!("{BURN_RATE}{}", window.name()), burn),
            ]
        });
        let alerts = BURN_ALERTS.iter().map(|alert| self.alert(alert));
        RuleGroup {
            name: format!("tidegate-slo-{}", self.slo.name()),
            // Half a minute: the shortest window has five minutes, and an alert should not wait
            // long.
            interval: "30s",
            rules: std::iter::once(target).chain(rates).chain(alerts).collect(),
        }
    }

    /// What is left of the budget. Seldom evaluated, because it reads all of the objective's window.
    fn remaining(&self, range: &str) -> RuleGroup {
        let [events, error_rate] = self.error_rate(range);
        let spent = format!(
            "{} / {}",
            self.series(ERROR_RATE, range),
            self.slo.error_budget()
        );
        // Without requests nothing is spent.
        let remaining = format!("1 - (({spent}) or 0 * {})", self.series(EVENTS, range));
        RuleGroup {
            name: format!("tidegate-slo-{}-budget", self.slo.name()),
            interval: "5m",
            // The series of a window of a day or three has been recorded with the burn rates.
            rules: match BurnWindow::ALL.iter().any(|window| window.name() == range) {
                true => vec![self.record(REMAINING.to_owned(), remaining)],
                false => vec![
                    events,
                    error_rate,
                    self.record(REMAINING.to_owned(), remaining),
                ],
            },
        }
    }

    /// The requests of a range, and the share of bad ones among them: no sample if there were none.
    fn error_rate(&self, range: &str) -> [Rule; 2] {
        let events = self.record(format!("{EVENTS}{range}"), self.counters.total_in(range));
        let total = self.series(EVENTS, range);
        let bad = format!(
            "{total} - on () group_left () {}",
            self.counters.good_in(range)
        );
        // Extrapolated increases of two counters can differ by a hair where the requests do not.
        let rate = format!("clamp_min({bad}, 0) / ({total} > 0)");
        [events, self.record(format!("{ERROR_RATE}{range}"), rate)]
    }

    fn alert(&self, alert: &BurnAlert) -> Rule {
        let (long, short) = (alert.long.name(), alert.short.name());
        let (name, labels, mut annotations) = self.names(alert);
        let expr = format!(
            "{} > {factor} and {} > {factor} and {} >= {}",
            self.series(BURN_RATE, long),
            self.series(BURN_RATE, short),
            self.series(EVENTS, long),
            self.slo.min_events(),
            factor = alert.factor,
        );
        annotations.insert("description", self.description(alert));
        Rule::Alert {
            alert: name.to_owned(),
            expr,
            hold: (alert.hold_ms > 0).then(|| format!("{}m", alert.hold_ms / MINUTE_MS)),
            labels,
            annotations,
        }
    }

    /// What an alert is called, its labels, and what people read of it beside the numbers.
    fn names(&self, alert: &BurnAlert) -> AlertNames {
        let (name, runbook) = match self.slo.sli() {
            Sli::Availability => ("TidegateAvailabilityBurn", "availability-burn"),
            Sli::Latency(_) => ("TidegateLatencyBurn", "latency-burn"),
            Sli::Freshness => ("TidegateFreshnessBurn", "freshness-burn"),
        };
        // The windows tell the four alerts of one objective apart: the name is the same.
        let mut labels = self.labels();
        labels.insert("severity", alert.severity.name().to_owned());
        labels.insert("long_window", alert.long.name().to_owned());
        labels.insert("short_window", alert.short.name().to_owned());
        let summary = format!(
            "{}: the error budget burns {}",
            self.subject(),
            speed(alert)
        );
        (
            name,
            labels,
            [
                ("summary", summary),
                ("runbook_url", self.options.runbook(runbook)),
            ]
            .into(),
        )
    }

    fn description(&self, alert: &BurnAlert) -> String {
        let (long, short) = (alert.long.name(), alert.short.name());
        let bad = match self.slo.sli() {
            Sli::Availability => "failed".to_owned(),
            Sli::Latency(bound) => format!("took longer than {bound}"),
            Sli::Freshness => "needed features that were too old".to_owned(),
        };
        let spends = match self.slo.window() {
            Window::Rolling { days } => {
                // Of a budget that lasts `days` at a rate of 1: rate times time over the window.
                let share =
                    alert.factor * alert.long.ms() as f64 / (f64::from(days) * DAY_MS as f64);
                format!(
                    "At a burn rate of {}, {}% of the {days}d budget is used in {long}.",
                    alert.factor,
                    percent(share)
                )
            }
            Window::Month => format!(
                "At a burn rate of {}, a month's budget lasts {:.1} days.",
                alert.factor,
                30.0 / alert.factor
            ),
        };
        format!(
            "Over the last {long} and {short}, more than {}% of the requests {bad}; {}% are allowed. The burn rate \
             over {long} is {{{{ $value | printf \"%.1f\" }}}}. {spends}",
            percent(alert.factor * self.slo.error_budget()),
            percent(self.slo.error_budget()),
        )
    }

    fn subject(&self) -> String {
        let sli = self.slo.sli().name();
        match self.slo.endpoint() {
            Some(endpoint) => format!("{sli} of {endpoint}"),
            None => format!("{sli} of all endpoints"),
        }
    }

    fn series(&self, prefix: &str, range: &str) -> String {
        format!("{prefix}{range}{{slo=\"{}\"}}", self.slo.name())
    }

    fn record(&self, record: String, expr: String) -> Rule {
        Rule::Record {
            record,
            expr,
            labels: self.labels(),
        }
    }

    fn labels(&self) -> BTreeMap<&'static str, String> {
        let objective = self.slo.objective();
        let labels = [
            ("slo", self.slo.name()),
            ("endpoint", &objective.endpoint),
            ("sli", self.slo.sli().name()),
            ("tier", self.slo.tier()),
        ];
        labels.map(|(name, value)| (name, value.to_owned())).into()
    }
}

/// A share in percent, rounded to six places so that 0.1 is not written as 0.10000000000000009.
fn percent(share: f64) -> f64 {
    (share * 1e8).round() / 1e6
}

/// How fast a budget burns when an alert fires.
fn speed(alert: &BurnAlert) -> String {
    // A burn rate of 1 is exactly what is allowed: "more than 1 times as fast" says it badly.
    match alert.factor {
        1.0 => "faster than allowed".to_owned(),
        factor => format!("more than {factor} times as fast as allowed"),
    }
}
