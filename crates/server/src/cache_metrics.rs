//! The metrics of the response cache.

use std::sync::Arc;

use tidegate_gateway::CacheOutcome;
use tidegate_serving::{
    AnswerCache, Exposition, Family, Labels, MetricEntry, MetricRegistry, MetricSource, Sample,
};

const REQUESTS: Family<'static> = Family::counter(
    "tidegate_cache_requests_total",
    "Requests to cached endpoints, by where the answer came from",
);
const BYTES: Family<'static> =
    Family::gauge("tidegate_cache_bytes", "Memory that cached answers take");
const ENTRIES: Family<'static> = Family::gauge("tidegate_cache_entries", "Cached answers");

/// Registers them; they are zero while no endpoint is cached.
pub(crate) fn register(cache: Option<Arc<AnswerCache>>, registry: &MetricRegistry) {
    let outcomes = CacheOutcome::ALL.map(|outcome| Labels::new([("outcome", outcome.name())]));
    registry.add_source(CacheMetrics { cache, outcomes });
}

struct CacheMetrics {
    cache: Option<Arc<AnswerCache>>,
    outcomes: [Labels; CacheOutcome::ALL.len()],
}

impl MetricSource for CacheMetrics {
    fn entries(&self) -> Vec<MetricEntry> {
        vec![
            MetricEntry::new(REQUESTS, &["outcome"]),
            MetricEntry::new(BYTES, &[]),
            MetricEntry::new(ENTRIES, &[]),
        ]
    }

    fn expose(&self, out: &mut dyn Exposition) {
        let stats = self.cache.as_ref().map(|cache| cache.stats());
        let stats = stats.unwrap_or_default();
        out.family(REQUESTS);
        for (labels, count) in self.outcomes.iter().zip(stats.outcomes) {
            out.sample(Sample::plain(labels, count as f64));
        }
        for (family, value) in [(BYTES, stats.bytes), (ENTRIES, stats.entries)] {
            out.family(family);
            out.sample(Sample::plain(&Labels::default(), value as f64));
        }
    }
}
