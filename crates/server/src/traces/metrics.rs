//! The metrics of traces.

use prometheus::IntCounterVec;
use tidegate_serving::MetricRegistry;
use tidegate_traces::{KeepReason, SpanOutcome};

/// Counts kept traces and their spans.
#[derive(Clone)]
pub(super) struct TraceMetrics {
    kept: IntCounterVec,
    spans: IntCounterVec,
}

impl TraceMetrics {
    /// Registers the metrics of traces; they have no series before [`TraceMetrics::start`].
    pub(super) fn new(registry: &MetricRegistry) -> Self {
        Self {
            kept: registry.counter_vec(
                "tidegate_traces_kept_total",
                "Requests whose trace was kept, by reason: sampled, failed, slow",
                &["reason"],
            ),
            spans: registry.counter_vec(
                "tidegate_trace_spans_total",
                "Spans by outcome: sent, failed (the collector refused them or did not respond), \
                 dropped (the queue was full)",
                &["outcome"],
            ),
        }
    }

    /// Exposes every series from 0 on: `rate` sees no increase from a series that begins with its
    /// first event.
    pub(super) fn start(&self) {
        for reason in KeepReason::ALL {
            self.kept.with_label_values(&[reason.name()]);
        }
        for outcome in SpanOutcome::ALL {
            self.count_spans(outcome, 0);
        }
    }

    /// Counts a request whose trace is kept.
    pub(super) fn count_kept(&self, reason: KeepReason) {
        self.kept.with_label_values(&[reason.name()]).inc();
    }

    /// Counts spans by what happened to them.
    pub(super) fn count_spans(&self, outcome: SpanOutcome, spans: usize) {
        let spans = spans as u64;
        self.spans
            .with_label_values(&[outcome.name()])
            .inc_by(spans);
    }
}
