//! The metrics of loading and unloading versions.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{GaugeVec, Histogram, IntCounterVec, IntGaugeVec};

use crate::endpoints::{Breakers, FallbackMetrics};
use crate::metrics::MetricRegistry;
use crate::request_metrics::RequestMetrics;
use crate::sequences::SequenceMetrics;
use crate::traffic::CascadeMetrics;

const VERSION_LABELS: &[&str] = &["model", "version"];

/// The metrics of loads. Label sets are bounded by the known models and the loaded versions.
pub(crate) struct LoadMetrics {
    requests: Arc<RequestMetrics>,
    /// Their gauges come and go with the versions.
    breakers: Arc<Breakers>,
    fallbacks: FallbackMetrics,
    sequences: SequenceMetrics,
    shadow_requests: IntCounterVec,
    cascades: CascadeMetrics,
    loads: IntCounterVec,
    cold_starts: IntCounterVec,
    duration: Histogram,
    last_duration: GaugeVec,
    memory_bytes: IntGaugeVec,
}

impl LoadMetrics {
    /// Registers the metrics of loads; `requests` exposes the versions.
    pub(crate) fn new(registry: &MetricRegistry, requests: Arc<RequestMetrics>) -> Self {
        // 10 ms · 2^k, for k from 0 to 15: up to 5.5 minutes.
        let bounds =
            prometheus::exponential_buckets(10e-3, 2.0, 16).expect("the constants are valid");
        Self {
            requests,
            breakers: Arc::new(Breakers::new(registry)),
            fallbacks: FallbackMetrics::new(registry),
            sequences: SequenceMetrics::new(registry),
            shadow_requests: registry.counter_vec(
                "tidegate_shadow_requests_total",
                "Copies of requests for shadows, by what came of them: agreed, disagreed, failed, \
                 dropped because too much waited, or skipped because the versions read records \
                 differently",
                &["endpoint", "version", "result"],
            ),
            cascades: CascadeMetrics {
                requests: registry.counter_vec(
                    "tidegate_cascade_requests_total",
                    "Requests of cascades, by what became of them in the first version: it answered \
                     (first), was not confident enough (unsure), or failed",
                    &["endpoint", "result"],
                ),
                audits: registry.counter_vec(
                    "tidegate_cascade_audits_total",
                    "Checked answers of the first version of a cascade: another version agreed, \
                     disagreed, or that is unknown",
                    &["endpoint", "result"],
                ),
            },
            loads: registry.counter_vec(
                "tidegate_model_loads_total",
                "Loads by outcome, ok or failed",
                &["model", "outcome"],
            ),
            cold_starts: registry.counter_vec(
                "tidegate_cold_starts_total",
                "Loads of a model that was not ready before: its requests waited or were refused \
                during the load",
                &["model"],
            ),
            duration: registry.histogram(
                "tidegate_model_load_duration_seconds",
                "Time of loads that succeeded, warm-up included",
                bounds,
            ),
            last_duration: registry.float_gauge_vec(
                "tidegate_version_load_seconds",
                "Time that the last load of a version took, warm-up included",
                VERSION_LABELS,
            ),
            memory_bytes: registry.gauge_vec(
                "tidegate_model_memory_bytes",
                "Growth of the process's memory while the version was loaded, including that of \
                other loads at the same time",
                VERSION_LABELS,
            ),
        }
    }

    /// The metrics of requests.
    pub(crate) fn requests(&self) -> &Arc<RequestMetrics> {
        &self.requests
    }

    /// The circuit breakers of versions.
    pub(crate) fn breakers(&self) -> &Arc<Breakers> {
        &self.breakers
    }

    /// The metrics of fallbacks.
    pub(crate) fn fallbacks(&self) -> &FallbackMetrics {
        &self.fallbacks
    }

    /// The metrics of sequences.
    pub(crate) fn sequences(&self) -> &SequenceMetrics {
        &self.sequences
    }

    /// What came of copies of requests, by endpoint, version and result.
    pub(crate) fn shadow_requests(&self) -> &IntCounterVec {
        &self.shadow_requests
    }

    /// What cascades do.
    pub(crate) fn cascades(&self) -> &CascadeMetrics {
        &self.cascades
    }

    /// Sets how long the load of a version took, and how much memory.
    pub(crate) fn set_loaded(&self, model: &str, version: &str, took: Duration, memory_bytes: u64) {
        let (labels, seconds) = (&[model, version], took.as_secs_f64());
        let memory_bytes = i64::try_from(memory_bytes).unwrap_or(i64::MAX);
        self.duration.observe(seconds);
        self.last_duration.with_label_values(labels).set(seconds);
        self.memory_bytes
            .with_label_values(labels)
            .set(memory_bytes);
    }

    /// Counts a load of a model that ended.
    pub(crate) fn count_load(&self, model: &str, is_ok: bool) {
        let outcome = if is_ok { "ok" } else { "failed" };
        self.loads.with_label_values(&[model, outcome]).inc();
    }

    /// Counts a load before which the model did not answer.
    pub(crate) fn count_cold_start(&self, model: &str) {
        self.cold_starts.with_label_values(&[model]).inc();
    }

    /// Removes a version that is no longer served from the exposition.
    pub(crate) fn remove_version(&self, model: &str, version: &str) {
        self.requests.remove_version(model, version);
        self.sequences.remove_version(model, version);
        // An error means that there was nothing to remove.
        let _ = self.memory_bytes.remove_label_values(&[model, version]);
        let _ = self.last_duration.remove_label_values(&[model, version]);
    }

    /// Removes a model that is gone from the exposition.
    pub(crate) fn remove_model(&self, model: &str) {
        // An error means that there was nothing to remove.
        let _ = self.cold_starts.remove_label_values(&[model]);
        for outcome in ["ok", "failed"] {
            let _ = self.loads.remove_label_values(&[model, outcome]);
        }
    }
}
