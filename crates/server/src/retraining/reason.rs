//! Why a rule fires.

use serde_json::{Value, json};

use super::config::RetrainConfig;
use crate::quality::{DriftFact, MeasuredFact};

/// What is known when a rule is looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Now, in milliseconds since 1970.
    pub(super) now_ms: u64,
    /// When the rule fired last, or since when it is known, in milliseconds since 1970.
    pub(super) since_ms: u64,
    pub(super) drift: Option<DriftFact>,
    pub(super) measured: Option<MeasuredFact>,
    /// The same metric, as it is estimated without labels.
    pub(super) estimated: Option<MeasuredFact>,
    /// Labels that came since the rule fired last, counted up to those that it asks for.
    pub(super) new_labels: u64,
}

/// A reason with its numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reason {
    /// For people.
    pub(super) message: String,
    /// For programs.
    pub(super) numbers: Value,
}

impl Reason {
    /// The first reason of a rule that there is: the most specific first.
    pub(super) fn of(rule: &RetrainConfig, facts: &Facts) -> Option<Self> {
        accuracy(rule, facts)
            .or_else(|| estimated_accuracy(rule, facts))
            .or_else(|| drift(rule, facts))
            .or_else(|| labels(rule, facts))
            .or_else(|| schedule(rule, facts))
    }

    /// As it is kept and sent.
    pub(super) fn to_json(&self) -> Value {
        let mut value = self.numbers.clone();
        value["message"] = json!(self.message);
        value
    }
}

/// Only a metric that is below with its whole interval: few labels are no reason to retrain.
fn accuracy(rule: &RetrainConfig, facts: &Facts) -> Option<Reason> {
    let measured = facts.measured.as_ref()?;
    if measured.n < rule.accuracy_min_labels {
        return None;
    }
    let below = rule.accuracy_below.filter(|wanted| measured.high < *wanted);
    let above = rule.accuracy_above.filter(|wanted| measured.low > *wanted);
    let (side, wanted) = match (below, above) {
        (Some(wanted), _) => ("below", wanted),
        (_, Some(wanted)) => ("above", wanted),
        _ => return None,
    };
    let (metric, version) = (&rule.accuracy_metric, &measured.version);
    let MeasuredFact {
        value,
        low,
        high,
        n: labels,
        ..
    } = measured;
    let mut numbers = json!({
        "kind": "accuracy", "version": version, "metric": metric, "value": value, "low": low,
        "high": high, "labels": labels,
    });
    numbers[side] = json!(wanted);
    Some(Reason {
        message: format!(
            "{metric} of version {version} is {value:.4} ({low:.4} to {high:.4}, {labels} labels), \
             {side} {wanted}"
        ),
        numbers,
    })
}

/// Only an estimate that is below with its whole interval, of at least as many predictions as labels would
/// be asked for.
fn estimated_accuracy(rule: &RetrainConfig, facts: &Facts) -> Option<Reason> {
    let wanted = rule.estimated_accuracy_below?;
    let estimated = facts.estimated.as_ref()?;
    let MeasuredFact {
        version,
        value,
        low,
        high,
        n: rows,
    } = estimated;
    if *high >= wanted || *rows < rule.accuracy_min_labels {
        return None;
    }
    let metric = &rule.accuracy_metric;
    Some(Reason {
        message: format!(
            "{metric} of version {version} is estimated without labels at {value:.4} ({low:.4} to \
             {high:.4}, {rows} predictions), below {wanted}"
        ),
        numbers: json!({
            "kind": "estimated_accuracy", "version": version, "metric": metric, "value": value,
            "low": low, "high": high, "rows": rows, "below": wanted,
        }),
    })
}

fn drift(rule: &RetrainConfig, facts: &Facts) -> Option<Reason> {
    let wanted = rule.drift_windows?;
    let drift = facts
        .drift
        .as_ref()
        .filter(|drift| drift.windows >= wanted)?;
    let described: Vec<String> = drift
        .columns
        .iter()
        .map(|(column, causes)| format!("{column}: {causes}"))
        .collect();
    let columns: Vec<&str> = drift
        .columns
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    Some(Reason {
        message: format!(
            "{} columns of version {} drifted in {} windows: {}",
            drift.drifted,
            drift.version,
            drift.windows,
            described.join(" | ")
        ),
        numbers: json!({
            "kind": "drift", "version": drift.version, "windows": drift.windows,
            "drifted": drift.drifted, "columns": columns, "rows": drift.rows,
            "window_begin_ms": drift.begin_ms, "window_end_ms": drift.end_ms,
        }),
    })
}

fn labels(rule: &RetrainConfig, facts: &Facts) -> Option<Reason> {
    let wanted = rule
        .new_labels
        .filter(|wanted| facts.new_labels >= *wanted)?;
    let labels = facts.new_labels;
    Some(Reason {
        message: format!("{labels} or more new labels came, {wanted} are asked for"),
        numbers: json!({"kind": "labels", "labels": labels, "wanted": wanted}),
    })
}

fn schedule(rule: &RetrainConfig, facts: &Facts) -> Option<Reason> {
    let every_s = rule.every_s?;
    let due_ms = facts.since_ms.saturating_add(every_s.saturating_mul(1000));
    (facts.now_ms >= due_ms).then(|| Reason {
        message: format!("{every_s} s have passed"),
        numbers: json!({"kind": "schedule", "every_s": every_s, "since_ms": facts.since_ms}),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> RetrainConfig {
        RetrainConfig {
            accuracy_below: Some(0.9),
            drift_windows: Some(2),
            new_labels: Some(1000),
            every_s: Some(3600),
            ..RetrainConfig::default()
        }
    }

    fn kind(facts: &Facts) -> Option<Value> {
        Reason::of(&rule(), facts).map(|reason| reason.numbers["kind"].clone())
    }

    fn measured(value: f64, half: f64, labels: u64) -> Option<MeasuredFact> {
        Some(MeasuredFact {
            version: "7".to_owned(),
            value,
            low: value - half,
            high: value + half,
            n: labels,
        })
    }

    #[test]
    fn accuracy_is_a_reason_if_its_whole_interval_is_below() {
        let with = |measured| Facts {
            measured,
            ..Facts::default()
        };
        assert_eq!(
            kind(&with(measured(0.85, 0.04, 500))),
            Some(json!("accuracy"))
        );
        assert_eq!(kind(&with(measured(0.85, 0.06, 500))), None);
        assert_eq!(kind(&with(measured(0.5, 0.01, 99))), None);
        let reason = Reason::of(&rule(), &with(measured(0.85, 0.04, 500))).unwrap();
        assert_eq!(reason.to_json()["below"], json!(0.9));
        assert!(
            reason
                .message
                .contains("0.8500 (0.8100 to 0.8900, 500 labels), below 0.9")
        );
    }

    #[test]
    fn an_error_is_a_reason_if_its_whole_interval_is_above() {
        let rule = RetrainConfig {
            accuracy_metric: "rmse".to_owned(),
            accuracy_above: Some(2.0),
            ..RetrainConfig::default()
        };
        let facts = |value| Facts {
            measured: measured(value, 0.1, 500),
            ..Facts::default()
        };
        assert!(Reason::of(&rule, &facts(2.2)).is_some());
        assert!(Reason::of(&rule, &facts(2.05)).is_none());
    }

    #[test]
    fn an_estimate_is_a_reason_if_its_whole_interval_is_below() {
        let rule = RetrainConfig {
            estimated_accuracy_below: Some(0.9),
            ..RetrainConfig::default()
        };
        let reason = |estimated| {
            let facts = Facts {
                estimated,
                ..Facts::default()
            };
            Reason::of(&rule, &facts)
        };
        let fired = reason(measured(0.85, 0.04, 500)).unwrap();
        assert_eq!(fired.numbers["kind"], json!("estimated_accuracy"));
        assert!(
            fired
                .message
                .contains("0.8500 (0.8100 to 0.8900, 500 predictions), below 0.9")
        );
        assert_eq!(reason(measured(0.85, 0.06, 500)), None);
        assert_eq!(reason(measured(0.5, 0.01, 99)), None);
    }

    #[test]
    fn windows_of_drift_are_counted_in_a_row() {
        let facts = |windows| Facts {
            drift: Some(DriftFact {
                version: "7".to_owned(),
                begin_ms: 0,
                end_ms: 10,
                rows: 5,
                columns: vec![("amount".to_owned(), "multiplied by 100".to_owned())],
                drifted: 1,
                windows,
            }),
            ..Facts::default()
        };
        assert_eq!(kind(&facts(1)), None);
        assert_eq!(kind(&facts(2)), Some(json!("drift")));
    }

    #[test]
    fn labels_and_time_are_counted_from_the_last_trigger() {
        let facts = |new_labels, now_ms| Facts {
            new_labels,
            now_ms,
            since_ms: 1000,
            ..Facts::default()
        };
        assert_eq!(kind(&facts(999, 0)), None);
        assert_eq!(kind(&facts(1000, 0)), Some(json!("labels")));
        assert_eq!(kind(&facts(0, 3_600_999)), None);
        assert_eq!(kind(&facts(0, 3_601_000)), Some(json!("schedule")));
    }
}
