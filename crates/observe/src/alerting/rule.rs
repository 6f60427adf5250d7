//! Alert rules, under `[[alerts.rules]]`: a threshold on a metric, or on the number of events.

mod book;
mod counter_rate;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Matcher;
use crate::alerts::Severity;
use crate::event::Event;

pub use self::book::{RuleBook, RuleStates};

/// Names of labels with their values.
pub type Labels = BTreeMap<String, String>;

/// Longest window and longest `for_s`: a day, in seconds.
const MAX_SECONDS: u64 = 86_400;
// Bounds for what becomes labels and texts of alerts, which are sent and stored many times.
const MAX_NAME: usize = 100;
const MAX_TEXT: usize = 1024;
const MAX_BY: usize = 4;

/// An alert rule as it is written. [`RuleConfig::parse`] checks it and makes an [`AlertRule`] of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleConfig {
    /// The name of its alerts, unique among the rules: letters, digits, `-` and `_`.
    pub name: String,
    /// The metric to compare, as in `/metrics`; for a histogram with `_count` or `_sum`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Another counter, of which `metric` is compared as a share: `metric / (metric + share_of)`. All
    /// its series are taken, joined by the labels in `by`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_of: Option<String>,
    /// Or the event to count, such as `version.load_failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Selects series or events, such as `model="fraud"`.
    pub labels: Vec<Matcher>,
    /// One alert for each combination of these labels; one for all if empty.
    pub by: Vec<String>,
    /// How the values of several series are combined: `sum`, `max` or `min`.
    pub aggregate: Aggregate,
    /// For a metric: the window, in seconds, over which its increase per second is compared; 0
    /// compares the value itself. For an event: the window in which events count.
    pub window_s: u64,
    /// The comparison: `>`, `>=`, `<`, `<=`, `==` or `!=`. Not used for events, which fire at
    /// `threshold` or more.
    pub op: Comparison,
    /// The value to compare with.
    pub threshold: f64,
    /// How long the condition must hold before it fires, in seconds.
    pub for_s: u64,
    /// `page` or `ticket`.
    pub severity: Severity,
    /// A label of your choice; none if empty.
    pub tier: String,
    /// The first line that people read.
    pub summary: String,
    /// The name of a runbook under `alerts.runbooks`, or a URL.
    pub runbook: String,
}

impl Default for RuleConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            metric: None,
            share_of: None,
            event: None,
            labels: Vec::new(),
            by: Vec::new(),
            aggregate: Aggregate::Sum,
            window_s: 0,
            op: Comparison::Above,
            threshold: 1.0,
            for_s: 0,
            severity: Severity::Ticket,
            tier: String::new(),
            summary: String::new(),
            runbook: String::new(),
        }
    }
}

/// How the values of several series are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Aggregate {
    Sum,
    Max,
    Min,
}

/// How a value is compared with a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Comparison {
    #[serde(rename = ">")]
    Above,
    #[serde(rename = ">=")]
    AtLeast,
    #[serde(rename = "<")]
    Below,
    #[serde(rename = "<=")]
    AtMost,
    #[serde(rename = "==")]
    Equal,
    #[serde(rename = "!=")]
    Unequal,
}

impl Comparison {
    fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Above => value > threshold,
            Self::AtLeast => value >= threshold,
            Self::Below => value < threshold,
            Self::AtMost => value <= threshold,
            Self::Equal => value == threshold,
            Self::Unequal => value != threshold,
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Equal => "==",
            Self::Unequal => "!=",
        }
    }
}

/// One series of a metric with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels.
    pub labels: Labels,
    /// The value.
    pub value: f64,
}

/// A rule that was checked; made by [`RuleConfig::parse`].
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRule {
    config: RuleConfig,
    subject: Subject,
}

/// What a rule evaluates.
#[derive(Clone, Debug, PartialEq)]
enum Subject {
    Metric(String),
    Event(String),
}

/// A rule that is not valid.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("alerts.rules \"{name}\": {problem}")]
pub struct RuleError {
    /// The rule's name.
    pub name: String,
    /// What is wrong with it.
    pub problem: String,
}

impl RuleConfig {
    /// Checks the rule. Which metrics exist, and with which labels, is not known here.
    ///
    /// # Errors
    /// The first problem found.
    pub fn parse(&self) -> Result<AlertRule, RuleError> {
        match self.check() {
            Ok(subject) => Ok(AlertRule {
                config: self.clone(),
                subject,
            }),
            Err(problem) => Err(self.error(problem)),
        }
    }

    /// Checks all rules of a configuration.
    ///
    /// # Errors
    /// The first problem of one of them, or a name that two of them have.
    pub fn parse_all(rules: &[Self]) -> Result<Vec<AlertRule>, RuleError> {
        let mut names = BTreeSet::new();
        let mut parsed = Vec::with_capacity(rules.len());
        for rule in rules {
            if !names.insert(&rule.name) {
                return Err(rule.error("another rule has this name".to_owned()));
            }
            parsed.push(rule.parse()?);
        }
        Ok(parsed)
    }

    fn error(&self, problem: String) -> RuleError {
        RuleError {
            name: self.name.clone(),
            problem,
        }
    }

    fn check(&self) -> Result<Subject, String> {
        if !(1..=MAX_NAME).contains(&self.name.len()) || !self.name.bytes().all(is_name_byte) {
            return Err(format!(
                "name must be 1 to {MAX_NAME} letters, digits, \"-\" and \"_\""
            ));
        }
        let subject = self.check_subject()?;
        if self.window_s > MAX_SECONDS || self.for_s > MAX_SECONDS {
            return Err(format!("window_s and for_s must be at most {MAX_SECONDS}"));
        }
        // A comparison with NaN never holds, so the alert would never fire.
        if !self.threshold.is_finite() {
            return Err("threshold must be a number".to_owned());
        }
        if self.by.len() > MAX_BY {
            let found = self.by.len();
            return Err(format!(
                "by has {found} labels, it must have at most {MAX_BY}"
            ));
        }
        let mut texts = [&self.tier, &self.summary, &self.runbook].into_iter();
        if texts.any(|text| text.len() > MAX_TEXT) {
            return Err(format!(
                "tier, summary and runbook must be at most {MAX_TEXT} bytes"
            ));
        }
        Ok(subject)
    }

    fn check_subject(&self) -> Result<Subject, String> {
        if self.share_of.is_some() && (self.metric.is_none() || self.window_s == 0) {
            return Err(
                "share_of needs metric and window_s: it compares how fast two counters grow"
                    .to_owned(),
            );
        }
        match (&self.metric, &self.event) {
            (Some(metric), None) => Ok(Subject::Metric(metric.clone())),
            (None, Some(event)) => self.check_event(event),
            _ => Err("it needs either metric or event".to_owned()),
        }
    }

    fn check_event(&self, event: &str) -> Result<Subject, String> {
        let names = Event::NAMES.map(|(name, _)| name);
        if !names.contains(&event) {
            return Err(format!(
                "there is no event {event:?}, there are {}",
                names.join(", ")
            ));
        }
        // Without a window every event of the log would count, however old.
        if self.window_s == 0 {
            return Err("an event needs window_s, the seconds within which it counts".to_owned());
        }
        Ok(Subject::Event(event.to_owned()))
    }
}

/// These characters need no quotes in matchers, URLs and messages.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

impl AlertRule {
    /// The name of the rule and of its alerts.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The metric that it compares; `None` if it counts events.
    pub fn metric(&self) -> Option<&str> {
        match &self.subject {
            Subject::Metric(metric) => Some(metric),
            Subject::Event(_) => None,
        }
    }

    /// The counter of which the metric is a share.
    pub fn share_of(&self) -> Option<&str> {
        self.config.share_of.as_deref()
    }

    /// The labels that it groups by.
    pub fn group_labels(&self) -> impl Iterator<Item = &str> {
        self.config.by.iter().map(String::as_str)
    }

    /// The labels that it selects and groups by.
    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        self.config
            .labels
            .iter()
            .map(Matcher::name)
            .chain(self.config.by.iter().map(String::as_str))
    }
}
