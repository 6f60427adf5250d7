//! The process's metrics, in Prometheus's form; names that Triton has are Triton's.

mod cost;
mod exposition;
mod families;
mod meter;
mod process;
mod replicas;
mod slo;
mod tally;
mod text;
mod values;
mod versions;

use std::sync::Arc;
use std::time::Instant;

use prometheus::{
    CounterVec, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

pub use self::exposition::{Exemplar, Exposition, Family, Labels, MetricKind, Sample};
pub use self::meter::{MeterReading, VersionMeter};
pub(crate) use self::process::ProcessUsage;
pub use self::process::memory_limit_bytes;
pub(crate) use self::tally::{Counted, Tally, nanos, unix_ms};
pub use self::text::{TextExposition, TextForm};
pub use self::values::{SeriesValue, SeriesValues};
use self::versions::Tallies;
use crate::observation::{Observation, Observations, Outcome};
use crate::{ErrorCode, RequestTrace};

const VERSION_LABELS: &[&str] = &["model", "version"];
const NONE: &[&str] = &[];

const DROPPED: Family<'static> = Family::counter(
    "tidegate_observations_dropped_total",
    "Requests that are missing in these figures, for too many ended at once",
);
const OVERFLOWS: Family<'static> = Family::counter(
    "tidegate_metrics_overflows_total",
    "Loads of versions that are counted as `_other`, for there are too many to tell apart",
);

/// Every metric of the request path. Label sets are bounded by the loaded versions and the error
/// codes.
pub struct Metrics {
    registry: Registry,
    catalogue: Vec<MetricEntry>,
    observations: Arc<Observations>,
    tallies: Tallies,
    pub(crate) load_seconds: Histogram,
    pub(crate) load_seconds_last: GaugeVec,
    pub(crate) cold_starts: IntCounterVec,
    pub(crate) loads: IntCounterVec,
    pub(crate) memory_bytes: IntGaugeVec,
    pub(crate) cold_start_requests: IntCounterVec,
    pub(crate) evictions: IntCounterVec,
    pub(crate) versions: IntGaugeVec,
    pub(crate) memory_budget_bytes: IntGauge,
    pub(crate) memory_charged_bytes: IntGauge,
    pub(crate) registry_reachable: IntGauge,
    slo: slo::SloMetrics,
    replicas: replicas::ReplicaMetrics,
    alert_deliveries: IntCounterVec,
    cost: cost::CostMetrics,
    traces_kept: IntCounterVec,
    spans: IntCounterVec,
    ready: IntGauge,
    open_connections: IntGaugeVec,
    refused_connections: IntCounter,
    refused_console_streams: IntCounter,
}

/// What the reference says of one metric.
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

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A fresh set; a process needs one.
    ///
    /// # Panics
    /// Never: the names are constants, each registered once.
    pub fn new() -> Self {
        let mut set = Registrar {
            registry: Registry::new(),
            catalogue: Vec::new(),
        };
        set.catalogue.extend(
            versions::catalogue()
                .chain([(DROPPED, NONE), (OVERFLOWS, NONE)])
                .chain(process::catalogue())
                .map(MetricEntry::new),
        );
        let load_seconds =
            prometheus::exponential_buckets(10e-3, 2.0, 16).expect("constants are valid");
        let observations = Arc::new(Observations::default());
        count_refused(
            &observations,
            set.counters(
                "tidegate_requests_refused_total",
                "Requests refused before they reached a version, by error code",
                &["code"],
            ),
        );
        Self {
            observations,
            tallies: Tallies::default(),
            load_seconds: set.histogram(
                "tidegate_model_load_duration_seconds",
                "Time of loads that succeeded, warm-up included",
                &load_seconds,
            ),
            load_seconds_last: set.float_gauges(
                "tidegate_version_load_seconds",
                "Time that the last load of a version took, warm-up included",
                VERSION_LABELS,
            ),
            cold_starts: set.counters(
                "tidegate_cold_starts_total",
                "Loads before which the model did not answer: until they were done its requests waited or were refused",
                &["model"],
            ),
            loads: set.counters("tidegate_model_loads_total", "Loads by outcome, ok or failed", &["model", "outcome"]),
            memory_bytes: set.gauges(
                "tidegate_model_memory_bytes",
                "Growth of the process's memory while the version was loaded; other loads at the same time count in",
                VERSION_LABELS,
            ),
            cold_start_requests: set.counters(
                "tidegate_cold_start_requests_total",
                "Requests that waited until their version was loaded",
                &["model"],
            ),
            evictions: set.counters(
                "tidegate_evictions_total",
                "Versions unloaded to make room within the memory budget",
                &["model"],
            ),
            versions: set.gauges("tidegate_versions", "Versions of the registry, by where they stand", &["state"]),
            memory_budget_bytes: set.int_gauge(
                "tidegate_memory_budget_bytes",
                "Most memory that versions of the registry may take together",
            ),
            memory_charged_bytes: set.int_gauge(
                "tidegate_memory_charged_bytes",
                "Memory that versions of the registry take, as measured or, before that, as estimated",
            ),
            registry_reachable: set.int_gauge(
                "tidegate_registry_reachable",
                "Whether the registry could be read when it was last looked at, 1 or 0",
            ),
            slo: slo::SloMetrics::new(&mut set),
            replicas: replicas::ReplicaMetrics::new(&mut set),
            alert_deliveries: set.counters(
                "tidegate_alert_deliveries_total",
                "Messages about alerts by outcome: ok, failed (tried again), dropped, limited",
                &["outcome"],
            ),
            cost: cost::CostMetrics::new(&mut set),
            traces_kept: set.counters(
                "tidegate_traces_kept_total",
                "Requests whose trace was kept, by reason: sampled, failed, slow",
                &["reason"],
            ),
            spans: set.counters(
                "tidegate_trace_spans_total",
                "Spans by outcome: sent, failed (the collector refused them or is not there), dropped (too many waited)",
                &["outcome"],
            ),
            ready: set.int_gauge("tidegate_ready", "Whether the server is ready for traffic, 1 or 0"),
            open_connections: set.gauges("tidegate_open_connections", "Open client connections", &["protocol"]),
            refused_connections: set.register(
                MetricKind::Counter,
                IntCounter::new(
                    "tidegate_connections_refused_total",
                    "Connections closed at once because `max_connections` were open",
                ),
            ),
            refused_console_streams: set.register(
                MetricKind::Counter,
                IntCounter::new(
                    "tidegate_console_streams_refused_total",
                    "Pages of the console that were not kept up to date because `console.max_streams` were",
                ),
            ),
            catalogue: set.catalogue,
            registry: set.registry,
        }
    }

    /// Every metric, in the order of the reference.
    pub fn catalogue(&self) -> &[MetricEntry] {
        &self.catalogue
    }

    /// Takes a version that no longer answers out of the exposition: label sets are bounded by what
    /// is loaded.
    pub(crate) fn forget(&self, model: &str, version: &str) {
        self.tallies.forget(model, version);
        // It is no fault if there was nothing to remove.
        let _ = self.memory_bytes.remove_label_values(&[model, version]);
        let _ = self
            .load_seconds_last
            .remove_label_values(&[model, version]);
    }

    /// Takes a model that is gone out of the exposition.
    pub(crate) fn forget_model(&self, model: &str) {
        for counter in [
            &self.cold_starts,
            &self.cold_start_requests,
            &self.evictions,
        ] {
            // It is no fault if there was nothing to remove.
            let _ = counter.remove_label_values(&[model]);
        }
        for outcome in ["ok", "failed"] {
            let _ = self.loads.remove_label_values(&[model, outcome]);
        }
    }

    /// Counts a request that was refused before it reached a version. `received` is when it had
    /// arrived.
    pub fn refused(&self, code: ErrorCode, trace: Option<Box<RequestTrace>>, received: Instant) {
        self.observations
            .leave(Observation::refused(code, trace, received));
    }

    /// Counts requests whose trace is kept.
    pub fn trace_kept(&self, reason: &'static str, count: u64) {
        self.traces_kept.with_label_values(&[reason]).inc_by(count);
    }

    /// Counts spans by what became of them.
    pub fn spans(&self, outcome: &'static str, count: usize) {
        self.spans
            .with_label_values(&[outcome])
            .inc_by(count as u64);
    }

    /// Says whether the server is ready.
    pub fn ready(&self, is_ready: bool) {
        self.ready.set(i64::from(is_ready));
    }

    /// Counts a message about alerts: `ok`, `failed` (it is tried again), `dropped` (it is not), or
    /// `limited` (there was no room for it on its route).
    pub fn alert_message(&self, outcome: &'static str) {
        self.alert_deliveries.with_label_values(&[outcome]).inc();
    }

    /// Counts a connection that opens (`1`) or closes (`-1`).
    pub fn connection(&self, protocol: &'static str, change: i64) {
        self.open_connections
            .with_label_values(&[protocol])
            .add(change);
    }

    /// Counts a connection that was turned away.
    pub fn connection_refused(&self) {
        self.refused_connections.inc();
    }

    /// Counts a page of the console that is not kept up to date, for too many are.
    pub fn console_stream_refused(&self) {
        self.refused_console_streams.inc();
    }

    /// What requests came to, on its way here.
    pub fn observations(&self) -> &Arc<Observations> {
        &self.observations
    }

    /// Whether these metrics tell of a version: it was loaded and is not forgotten.
    pub fn tells_of(&self, model: &str, version: &str) -> bool {
        self.tallies.has(model, version)
    }

    /// What counts for a version.
    pub(crate) fn tally(&self, model: &str, version: &str) -> Arc<Tally> {
        self.tallies.of(model, version)
    }

    /// Says all metrics, of all requests that were answered before.
    pub fn expose(&self, out: &mut dyn Exposition) {
        self.observations.settle();
        self.tallies.expose(out);
        for (family, count) in [
            (DROPPED, self.observations.dropped()),
            (OVERFLOWS, self.tallies.overflows()),
        ] {
            out.family(family);
            out.sample(Sample::plain(&Labels::default(), count as f64));
        }
        families::expose(&self.registry.gather(), out);
        process::expose(out);
    }
}

/// Counts the requests that reached no version.
fn count_refused(observations: &Observations, refused: IntCounterVec) {
    observations.subscribe(move |batch| {
        for one in batch.iter().filter(|one| one.version().is_none()) {
            if let Outcome::Failed(code) = one.outcome {
                refused.with_label_values(&[code.name()]).inc();
            }
        }
    });
}

impl MetricEntry {
    /// Of a family and the names of its labels.
    pub fn new((family, labels): (Family<'_>, &[&str])) -> Self {
        Self {
            name: family.name.to_owned(),
            kind: family.kind,
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            help: family.help.to_owned(),
        }
    }
}

struct Registrar {
    registry: Registry,
    catalogue: Vec<MetricEntry>,
}

impl Registrar {
    fn register<C>(&mut self, kind: MetricKind, metric: prometheus::Result<C>) -> C
    where
        C: prometheus::core::Collector + Clone + 'static,
    {
        let metric = metric.expect("metric names and labels are valid constants");
        self.catalogue
            .extend(metric.desc().into_iter().map(|description| MetricEntry {
                name: description.fq_name.clone(),
                kind,
                labels: description.variable_labels.clone(),
                help: description.help.clone(),
            }));
        self.registry
            .register(Box::new(metric.clone()))
            .expect("metric names are unique constants");
        metric
    }

    fn counters(&mut self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(
            MetricKind::Counter,
            IntCounterVec::new(Opts::new(name, help), labels),
        )
    }

    fn float_counters(&mut self, name: &str, help: &str, labels: &[&str]) -> CounterVec {
        self.register(
            MetricKind::Counter,
            CounterVec::new(Opts::new(name, help), labels),
        )
    }

    fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(
            MetricKind::Gauge,
            IntGaugeVec::new(Opts::new(name, help), labels),
        )
    }

    fn float_gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.register(
            MetricKind::Gauge,
            GaugeVec::new(Opts::new(name, help), labels),
        )
    }

    fn int_gauge(&mut self, name: &str, help: &str) -> IntGauge {
        self.register(MetricKind::Gauge, IntGauge::new(name, help))
    }

    fn histogram(&mut self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(MetricKind::Histogram, Histogram::with_opts(options))
    }
}
