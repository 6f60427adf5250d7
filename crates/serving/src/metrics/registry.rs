//! The registry of metrics. Every part of the server registers its own here.

use parking_lot::RwLock;
use prometheus::core::Collector;
use prometheus::{
    CounterVec, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry,
};

use super::exposition::{Exposition, Family, MetricKind};
use super::gathered;

/// The entry of one metric in the reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricEntry {
    /// The metric's name.
    pub name: String,
    /// What it is.
    pub kind: MetricKind,
    /// The names of its labels.
    pub labels: Vec<String>,
    /// What it counts.
    pub help: String,
}

impl MetricEntry {
    /// The entry of a family and the names of its labels.
    pub fn new(family: Family<'_>, labels: &[&str]) -> Self {
        Self {
            name: family.name.to_owned(),
            kind: family.kind,
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            help: family.help.to_owned(),
        }
    }
}

/// Metrics whose values are read whenever they are exposed, instead of being counted beforehand.
pub trait MetricSource: Send + Sync {
    /// Every metric that this may expose, also those that this machine does not have.
    fn entries(&self) -> Vec<MetricEntry>;

    /// Writes the metrics with their present values; leaves out those without a value.
    fn expose(&self, out: &mut dyn Exposition);
}

/// The metrics of a process.
///
/// Each part of the server registers its own when it is created, and keeps the handles that the
/// methods return: counting with them takes no lock of the registry. The registry knows what was
/// registered, for the reference and for the check of alert rules, and exposes all of it.
///
/// # Panics
/// Names, labels and help are constants of the code: registering an invalid name, or one name
/// twice, is a bug and panics.
///
/// ```
/// use tidegate_serving::{MetricRegistry, TextExposition, TextForm};
///
/// let registry = MetricRegistry::new();
/// let retries = registry.counter_vec("retries_total", "Retries by reason", &["reason"]);
/// retries.with_label_values(&["timeout"]).inc();
///
/// let mut text = TextExposition::new(TextForm::Prometheus);
/// registry.expose(&mut text);
/// assert!(text.finish().contains("retries_total{reason=\"timeout\"} 1"));
/// assert_eq!(registry.catalogue()[0].labels, ["reason"]);
/// ```
#[derive(Default)]
pub struct MetricRegistry {
    counted: Registry,
    catalogue: RwLock<Vec<MetricEntry>>,
    sources: RwLock<Vec<Box<dyn MetricSource>>>,
    hooks: RwLock<Vec<Box<dyn Fn() + Send + Sync>>>,
}

impl MetricRegistry {
    /// A registry without metrics; a process needs one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a counter of whole numbers.
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(MetricKind::Counter, IntCounter::new(name, help))
    }

    /// Registers a counter of whole numbers for each combination of labels.
    pub fn counter_vec(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let counters = IntCounterVec::new(Opts::new(name, help), labels);
        self.register(MetricKind::Counter, counters)
    }

    /// Registers a counter of fractions for each combination of labels.
    pub fn float_counter_vec(&self, name: &str, help: &str, labels: &[&str]) -> CounterVec {
        let counters = CounterVec::new(Opts::new(name, help), labels);
        self.register(MetricKind::Counter, counters)
    }

    /// Registers a gauge of whole numbers.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(MetricKind::Gauge, IntGauge::new(name, help))
    }

    /// Registers a gauge of whole numbers for each combination of labels.
    pub fn gauge_vec(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let gauges = IntGaugeVec::new(Opts::new(name, help), labels);
        self.register(MetricKind::Gauge, gauges)
    }

    /// Registers a gauge of fractions for each combination of labels.
    pub fn float_gauge_vec(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        let gauges = GaugeVec::new(Opts::new(name, help), labels);
        self.register(MetricKind::Gauge, gauges)
    }

    /// Registers a histogram with these upper bounds.
    pub fn histogram(&self, name: &str, help: &str, bounds: Vec<f64>) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(bounds);
        self.register(MetricKind::Histogram, Histogram::with_opts(options))
    }

    /// Registers a histogram with these upper bounds for each combination of labels.
    pub fn histogram_vec(
        &self,
        name: &str,
        help: &str,
        bounds: Vec<f64>,
        labels: &[&str],
    ) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(bounds);
        let histograms = HistogramVec::new(options, labels);
        self.register(MetricKind::Histogram, histograms)
    }

    /// Registers metrics whose values are read when they are exposed.
    pub fn add_source(&self, source: impl MetricSource + 'static) {
        self.catalogue.write().extend(source.entries());
        self.sources.write().push(Box::new(source));
    }

    /// Calls `hook` before each exposition, in the order of registration. Hooks set gauges that are
    /// not kept up to date in between.
    pub fn before_exposition(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.hooks.write().push(Box::new(hook));
    }

    /// Every registered metric, in the order of registration.
    pub fn catalogue(&self) -> Vec<MetricEntry> {
        self.catalogue.read().clone()
    }

    /// Writes every metric with its present value.
    pub fn expose(&self, out: &mut dyn Exposition) {
        // Before the sources, which may read the gauges and counters that hooks update.
        for hook in self.hooks.read().iter() {
            hook();
        }
        for source in self.sources.read().iter() {
            source.expose(out);
        }
        gathered::expose(&self.counted.gather(), out);
    }

    fn register<C>(&self, kind: MetricKind, metric: prometheus::Result<C>) -> C
    where
        C: Collector + Clone + 'static,
    {
        // Every test that starts a server passes here, so a wrong name does not reach a release.
        let metric = metric.expect("metric names and labels are valid constants");
        let entries = metric.desc().into_iter().map(|description| MetricEntry {
            name: description.fq_name.clone(),
            kind,
            labels: description.variable_labels.clone(),
            help: description.help.clone(),
        });
        self.catalogue.write().extend(entries);
        self.counted
            .register(Box::new(metric.clone()))
            .expect("each metric is registered once");
        metric
    }
}
