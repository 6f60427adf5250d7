//! The process's metrics, in Prometheus's form; names that Triton has are Triton's.

mod outcomes;
mod values;

use std::time::Duration;

use prometheus::{
    CounterVec, Encoder, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use self::outcomes::Outcomes;
pub use self::values::SeriesValue;
use crate::{ErrorCode, InferError};

const VERSION_LABELS: &[&str] = &["model", "version"];

/// Every metric of the request path. Label sets are bounded by the loaded versions and the error codes.
pub struct Metrics {
    registry: Registry,
    catalogue: Vec<MetricEntry>,
    pub(crate) success: IntCounterVec,
    pub(crate) failure: IntCounterVec,
    pub(crate) abandoned: IntCounterVec,
    pub(crate) rows: IntCounterVec,
    pub(crate) executions: IntCounterVec,
    pub(crate) request_us: IntCounterVec,
    pub(crate) queue_us: IntCounterVec,
    pub(crate) compute_input_us: IntCounterVec,
    pub(crate) compute_infer_us: IntCounterVec,
    pub(crate) compute_output_us: IntCounterVec,
    pub(crate) pending: IntGaugeVec,
    pub(crate) request_seconds: HistogramVec,
    pub(crate) queue_seconds: HistogramVec,
    pub(crate) compute_seconds: HistogramVec,
    pub(crate) batch_rows: HistogramVec,
    pub(crate) load_seconds: HistogramVec,
    pub(crate) cold_starts: IntCounterVec,
    pub(crate) loads: IntCounterVec,
    pub(crate) memory_bytes: IntGaugeVec,
    pub(crate) cold_start_requests: IntCounterVec,
    pub(crate) evictions: IntCounterVec,
    pub(crate) versions: IntGaugeVec,
    pub(crate) memory_budget_bytes: IntGauge,
    pub(crate) memory_charged_bytes: IntGauge,
    pub(crate) registry_reachable: IntGauge,
    slo_budget_remaining: GaugeVec,
    slo_burn_rate: GaugeVec,
    slo_alert_firing: IntGaugeVec,
    alert_deliveries: IntCounterVec,
    ready: IntGauge,
    refused: IntCounterVec,
    resident_bytes: Gauge,
    cpu_seconds: CounterVec,
    open_connections: IntGaugeVec,
    refused_connections: IntCounter,
}

/// What the reference says of one metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricEntry {
    /// The metric's name.
    pub name: String,
    /// counter, gauge or histogram.
    pub kind: &'static str,
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
        let mut set = Registrar { registry: Registry::new(), catalogue: Vec::new() };
        let seconds = prometheus::exponential_buckets(25e-6, 2.0, 20).expect("constants are valid");
        let load_seconds = prometheus::exponential_buckets(10e-3, 2.0, 16).expect("constants are valid");
        let rows = prometheus::exponential_buckets(1.0, 2.0, 11).expect("constants are valid");
        Self {
            success: set.counters("nv_inference_request_success", "Requests answered", VERSION_LABELS),
            failure: set.counters(
                "nv_inference_request_failure",
                "Requests that reached a version and failed, by error code",
                &["model", "version", "reason"],
            ),
            abandoned: set.counters(
                "tidegate_requests_abandoned_total",
                "Requests given up because their client went away",
                VERSION_LABELS,
            ),
            rows: set.counters("nv_inference_count", "Rows answered", VERSION_LABELS),
            executions: set.counters("nv_inference_exec_count", "Batches run", VERSION_LABELS),
            request_us: set.counters("nv_inference_request_duration_us", "Time in the server", VERSION_LABELS),
            queue_us: set.counters("nv_inference_queue_duration_us", "Time waiting for an instance", VERSION_LABELS),
            compute_input_us: set.counters(
                "nv_inference_compute_input_duration_us",
                "Time joining inputs of batches",
                VERSION_LABELS,
            ),
            compute_infer_us: set.counters(
                "nv_inference_compute_infer_duration_us",
                "Time in the engine",
                VERSION_LABELS,
            ),
            compute_output_us: set.counters(
                "nv_inference_compute_output_duration_us",
                "Time splitting outputs of batches",
                VERSION_LABELS,
            ),
            pending: set.gauges("nv_inference_pending_request_count", "Requests waiting", VERSION_LABELS),
            request_seconds: set.histograms(
                "tidegate_request_duration_seconds",
                "Time of answered requests, from decoded to answered",
                &seconds,
            ),
            queue_seconds: set.histograms(
                "tidegate_queue_duration_seconds",
                "Time of answered requests waiting for an instance",
                &seconds,
            ),
            compute_seconds: set.histograms(
                "tidegate_compute_duration_seconds",
                "Time of answered requests in the engine",
                &seconds,
            ),
            batch_rows: set.histograms("tidegate_batch_rows", "Rows that ran together", &rows),
            load_seconds: set.histograms(
                "tidegate_model_load_duration_seconds",
                "Time of loads that succeeded, warm-up included",
                &load_seconds,
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
            slo_budget_remaining: set.float_gauges(
                "tidegate_slo_error_budget_remaining",
                "Share of an objective's error budget that is left; below 0 if it is overspent",
                &["slo"],
            ),
            slo_burn_rate: set.float_gauges(
                "tidegate_slo_burn_rate",
                "Burn rate of an objective's error budget over a window; 1 spends it in the objective's own window",
                &["slo", "window"],
            ),
            slo_alert_firing: set.gauges(
                "tidegate_slo_alert_firing",
                "Whether an alert of an objective fires, 1 or 0",
                &["slo", "alert", "severity"],
            ),
            alert_deliveries: set.counters(
                "tidegate_alert_deliveries_total",
                "Messages about alerts by outcome: ok, failed (tried again), dropped, limited",
                &["outcome"],
            ),
            ready: set.int_gauge("tidegate_ready", "Whether the server is ready for traffic, 1 or 0"),
            refused: set.counters(
                "tidegate_requests_refused_total",
                "Requests refused before they reached a version, by error code",
                &["code"],
            ),
            resident_bytes: set.gauge("process_resident_memory_bytes", "Resident memory of the process"),
            cpu_seconds: set.register(
                "counter",
                CounterVec::new(Opts::new("tidegate_process_cpu_seconds_total", "CPU time of the process"), &["mode"]),
            ),
            open_connections: set.gauges("tidegate_open_connections", "Open client connections", &["protocol"]),
            refused_connections: set.register(
                "counter",
                IntCounter::new(
                    "tidegate_connections_refused_total",
                    "Connections closed at once because `max_connections` were open",
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

    /// Takes a version that no longer answers out of the exposition: label sets are bounded by what is loaded.
    pub(crate) fn forget(&self, model: &str, version: &str) {
        let labels = &[model, version];
        let counters = [
            &self.success,
            &self.abandoned,
            &self.rows,
            &self.executions,
            &self.request_us,
            &self.queue_us,
            &self.compute_input_us,
            &self.compute_infer_us,
            &self.compute_output_us,
        ];
        // It is no fault if there was nothing to remove.
        for counter in counters {
            let _ = counter.remove_label_values(labels);
        }
        for gauge in [&self.pending, &self.memory_bytes] {
            let _ = gauge.remove_label_values(labels);
        }
        let histograms =
            [&self.request_seconds, &self.queue_seconds, &self.compute_seconds, &self.batch_rows, &self.load_seconds];
        for histogram in histograms {
            let _ = histogram.remove_label_values(labels);
        }
        for code in ErrorCode::ALL {
            let _ = self.failure.remove_label_values(&[model, version, code.name()]);
        }
    }

    /// Takes a model that is gone out of the exposition.
    pub(crate) fn forget_model(&self, model: &str) {
        for counter in [&self.cold_starts, &self.cold_start_requests, &self.evictions] {
            // It is no fault if there was nothing to remove.
            let _ = counter.remove_label_values(&[model]);
        }
        for outcome in ["ok", "failed"] {
            let _ = self.loads.remove_label_values(&[model, outcome]);
        }
    }

    /// Counts a request that was refused before it reached a version.
    pub fn refused(&self, code: ErrorCode) {
        self.refused.with_label_values(&[code.name()]).inc();
    }

    /// Says what is left of an objective's error budget.
    pub fn slo_budget_remaining(&self, slo: &str, share: f64) {
        self.slo_budget_remaining.with_label_values(&[slo]).set(share);
    }

    /// Says how fast an objective's error budget burns over a window.
    pub fn slo_burn_rate(&self, slo: &str, window: &str, rate: f64) {
        self.slo_burn_rate.with_label_values(&[slo, window]).set(rate);
    }

    /// Says whether an alert of an objective fires.
    pub fn slo_alert_firing(&self, slo: &str, alert: &str, severity: &str, is_firing: bool) {
        self.slo_alert_firing.with_label_values(&[slo, alert, severity]).set(i64::from(is_firing));
    }

    /// Says whether the server is ready.
    pub fn ready(&self, is_ready: bool) {
        self.ready.set(i64::from(is_ready));
    }

    /// Counts a connection that opens (`1`) or closes (`-1`).
    pub fn connection(&self, protocol: &'static str, change: i64) {
        self.open_connections.with_label_values(&[protocol]).add(change);
    }

    /// Counts a connection that was turned away.
    pub fn connection_refused(&self) {
        self.refused_connections.inc();
    }

    /// The text exposition.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] if the encoder fails.
    pub fn render(&self) -> Result<Vec<u8>, InferError> {
        if let Some(usage) = ProcessUsage::now() {
            self.resident_bytes.set(usage.resident_bytes as f64);
            for (mode, now) in [("user", usage.user), ("system", usage.system)] {
                let counter = self.cpu_seconds.with_label_values(&[mode]);
                counter.inc_by((now.as_secs_f64() - counter.get()).max(0.0));
            }
        }
        let mut text = Vec::with_capacity(16 << 10);
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .map_err(|error| InferError::new(ErrorCode::Internal, error.to_string()))?;
        Ok(text)
    }
}

struct Registrar {
    registry: Registry,
    catalogue: Vec<MetricEntry>,
}

impl Registrar {
    fn register<C>(&mut self, kind: &'static str, metric: prometheus::Result<C>) -> C
    where
        C: prometheus::core::Collector + Clone + 'static,
    {
        let metric = metric.expect("metric names and labels are valid constants");
        self.catalogue.extend(metric.desc().into_iter().map(|description| MetricEntry {
            name: description.fq_name.clone(),
            kind,
            labels: description.variable_labels.clone(),
            help: description.help.clone(),
        }));
        self.registry.register(Box::new(metric.clone())).expect("metric names are unique constants");
        metric
    }

    fn counters(&mut self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register("counter", IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register("gauge", IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        self.register("gauge", Gauge::new(name, help))
    }

    fn float_gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.register("gauge", GaugeVec::new(Opts::new(name, help), labels))
    }

    fn int_gauge(&mut self, name: &str, help: &str) -> IntGauge {
        self.register("gauge", IntGauge::new(name, help))
    }

    fn histograms(&mut self, name: &str, help: &str, buckets: &[f64]) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register("histogram", HistogramVec::new(options, VERSION_LABELS))
    }
}

/// What the process uses of the machine.
pub(crate) struct ProcessUsage {
    pub(crate) resident_bytes: u64,
    user: Duration,
    system: Duration,
}

impl ProcessUsage {
    /// Reads `/proc/self`; `None` where there is none.
    pub(crate) fn now() -> Option<Self> {
        let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
        let resident_pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The command name stands in brackets and may hold spaces: fields are counted from behind it (proc(5)).
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u64>().ok().map(|ticks| Duration::from_millis(ticks * 10));
        Some(Self { resident_bytes: resident_pages * page_bytes(), user: ticks()?, system: ticks()? })
    }
}

/// The page size of every Linux machine that Tidegate is built for; statm counts in pages.
fn page_bytes() -> u64 {
    4096
}
