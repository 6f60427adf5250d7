//! Rules that users write under `[[alerts.rules]]`: a threshold on a metric, or on how often
//! something happens.

mod book;
mod growth;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Matcher;
use crate::alerts::Severity;
use crate::event::Event;

pub use self::book::{RuleBook, RuleStates};

/// Names of labels with their values.
pub type Labels = BTreeMap<String, String>;

/// Longest window, and longest `for_s`: a day.
const MAX_SECONDS: u64 = 86_400;
const MAX_NAME: usize = 100;
const MAX_TEXT: usize = 1024;
const MAX_BY: usize = 4;

/// A rule as it is written. [`RuleConfig::parse`] makes an [`AlertRule`] of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleConfig {
    /// What its alerts are called: letters, digits, `-` and `_`. No other rule's.
    pub name: String,
    /// The metric it looks at, as `/metrics` has it; of a histogram with `_count` or `_sum`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Or the event that it counts, such as `version.load_failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Which series or events count, such as `model="fraud"`.
    pub labels: Vec<Matcher>,
    /// One alert for each combination of these labels; one for all if empty.
    pub by: Vec<String>,
    /// How the values of several series become one: `sum`, `max` or `min`.
    pub aggregate: Aggregate,
    /// For a metric: how fast it grew per second over so many seconds is compared; 0 compares its
    /// value. For an event: the seconds within which it counts.
    pub window_s: u64,
    /// How the value is compared: `>`, `>=`, `<`, `<=`, `==` or `!=`. Events fire from `threshold`
    /// on.
    pub op: Comparison,
    /// What it is compared with.
    pub threshold: f64,
    /// How long the condition must hold before it fires, in seconds.
    pub for_s: u64,
    /// `page` or `ticket`.
    pub severity: Severity,
    /// A label of your choice; left out if empty.
    pub tier: String,
    /// What people read first.
    pub summary: String,
    /// The name of a runbook under `alerts.runbooks`, or a URL.
    pub runbook: String,
}

impl Default for RuleConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            metric: None,
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

/// How the values of several series become one.
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

/// A value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels.
    pub labels: Labels,
    /// The value.
    pub value: f64,
}

/// A rule that is right.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRule {
    config: RuleConfig,
    subject: Subject,
}

/// What a rule looks at.
#[derive(Clone, Debug, PartialEq)]
enum Subject {
    Metric(String),
    Event(String),
}

/// A rule that cannot be as it is written.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("alerts.rules \"{name}\": {problem}")]
pub struct RuleError {
    /// The rule's name.
    pub name: String,
    /// What is wrong with it.
    pub problem: String,
}

impl RuleConfig {
    /// Reads the rule. What metrics there are, with which labels, is not known here.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(&self) -> Result<AlertRule, RuleError> {
        let wrong = |problem: String| RuleError {
            name: self.name.clone(),
            problem,
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !(1..=MAX_NAME).contains(&self.name.len()) || !self.name.chars().all(is_name) {
            return Err(wrong(format!(
                "name must be 1 to {MAX_NAME} letters, digits, \"-\" and \"_\""
            )));
        }
        let subject = match (&self.metric, &self.event) {
            (Some(metric), None) => Subject::Metric(metric.clone()),
            (None, Some(event)) => Subject::Event(event.clone()),
            _ => return Err(wrong("it needs either metric or event".to_owned())),
        };
        if let Subject::Event(event) = &subject {
            if !Event::NAMES.iter().any(|(name, _)| name == event) {
                let names: Vec<&str> = Event::NAMES.iter().map(|(name, _)| *name).collect();
                return Err(wrong(format!(
                    "there is no event {event:?}, there are {}",
                    names.join(", ")
                )));
            }
            if self.window_s == 0 {
                return Err(wrong(
                    "an event needs window_s, the seconds within which it counts".to_owned(),
                ));
            }
        }
        if self.window_s > MAX_SECONDS || self.for_s > MAX_SECONDS {
            return Err(wrong(format!(
                "window_s and for_s must be at most {MAX_SECONDS}"
            )));
        }
        if !self.threshold.is_finite() {
            return Err(wrong("threshold must be a number".to_owned()));
        }
        if self.by.len() > MAX_BY {
            return Err(wrong(format!(
                "by has {} labels, it must have at most {MAX_BY}",
                self.by.len()
            )));
        }
        if [&self.tier, &self.summary, &self.runbook]
            .into_iter()
            .any(|text| text.len() > MAX_TEXT)
        {
            return Err(wrong(format!(
                "tier, summary and runbook must be at most {MAX_TEXT} bytes"
            )));
        }
        Ok(AlertRule {
            config: self.clone(),
            subject,
        })
    }

    /// Reads all rules of a configuration.
    ///
    /// # Errors
    /// The first thing that is wrong with one of them, or with them together.
    pub fn parse_all(rules: &[Self]) -> Result<Vec<AlertRule>, RuleError> {
        let mut names = BTreeSet::new();
        let parse = |rule: &Self| match names.insert(rule.name.clone()) {
            true => rule.parse(),
            false => Err(RuleError {
                name: rule.name.clone(),
                problem: "another rule has this name".to_owned(),
            }),
        };
        rules.iter().map(parse).collect()
    }
}

impl AlertRule {
    /// What its alerts are called.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The metric that it looks at; `None` if it looks at events.
    pub fn metric(&self) -> Option<&str> {
        match &self.subject {
            Subject::Metric(metric) => Some(metric),
            Subject::Event(_) => None,
        }
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
