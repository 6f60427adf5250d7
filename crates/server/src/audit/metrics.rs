//! The metrics of the audit log.

use std::sync::Arc;

use tidegate_gateway::Audit;
use tidegate_serving::{
    Exposition, Family, Labels, MetricEntry, MetricRegistry, MetricSource, Sample,
};

const WRITTEN: Family<'static> =
    Family::counter("tidegate_audit_rows_total", "Rows written to the audit log");
const FAILED: Family<'static> = Family::counter(
    "tidegate_audit_failures_total",
    "Rows of administrative actions that could not be written to the audit log",
);
const DROPPED: Family<'static> = Family::counter(
    "tidegate_audit_denials_dropped_total",
    "Denied requests that are not in the audit log, because there were too many different ones or \
     it could not be written",
);

/// Exposes nothing where the server has no audit log.
pub(super) struct AuditMetrics(Option<Arc<Audit>>);

impl AuditMetrics {
    pub(super) fn register(registry: &MetricRegistry, audit: Option<Arc<Audit>>) {
        registry.add_source(Self(audit));
    }
}

impl MetricSource for AuditMetrics {
    fn entries(&self) -> Vec<MetricEntry> {
        [WRITTEN, FAILED, DROPPED]
            .map(|family| MetricEntry::new(family, &[]))
            .into()
    }

    fn expose(&self, out: &mut dyn Exposition) {
        let Some(counts) = self.0.as_ref().map(|audit| audit.counts()) else {
            return;
        };
        for (family, count) in [
            (WRITTEN, counts.written),
            (FAILED, counts.failed),
            (DROPPED, counts.dropped),
        ] {
            out.family(family);
            out.sample(Sample::plain(&Labels::default(), count as f64));
        }
    }
}
