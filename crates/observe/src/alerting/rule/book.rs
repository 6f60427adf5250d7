//! The rules of a server with the states of their alerts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::counter_rate::CounterRate;
use super::{Aggregate, AlertRule, Labels, RuleConfig, Sample, Subject};
use crate::alerting::{Alert, Links, Matcher, RESOLVED_RETENTION_MS};
use crate::alerts::AlertState;
use crate::event::{Event, EventLog};

/// Maximum number of alerts of one rule; further combinations of labels are ignored.
const MAX_ALERTS: usize = 200;
/// The event that stops counting once its version has been loaded, or is not wanted any more.
const LOAD_FAILED: &str = "version.load_failed";
const RECOVERIES: [&str; 3] = ["version.ready", "version.reloaded", "version.gone"];
/// Maximum number of series that a rule reads.
const MAX_SERIES: usize = 2000;

/// Alert rules with the states of their alerts.
///
/// ```
/// use std::collections::BTreeMap;
/// use tidegate_observe::EventLog;
/// use tidegate_observe::alerting::{Labels, Links, RuleBook, RuleConfig, RuleStates, Sample};
///
/// let rule = RuleConfig {
///     name: "QueueTooLong".into(),
///     metric: Some("nv_inference_pending_request_count".into()),
///     threshold: 100.0,
///     ..RuleConfig::default()
/// };
/// let mut book = RuleBook::new(vec![rule.parse()?], RuleStates::default());
/// let sample = Sample { labels: Labels::new(), value: 250.0 };
/// let samples = BTreeMap::from([("nv_inference_pending_request_count".to_owned(), vec![sample])]);
/// book.evaluate(&samples, &EventLog::default(), 1_700_000_000_000);
/// assert!(book.alerts(&Links::default())[0].is_firing());
/// # Ok::<(), tidegate_observe::alerting::RuleError>(())
/// ```
#[derive(Debug)]
pub struct RuleBook(Vec<ActiveRule>);

/// The states of the alerts of all rules, to be persisted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleStates(BTreeMap<String, Vec<RuleAlert>>);

/// The alert of a rule for one combination of labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct RuleAlert {
    labels: Labels,
    state: AlertState,
    /// The last value for which the condition held.
    value: f64,
}

#[derive(Debug)]
struct ActiveRule {
    rule: AlertRule,
    alerts: BTreeMap<Labels, RuleAlert>,
    /// For a rule with a window.
    rates: BTreeMap<Series, CounterRate>,
}

/// A metric's name, and the labels of one of its series.
type Series = (String, Labels);

impl RuleBook {
    /// The rules, with alerts in the states that were persisted.
    pub fn new(rules: Vec<AlertRule>, mut persisted: RuleStates) -> Self {
        let rules = rules.into_iter().map(|rule| {
            // States of rules that were removed from the configuration are left behind.
            let alerts = persisted.0.remove(rule.name()).unwrap_or_default();
            ActiveRule::new(rule, alerts)
        });
        Self(rules.collect())
    }

    /// Evaluates every rule.
    pub fn evaluate(
        &mut self,
        samples: &BTreeMap<String, Vec<Sample>>,
        events: &EventLog,
        now_ms: u64,
    ) {
        for active in &mut self.0 {
            let values = match active.rule.subject.clone() {
                Subject::Metric(metric) => active.metric_values(&metric, samples, now_ms),
                Subject::Event(event) => active.event_counts(&event, events, now_ms),
            };
            active.update(&values, now_ms);
        }
    }

    /// The alerts that are pending, fire, or resolved recently.
    pub fn alerts(&self, links: &Links) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for ActiveRule {
            rule, alerts: own, ..
        } in &self.0
        {
            alerts.extend(own.values().map(|alert| rule.alert(alert, links)));
        }
        alerts
    }

    /// The states, to be persisted.
    pub fn states(&self) -> RuleStates {
        let mut states = BTreeMap::new();
        for active in self.0.iter().filter(|active| !active.alerts.is_empty()) {
            let alerts: Vec<RuleAlert> = active.alerts.values().cloned().collect();
            states.insert(active.rule.name().to_owned(), alerts);
        }
        RuleStates(states)
    }
}

impl ActiveRule {
    fn new(rule: AlertRule, alerts: Vec<RuleAlert>) -> Self {
        let alerts = alerts
            .into_iter()
            .map(|alert| (alert.labels.clone(), alert));
        Self {
            rule,
            alerts: alerts.collect(),
            // Not persisted: counters start at 0 with the process, so old ones say nothing.
            rates: BTreeMap::new(),
        }
    }

    /// The value to compare for each combination of the labels in `by`.
    fn metric_values(
        &mut self,
        metric: &str,
        samples: &BTreeMap<String, Vec<Sample>>,
        now_ms: u64,
    ) -> BTreeMap<Labels, f64> {
        let config = self.rule.config.clone();
        // Series that are gone are not inserted again: their rates are forgotten.
        let mut known = std::mem::take(&mut self.rates);
        let selected = series(samples, metric)
            .iter()
            .filter(|sample| Matcher::all_match(&config.labels, &sample.labels));
        let mut values = self.totals(&config, metric, selected, &mut known, now_ms);
        if let Some(share_of) = &config.share_of {
            let others = series(samples, share_of).iter();
            let others = self.totals(&config, share_of, others, &mut known, now_ms);
            for (labels, value) in &mut values {
                let all = *value + others.get(labels).copied().unwrap_or(0.0);
                // Nothing happened: no share of it did.
                *value = if all > 0.0 { *value / all } else { 0.0 };
            }
        }
        values
    }

    /// The values of series, joined by the labels in `by`.
    fn totals<'a>(
        &mut self,
        config: &RuleConfig,
        metric: &str,
        series: impl Iterator<Item = &'a Sample>,
        known: &mut BTreeMap<Series, CounterRate>,
        now_ms: u64,
    ) -> BTreeMap<Labels, f64> {
        let mut values = BTreeMap::new();
        for sample in series.take(MAX_SERIES) {
            let name: Series = (metric.to_owned(), sample.labels.clone());
            let rate = known.remove(&name);
            let value = match config.window_s {
                0 => sample.value,
                seconds => self.rate(rate, name, sample.value, seconds * 1000, now_ms),
            };
            values
                .entry(select(&config.by, &sample.labels))
                .and_modify(|total| *total = config.aggregate.combine(*total, value))
                .or_insert(value);
        }
        values
    }

    /// The rate of a series; its counter is stored for the next evaluation.
    fn rate(
        &mut self,
        known: Option<CounterRate>,
        name: Series,
        value: f64,
        window_ms: u64,
        now_ms: u64,
    ) -> f64 {
        let mut counter = known.unwrap_or_else(CounterRate::new);
        let rate = counter.rate(value, window_ms, now_ms);
        self.rates.insert(name, counter);
        rate
    }

    /// How many of the events in the window there are for each combination of the labels in `by`.
    fn event_counts(&self, name: &str, events: &EventLog, now_ms: u64) -> BTreeMap<Labels, f64> {
        let config = &self.rule.config;
        let since_ms = now_ms.saturating_sub(config.window_s * 1000);
        let mut counts = BTreeMap::new();
        let mut recovered: BTreeSet<(&str, &str)> = BTreeSet::new();
        // Counted from the log at each evaluation: a restart loses nothing that the log still has.
        for event in events.iter().rev() {
            let subject = (event.model.as_str(), event.version.as_str());
            if RECOVERIES.contains(&event.name.as_str()) {
                recovered.insert(subject);
            }
            let labels = labels_of(event);
            let is_counted = event.name == name
                && event.at_ms >= since_ms
                && !(name == LOAD_FAILED && recovered.contains(&subject))
                && Matcher::all_match(&config.labels, &labels);
            if is_counted {
                *counts.entry(select(&config.by, &labels)).or_insert(0.0) += 1.0;
            }
        }
        counts
    }

    /// Moves every alert to its next state, and adds alerts for new combinations of labels.
    fn update(&mut self, values: &BTreeMap<Labels, f64>, now_ms: u64) {
        let (rule, hold_ms) = (&self.rule, self.rule.config.for_s * 1000);
        for (labels, alert) in &mut self.alerts {
            let value = values.get(labels).filter(|value| rule.holds(**value));
            // The value of the last time it held is shown with a resolved alert.
            alert.value = value.copied().unwrap_or(alert.value);
            alert.state = alert.state.next(value.is_some(), hold_ms, now_ms);
        }
        for (labels, &value) in values.iter().filter(|(_, value)| rule.holds(**value)) {
            // A label with many values would make alerts without end.
            if self.alerts.len() < MAX_ALERTS && !self.alerts.contains_key(labels) {
                let alert = RuleAlert {
                    labels: labels.clone(),
                    state: AlertState::Inactive.next(true, hold_ms, now_ms),
                    value,
                };
                self.alerts.insert(labels.clone(), alert);
            }
        }
        self.alerts.retain(|_, alert| is_shown(alert.state, now_ms));
    }
}

fn series<'a>(samples: &'a BTreeMap<String, Vec<Sample>>, metric: &str) -> &'a [Sample] {
    samples.get(metric).map_or(&[], Vec::as_slice)
}

fn is_shown(state: AlertState, now_ms: u64) -> bool {
    match state {
        AlertState::Inactive => false,
        AlertState::Resolved { since_ms } => {
            now_ms.saturating_sub(since_ms) <= RESOLVED_RETENTION_MS
        }
        AlertState::Pending { .. } | AlertState::Firing { .. } => true,
    }
}

impl Aggregate {
    fn combine(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Sum => one + other,
            Self::Max => one.max(other),
            Self::Min => one.min(other),
        }
    }
}

impl AlertRule {
    fn holds(&self, value: f64) -> bool {
        match self.subject {
            Subject::Metric(_) => self.config.op.holds(value, self.config.threshold),
            Subject::Event(_) => value >= self.config.threshold,
        }
    }

    fn alert(&self, alert: &RuleAlert, links: &Links) -> Alert {
        let config = &self.config;
        let summary = match config.summary.as_str() {
            "" => self.condition(),
            summary => summary.to_owned(),
        };
        let mut annotations = Labels::from([
            ("summary".to_owned(), summary),
            ("description".to_owned(), self.description(alert)),
        ]);
        if let Some(url) = links.runbook(&config.runbook) {
            annotations.insert("runbook_url".to_owned(), url);
        }
        Alert::new(self.labels(alert), annotations, alert.state)
    }

    fn labels(&self, alert: &RuleAlert) -> Labels {
        let config = &self.config;
        let mut labels = Labels::from([
            ("alertname".to_owned(), config.name.clone()),
            ("severity".to_owned(), config.severity.name().to_owned()),
        ]);
        if !config.tier.is_empty() {
            labels.insert("tier".to_owned(), config.tier.clone());
        }
        for (name, value) in &alert.labels {
            // A model has an endpoint of its own name, and alerts are grouped by endpoint.
            let name = if name == "model" { "endpoint" } else { name };
            labels.insert(name.to_owned(), value.clone());
        }
        labels
    }

    /// The summary of a rule that has none of its own.
    fn condition(&self) -> String {
        let (sign, threshold) = (self.config.op.sign(), self.config.threshold);
        match &self.subject {
            Subject::Metric(metric) => format!("{metric} {sign} {threshold}"),
            Subject::Event(event) => format!("event {event}"),
        }
    }

    /// For example: "tidegate_ready is 0; the alert fires at < 1 for 300 s." Of an alert that has
    /// ended: "Not any more: tidegate_ready was 0; the alert fires at < 1 for 300 s."
    fn description(&self, alert: &RuleAlert) -> String {
        let config = &self.config;
        let held = match config.for_s {
            0 => String::new(),
            seconds => format!(" for {seconds} s"),
        };
        let (sign, threshold) = (config.op.sign(), config.threshold);
        let condition = match (&self.subject, &config.share_of) {
            (Subject::Event(_), _) => format!("{threshold} or more"),
            (_, Some(_)) => format!("{sign} {}%", rounded(100.0 * threshold)),
            _ => format!("{sign} {threshold}"),
        };
        let has_ended = matches!(alert.state, AlertState::Resolved { .. });
        let found = self.found(alert.value, has_ended);
        let ended = if has_ended { "Not any more: " } else { "" };
        format!("{ended}{found}; the alert fires at {condition}{held}.")
    }

    /// What the value says, now or until the alert ended.
    fn found(&self, value: f64, has_ended: bool) -> String {
        let config = &self.config;
        let window_s = config.window_s;
        let is = if has_ended { "was" } else { "is" };
        let shown = rounded(value);
        match (&self.subject, &config.share_of, window_s) {
            (Subject::Event(event), ..) => {
                let times = if value == 1.0 { "time" } else { "times" };
                format!("{event} happened {shown} {times} in {window_s} s")
            }
            (Subject::Metric(metric), Some(share_of), _) => {
                let percent = rounded(100.0 * value);
                format!("{metric} {is} {percent}% of itself and {share_of} over {window_s} s")
            }
            (Subject::Metric(metric), None, 0) => format!("{metric} {is} {shown}"),
            (Subject::Metric(metric), None, _) => {
                format!("{metric} grew by {shown} per second over {window_s} s")
            }
        }
    }
}

/// More digits than a reader needs would only hide the value.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// The labels in `by`; a missing one counts as empty.
fn select(by: &[String], labels: &Labels) -> Labels {
    by.iter()
        .map(|name| (name.clone(), labels.get(name).cloned().unwrap_or_default()))
        .collect()
}

fn labels_of(event: &Event) -> Labels {
    [("model", &event.model), ("version", &event.version)]
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .into()
}

#[cfg(test)]
mod tests;
