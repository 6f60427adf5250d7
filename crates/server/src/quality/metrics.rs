//! Metrics of captures, labels, accuracy and drift.

use std::sync::Arc;

use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use tidegate_serving::{
    Capture, Exposition, Family, Labels, MetricEntry, MetricRegistry, MetricSource, Sample,
};

use super::counts::AccuracyMetric;
use super::estimate::EstimatedMetric;

const HELD: Family<'static> = Family::gauge(
    "tidegate_capture_held_bytes",
    "What captured predictions take of the memory until they are written",
);
const DROPPED: Family<'static> = Family::counter(
    "tidegate_capture_dropped_total",
    "Predictions that were not captured because others held all of `capture.max_held_bytes`, or too many \
     waited",
);

/// The metrics of captures, labels, accuracy and drift.
#[derive(Clone)]
pub(super) struct QualityMetrics {
    rows: IntCounterVec,
    pub(super) failures: IntCounter,
    disk: IntGauge,
    feedback: IntCounterVec,
    accuracy: GaugeVec,
    labels: IntGaugeVec,
    estimated: GaugeVec,
    estimated_rows: IntGaugeVec,
    drifted: IntGaugeVec,
    windows: IntCounterVec,
}

impl QualityMetrics {
    pub(super) fn new(registry: &MetricRegistry, capture: Option<Arc<Capture>>) -> Self {
        registry.add_source(CaptureMetrics { capture });
        Self {
            rows: registry.counter_vec(
                "tidegate_captured_rows_total",
                "Rows of captured predictions that were written",
                &["endpoint"],
            ),
            failures: registry.counter(
                "tidegate_capture_failures_total",
                "Rows of captured predictions that could not be written",
            ),
            disk: registry.gauge(
                "tidegate_capture_disk_bytes",
                "What the files of captured predictions take",
            ),
            feedback: registry.counter_vec(
                "tidegate_feedback_total",
                "Labels by what became of them: `new`, `corrected`, `same`, or `not_captured` for predictions \
                 that are not among the captured ones",
                &["endpoint", "outcome"],
            ),
            accuracy: registry.float_gauge_vec(
                "tidegate_accuracy",
                "Accuracy of a version by its labels, over `capture.accuracy_window_h`; `metric` is accuracy, \
                 positive_rate, precision, recall, specificity, f1, roc_auc, brier, log_loss, mae, rmse, mape or bias",
                &["endpoint", "version", "metric"],
            ),
            labels: registry.gauge_vec(
                "tidegate_accuracy_labels",
                "Labels that the accuracy of a version rests on",
                &["endpoint", "version"],
            ),
            estimated: registry.float_gauge_vec(
                "tidegate_estimated_accuracy",
                "Accuracy of a version as its probabilities say it before labels come, over \
                 `capture.accuracy_window_h`; `metric` is accuracy, precision, recall, specificity, f1 or roc_auc",
                &["endpoint", "version", "metric"],
            ),
            estimated_rows: registry.gauge_vec(
                "tidegate_estimated_accuracy_rows",
                "Predictions that the estimated accuracy of a version rests on",
                &["endpoint", "version"],
            ),
            drifted: registry.gauge_vec(
                "tidegate_drifted_columns",
                "Columns of a version that drifted in its last window",
                &["model", "version"],
            ),
            windows: registry.counter_vec(
                "tidegate_drift_windows_total",
                "Windows of a version that were held against its baseline, by whether a column drifted",
                &["model", "version", "drifted"],
            ),
        }
    }

    pub(super) fn count_rows(&self, endpoint: &str, rows: u64) {
        self.rows.with_label_values(&[endpoint]).inc_by(rows);
    }

    pub(super) fn set_disk(&self, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.disk.set(bytes);
    }

    pub(super) fn count_feedback(&self, endpoint: &str, outcome: &str, labels: u64) {
        if labels > 0 {
            self.feedback
                .with_label_values(&[endpoint, outcome])
                .inc_by(labels);
        }
    }

    pub(super) fn set_accuracy(&self, endpoint: &str, version: &str, metrics: &[AccuracyMetric]) {
        for metric in metrics {
            let labels = [endpoint, version, metric.name];
            self.accuracy.with_label_values(&labels).set(metric.value);
        }
    }

    pub(super) fn set_labels(&self, endpoint: &str, version: &str, labels: u64) {
        let labels = i64::try_from(labels).unwrap_or(i64::MAX);
        self.labels
            .with_label_values(&[endpoint, version])
            .set(labels);
    }

    /// A version that is not calibrated has none.
    pub(super) fn set_estimated(&self, endpoint: &str, version: &str, metrics: &[EstimatedMetric]) {
        for metric in metrics {
            let labels = [endpoint, version, metric.name];
            self.estimated.with_label_values(&labels).set(metric.value);
        }
        if let Some(accuracy) = metrics.iter().find(|one| one.name == "accuracy") {
            self.estimated_rows
                .with_label_values(&[endpoint, version])
                .set(i64::try_from(accuracy.n).unwrap_or(i64::MAX));
        }
    }

    /// Forgets all accuracy: versions that have no labels in the window any more must not stay.
    pub(super) fn reset_accuracy(&self) {
        self.accuracy.reset();
        self.labels.reset();
        self.estimated.reset();
        self.estimated_rows.reset();
    }

    pub(super) fn set_drift(&self, model: &str, version: &str, drifted: usize) {
        let columns = i64::try_from(drifted).unwrap_or(i64::MAX);
        self.drifted
            .with_label_values(&[model, version])
            .set(columns);
        let has_drifted = if drifted > 0 { "true" } else { "false" };
        self.windows
            .with_label_values(&[model, version, has_drifted])
            .inc();
    }

    pub(super) fn remove_drift(&self, model: &str, version: &str) {
        // A window may not have ended yet: then there is nothing to remove.
        let _ = self.drifted.remove_label_values(&[model, version]);
        for has_drifted in ["true", "false"] {
            let labels = [model, version, has_drifted];
            let _ = self.windows.remove_label_values(&labels);
        }
    }
}

/// What the request path counts.
struct CaptureMetrics {
    capture: Option<Arc<Capture>>,
}

impl MetricSource for CaptureMetrics {
    fn entries(&self) -> Vec<MetricEntry> {
        [HELD, DROPPED]
            .map(|family| MetricEntry::new(family, &[]))
            .into()
    }

    fn expose(&self, out: &mut dyn Exposition) {
        let Some(capture) = &self.capture else { return };
        for (family, value) in [
            (HELD, capture.held_bytes() as f64),
            (DROPPED, capture.dropped() as f64),
        ] {
            out.family(family);
            out.sample(Sample::plain(&Labels::default(), value));
        }
    }
}
