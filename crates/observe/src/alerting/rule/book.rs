//! Rules, and the states of their alerts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::growth::Growth;
use super::{Aggregate, AlertRule, Labels, Sample, Subject};
use crate::alerting::{Alert, ENDED_SHOWN_MS, Links, Matcher};
use crate::alerts::AlertState;
use crate::event::{Event, EventLog};

/// Most alerts of one rule; further combinations of labels are overlooked.
const MAX_ALERTS: usize = 200;
/// Most series that a rule follows.
const MAX_SERIES: usize = 2000;

/// Rules with the states of their alerts.
#[derive(Debug)]
pub struct RuleBook(Vec<Watch>);

/// The states of rules' alerts, to be kept over restarts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleStates(BTreeMap<String, Vec<Standing>>);

/// How the alert of a rule stands, for one combination of labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Standing {
    labels: Labels,
    state: AlertState,
    /// What was last compared while the condition held.
    value: f64,
}

#[derive(Debug)]
struct Watch {
    rule: AlertRule,
    standings: BTreeMap<Labels, Standing>,
    growths: BTreeMap<Labels, Growth>,
}

impl RuleBook {
    /// These rules; their alerts go on as they were kept.
    pub fn new(rules: Vec<AlertRule>, mut kept: RuleStates) -> Self {
        let watch = |rule: AlertRule| {
            let standings = kept.0.remove(rule.name()).unwrap_or_default().into_iter();
            let standings = standings
                .map(|standing| (standing.labels.clone(), standing))
                .collect();
            Watch {
                rule,
                standings,
                growths: BTreeMap::new(),
            }
        };
        Self(rules.into_iter().map(watch).collect())
    }

    /// Looks at every rule.
    pub fn evaluate(
        &mut self,
        samples: &BTreeMap<String, Vec<Sample>>,
        events: &EventLog,
        now_ms: u64,
    ) {
        for watch in &mut self.0 {
            let values = match &watch.rule.subject {
                Subject::Metric(metric) => {
                    let metric = metric.clone();
                    watch.of_metric(samples.get(&metric).map_or(&[], Vec::as_slice), now_ms)
                }
                Subject::Event(event) => watch.of_events(event, events, now_ms),
            };
            watch.settle(values, now_ms);
        }
    }

    /// The alerts that are pending, fire, or have ended not long ago.
    pub fn alerts(&self, links: &Links) -> Vec<Alert> {
        let watches = self.0.iter();
        watches
            .flat_map(|watch| {
                watch
                    .standings
                    .values()
                    .map(|standing| watch.rule.alert(standing, links))
            })
            .collect()
    }

    /// The states, to be kept.
    pub fn states(&self) -> RuleStates {
        let watches = self.0.iter().filter(|watch| !watch.standings.is_empty());
        let states = watches.map(|watch| {
            (
                watch.rule.name().to_owned(),
                watch.standings.values().cloned().collect(),
            )
        });
        RuleStates(states.collect())
    }
}

impl Watch {
    /// What is to be compared, for each combination of labels.
    fn of_metric(&mut self, samples: &[Sample], now_ms: u64) -> BTreeMap<Labels, f64> {
        let config = &self.rule.config;
        let chosen = samples
            .iter()
            .filter(|sample| Matcher::all_match(&config.labels, &sample.labels));
        let chosen: Vec<&Sample> = chosen.take(MAX_SERIES).collect();
        let window_ms = config.window_s * 1000;
        let mut growths = std::mem::take(&mut self.growths);
        let mut values = BTreeMap::new();
        for sample in chosen {
            let value = match window_ms {
                0 => sample.value,
                _ => {
                    let mut growth = growths.remove(&sample.labels).unwrap_or_else(Growth::new);
                    let rate = growth.rate(sample.value, window_ms, now_ms);
                    self.growths.insert(sample.labels.clone(), growth);
                    rate
                }
            };
            let group = values.entry(grouped(&config.by, &sample.labels));
            group
                .and_modify(|so_far| *so_far = config.aggregate.of(*so_far, value))
                .or_insert(value);
        }
        values
    }

    fn of_events(&self, name: &str, events: &EventLog, now_ms: u64) -> BTreeMap<Labels, f64> {
        let config = &self.rule.config;
        let since_ms = now_ms.saturating_sub(config.window_s * 1000);
        let recent = events
            .iter()
            .rev()
            .filter(|event| event.name == name && event.at_ms >= since_ms);
        let mut counts = BTreeMap::new();
        for labels in recent
            .map(labels_of)
            .filter(|labels| Matcher::all_match(&config.labels, labels))
        {
            *counts.entry(grouped(&config.by, &labels)).or_insert(0.0) += 1.0;
        }
        counts
    }

    /// Brings every alert into its next state.
    fn settle(&mut self, values: BTreeMap<Labels, f64>, now_ms: u64) {
        let (rule, hold_ms) = (&self.rule, self.rule.config.for_s * 1000);
        for (labels, standing) in &mut self.standings {
            let value = values
                .get(labels)
                .copied()
                .filter(|value| rule.holds(*value));
            standing.value = value.unwrap_or(standing.value);
            standing.state = standing.state.next(value.is_some(), hold_ms, now_ms);
        }
        for (labels, value) in values.into_iter().filter(|(_, value)| rule.holds(*value)) {
            if self.standings.len() < MAX_ALERTS && !self.standings.contains_key(&labels) {
                let state = AlertState::Inactive.next(true, hold_ms, now_ms);
                self.standings.insert(
                    labels.clone(),
                    Standing {
                        labels,
                        state,
                        value,
                    },
                );
            }
        }
        self.standings.retain(|_, standing| match standing.state {
            AlertState::Inactive => false,
            AlertState::Resolved { since_ms } => now_ms.saturating_sub(since_ms) <= ENDED_SHOWN_MS,
            AlertState::Pending { .. } | AlertState::Firing { .. } => true,
        });
    }
}

impl Aggregate {
    fn of(self, one: f64, other: f64) -> f64 {
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

    fn alert(&self, standing: &Standing, links: &Links) -> Alert {
        let config = &self.config;
        let mut labels = Labels::from([
            ("alertname".to_owned(), config.name.clone()),
            ("severity".to_owned(), config.severity.name().to_owned()),
        ]);
        if !config.tier.is_empty() {
            labels.insert("tier".to_owned(), config.tier.clone());
        }
        for (name, value) in &standing.labels {
            // A model has an endpoint of its own name, which is what alerts are grouped by.
            let name = if name == "model" { "endpoint" } else { name };
            labels.insert(name.to_owned(), value.clone());
        }
        let mut annotations =
            Labels::from([("description".to_owned(), self.description(standing.value))]);
        let summary = if config.summary.is_empty() {
            self.subject()
        } else {
            config.summary.clone()
        };
        annotations.insert("summary".to_owned(), summary);
        if let Some(url) = links.runbook(&config.runbook) {
            annotations.insert("runbook_url".to_owned(), url);
        }
        Alert::new(labels, annotations, standing.state)
    }

    fn subject(&self) -> String {
        let (sign, threshold) = (self.config.op.sign(), self.config.threshold);
        match &self.subject {
            Subject::Metric(metric) => format!("{metric} {sign} {threshold}"),
            Subject::Event(event) => format!("{event} happens"),
        }
    }

    fn description(&self, value: f64) -> String {
        let config = &self.config;
        let (threshold, value) = (config.threshold, (value * 1e6).round() / 1e6);
        let held = match config.for_s {
            0 => String::new(),
            seconds => format!(" for {seconds} s"),
        };
        match &self.subject {
            Subject::Metric(metric) => {
                let what = match config.window_s {
                    0 => format!("{metric} is {value}"),
                    window_s => format!("{metric} grew by {value} a second over {window_s} s"),
                };
                format!(
                    "{what}; the alert is on {} {threshold}{held}.",
                    config.op.sign()
                )
            }
            Subject::Event(event) => {
                let window_s = config.window_s;
                format!(
                    "{event} happened {value} times in {window_s} s; the alert is on {threshold} or more{held}."
                )
            }
        }
    }
}

fn grouped(by: &[String], labels: &Labels) -> Labels {
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
mod tests {
    use super::*;
    use crate::alerting::RuleConfig;

    fn samples(values: &[(&str, &str, f64)]) -> BTreeMap<String, Vec<Sample>> {
        let sample = |(model, version, value): &(&str, &str, f64)| {
            let labels = [("model", model), ("version", version)]
                .map(|(n, v)| (n.to_owned(), (*v).to_owned()));
            Sample {
                labels: labels.into(),
                value: *value,
            }
        };
        BTreeMap::from([("queue".to_owned(), values.iter().map(sample).collect())])
    }

    fn rule() -> RuleConfig {
        RuleConfig {
            name: "queue-long".to_owned(),
            metric: Some("queue".to_owned()),
            by: vec!["model".to_owned()],
            threshold: 10.0,
            for_s: 60,
            ..RuleConfig::default()
        }
    }

    fn book(rule: &RuleConfig) -> RuleBook {
        RuleBook::new(vec![rule.parse().unwrap()], RuleStates::default())
    }

    fn states(book: &RuleBook) -> Vec<(String, AlertState)> {
        let alerts = book.alerts(&Links::default());
        alerts
            .iter()
            .map(|alert| (alert.label("endpoint").to_owned(), alert.state))
            .collect()
    }

    #[test]
    fn series_are_joined_by_label_and_a_condition_must_hold() {
        let mut book = book(&rule());
        let events = EventLog::default();
        let high = samples(&[("a", "1", 6.0), ("a", "2", 5.0), ("b", "1", 10.0)]);
        book.evaluate(&high, &events, 1000);
        assert_eq!(
            states(&book),
            [("a".to_owned(), AlertState::Pending { since_ms: 1000 })]
        );
        book.evaluate(&high, &events, 61_000);
        assert_eq!(
            states(&book),
            [("a".to_owned(), AlertState::Firing { since_ms: 61_000 })]
        );
        let alert = &book.alerts(&Links::default())[0];
        assert_eq!(
            alert.annotation("description"),
            "queue is 11; the alert is on > 10 for 60 s."
        );
        let mut again = RuleBook::new(vec![rule().parse().unwrap()], book.states());
        again.evaluate(&BTreeMap::new(), &events, 70_000);
        assert_eq!(
            states(&again),
            [("a".to_owned(), AlertState::Resolved { since_ms: 70_000 })]
        );
        again.evaluate(&BTreeMap::new(), &events, 70_001 + ENDED_SHOWN_MS);
        assert_eq!(states(&again), []);
    }

    #[test]
    fn other_aggregates_and_comparisons() {
        let values = samples(&[("a", "1", 3.0), ("a", "2", 5.0)]);
        let fires = |aggregate, op, threshold| {
            let mut book = book(&RuleConfig {
                aggregate,
                op,
                threshold,
                for_s: 0,
                ..rule()
            });
            book.evaluate(&values, &EventLog::default(), 0);
            !states(&book).is_empty()
        };
        use super::super::Comparison::{Above, AtLeast, AtMost, Below, Equal, Unequal};
        assert!(fires(Aggregate::Max, AtLeast, 5.0) && !fires(Aggregate::Max, Above, 5.0));
        assert!(fires(Aggregate::Min, AtMost, 3.0) && !fires(Aggregate::Min, Below, 3.0));
        assert!(fires(Aggregate::Sum, Equal, 8.0) && !fires(Aggregate::Sum, Unequal, 8.0));
    }

    #[test]
    fn a_counter_is_compared_by_how_fast_it_grows() {
        let mut book = book(&RuleConfig {
            window_s: 60,
            threshold: 0.5,
            for_s: 0,
            ..rule()
        });
        let events = EventLog::default();
        book.evaluate(
            &samples(&[("a", "1", 20.0), ("a", "2", 20.0)]),
            &events,
            1_000_000,
        );
        assert_eq!(states(&book).len(), 1, "40 in 60 s");
        book.evaluate(
            &samples(&[("a", "1", 20.0), ("a", "2", 20.0)]),
            &events,
            1_070_000,
        );
        assert!(matches!(states(&book)[0].1, AlertState::Resolved { .. }));
    }

    #[test]
    fn events_are_counted_in_their_window() {
        let config = RuleConfig {
            name: "loads".to_owned(),
            event: Some("version.load_failed".to_owned()),
            window_s: 100,
            threshold: 2.0,
            by: vec!["model".to_owned()],
            ..RuleConfig::default()
        };
        let (mut book, mut events) = (book(&config), EventLog::default());
        for (model, at_ms) in [("a", 10_000), ("a", 60_000), ("b", 60_000)] {
            events.add(Event::new("version.load_failed", at_ms).about(model, "1"));
        }
        book.evaluate(&BTreeMap::new(), &events, 100_000);
        assert_eq!(
            states(&book),
            [("a".to_owned(), AlertState::Firing { since_ms: 100_000 })]
        );
        book.evaluate(&BTreeMap::new(), &events, 111_000);
        assert_eq!(
            states(&book),
            [("a".to_owned(), AlertState::Resolved { since_ms: 111_000 })]
        );
    }

    #[test]
    fn a_wrong_rule_is_refused_with_its_reason() {
        let wrong = |config: RuleConfig| config.parse().unwrap_err().to_string();
        assert!(
            wrong(RuleConfig {
                name: "a b".to_owned(),
                ..rule()
            })
            .contains("name must be")
        );
        assert!(
            wrong(RuleConfig {
                event: Some("x".to_owned()),
                ..rule()
            })
            .contains("either metric or event")
        );
        let event = RuleConfig {
            metric: None,
            event: Some("x".to_owned()),
            ..rule()
        };
        assert!(wrong(event.clone()).contains("there is no event \"x\", there are server.started"));
        assert!(
            wrong(RuleConfig {
                event: Some("version.gone".to_owned()),
                ..event
            })
            .contains("needs window_s")
        );
        assert!(
            wrong(RuleConfig {
                threshold: f64::NAN,
                ..rule()
            })
            .contains("threshold")
        );
        let twice = RuleConfig::parse_all(&[rule(), rule()])
            .unwrap_err()
            .to_string();
        assert_eq!(
            twice,
            "alerts.rules \"queue-long\": another rule has this name"
        );
    }
}
