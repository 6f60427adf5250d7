//! The output of metrics: their owners write them to an [`Exposition`].

use std::sync::Arc;
use std::time::SystemTime;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bounds.
    Histogram,
    /// Quantiles.
    Summary,
}

impl MetricKind {
    /// Its name in the text form and in the reference.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// One metric, whose samples differ by their labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub kind: MetricKind,
    /// What it counts.
    pub help: &'a str,
}

impl<'a> Family<'a> {
    /// A metric.
    pub const fn new(name: &'a str, kind: MetricKind, help: &'a str) -> Self {
        Self { name, kind, help }
    }

    /// A metric that only grows.
    pub const fn counter(name: &'a str, help: &'a str) -> Self {
        Self::new(name, MetricKind::Counter, help)
    }

    /// A metric that goes up and down.
    pub const fn gauge(name: &'a str, help: &'a str) -> Self {
        Self::new(name, MetricKind::Gauge, help)
    }
}

/// Labels with their values, written once for the many samples that carry them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    pairs: Vec<(Arc<str>, Arc<str>)>,
    text: String,
}

impl Labels {
    /// These labels.
    pub fn new<N: Into<Arc<str>>, V: Into<Arc<str>>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let pairs: Vec<(Arc<str>, Arc<str>)> = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let mut text = String::new();
        // Once here, because an exposition writes these labels with every sample.
        for (name, value) in &pairs {
            write_label(&mut text, name, value);
        }
        Self { pairs, text }
    }

    /// The value of a label.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(own, _)| **own == *name)
            .map(|(_, value)| &**value)
    }

    /// Their names and values.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    /// As they stand between the braces of a sample.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// Writes one label behind those that are there; escapes as both text forms ask.
pub(super) fn write_label(text: &mut String, name: &str, value: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    text.push_str(name);
    text.push_str("=\"");
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
    text.push('"');
}

/// The trace of one request that fell into a bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// Its trace.
    pub trace_id: u128,
    /// The measured value.
    pub value: f64,
    /// When.
    pub at: SystemTime,
}

/// One number of a family.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// The suffix of the family's name in this sample: none, `_bucket`, `_sum` or `_count`.
    pub suffix: &'static str,
    /// Its labels,
    pub labels: &'a Labels,
    /// and one more of its own, such as `le`.
    pub extra: Option<(&'static str, &'a str)>,
    /// The number.
    pub value: f64,
    /// A request that was counted in it.
    pub exemplar: Option<&'a Exemplar>,
}

impl<'a> Sample<'a> {
    /// The number of a family that has no parts.
    pub fn plain(labels: &'a Labels, value: f64) -> Self {
        Self {
            suffix: "",
            labels,
            extra: None,
            value,
            exemplar: None,
        }
    }

    /// A part of a family that has parts: `_sum` or `_count`.
    pub fn part(suffix: &'static str, labels: &'a Labels, value: f64) -> Self {
        Self {
            suffix,
            ..Self::plain(labels, value)
        }
    }

    /// How many values of a histogram are not above `bound`.
    pub fn bucket(labels: &'a Labels, bound: &'a str, count: f64) -> Self {
        Self {
            extra: Some(("le", bound)),
            ..Self::part("_bucket", labels, count)
        }
    }
}

/// The destination of metrics: a text form of Prometheus, or code that reads values.
pub trait Exposition {
    /// Begins a family. The samples that follow belong to it.
    fn family(&mut self, family: Family<'_>);
    /// One sample of the family that was begun last.
    fn sample(&mut self, sample: Sample<'_>);
}
