//! The metrics of sequences. Only versions that keep states have any.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::live::EndReason;
use crate::ErrorCode;
use crate::metrics::MetricRegistry;

const LABELS: &[&str] = &["model", "version"];
const REASON_LABELS: &[&str] = &["model", "version", "reason"];

/// Why requests of sequences are refused.
const REFUSALS: [ErrorCode; 3] = [
    ErrorCode::SequencesFull,
    ErrorCode::UnknownSequence,
    ErrorCode::SequenceInterrupted,
];

/// The metrics of the sequences of all versions.
pub(crate) struct SequenceMetrics {
    live: IntGaugeVec,
    state_bytes: IntGaugeVec,
    started: IntCounterVec,
    ended: IntCounterVec,
    refused: IntCounterVec,
}

/// Those of one version.
pub(super) struct VersionSequenceMetrics {
    pub(super) live: IntGauge,
    pub(super) state_bytes: IntGauge,
    pub(super) started: IntCounter,
    ended: [IntCounter; EndReason::ALL.len()],
    refused: [IntCounter; REFUSALS.len()],
}

impl SequenceMetrics {
    pub(crate) fn new(registry: &MetricRegistry) -> Self {
        Self {
            live: registry.gauge_vec(
                "tidegate_sequences_live",
                "Sequences that a version remembers now",
                LABELS,
            ),
            state_bytes: registry.gauge_vec(
                "tidegate_sequence_state_bytes",
                "Memory of the states of live sequences",
                LABELS,
            ),
            started: registry.counter_vec(
                "tidegate_sequences_started_total",
                "Sequences whose first request was answered",
                LABELS,
            ),
            ended: registry.counter_vec(
                "tidegate_sequences_ended_total",
                "Sequences that ended: end by the client, restart by a new start, idle for want \
                 of requests, replaced for another version had been serving for long",
                REASON_LABELS,
            ),
            refused: registry.counter_vec(
                "tidegate_sequence_requests_refused_total",
                "Requests of sequences that were refused, by error code: sequences_full, \
                 unknown_sequence or sequence_interrupted",
                REASON_LABELS,
            ),
        }
    }

    /// Those of a version that keeps states.
    pub(super) fn of_version(&self, model: &str, version: &str) -> VersionSequenceMetrics {
        let labels = &[model, version];
        VersionSequenceMetrics {
            live: self.live.with_label_values(labels),
            state_bytes: self.state_bytes.with_label_values(labels),
            started: self.started.with_label_values(labels),
            ended: EndReason::ALL.map(|reason| {
                let labels = &[model, version, reason.name()];
                self.ended.with_label_values(labels)
            }),
            refused: REFUSALS.map(|code| {
                let labels = &[model, version, code.name()];
                self.refused.with_label_values(labels)
            }),
        }
    }

    /// Removes a version that is no longer served from the exposition.
    pub(crate) fn remove_version(&self, model: &str, version: &str) {
        let labels = &[model, version];
        // An error means that there was nothing to remove: most versions keep no states.
        let _ = self.live.remove_label_values(labels);
        let _ = self.state_bytes.remove_label_values(labels);
        let _ = self.started.remove_label_values(labels);
        for reason in EndReason::ALL {
            let labels = &[model, version, reason.name()];
            let _ = self.ended.remove_label_values(labels);
        }
        for code in REFUSALS {
            let labels = &[model, version, code.name()];
            let _ = self.refused.remove_label_values(labels);
        }
    }
}

impl VersionSequenceMetrics {
    pub(super) fn count_end(&self, reason: EndReason) {
        self.ended[reason as usize].inc();
    }

    pub(super) fn count_refused(&self, refused: ErrorCode) {
        if let Some(at) = REFUSALS.iter().position(|code| *code == refused) {
            self.refused[at].inc();
        }
    }
}
