//! The metrics of the request path; those that Triton has, too, have Triton's names.

mod meter;
mod versions;

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::IntCounterVec;

pub use self::meter::{MeterReading, VersionMeter};
use self::versions::CountersByVersion;
use crate::Timing;
use crate::clock::unix_ms;
use crate::metrics::{
    Exposition, Family, Labels, MetricEntry, MetricRegistry, MetricSource, Sample,
};
use crate::observation::{Observation, Observations, Outcome};
use crate::stats::VersionStats;

const DROPPED: Family<'static> = Family::counter(
    "tidegate_observations_dropped_total",
    "Requests that are missing in these figures because too many ended at once",
);
const OVERFLOWS: Family<'static> = Family::counter(
    "tidegate_metrics_overflows_total",
    "Loads of versions that are counted as `_other` because there are too many versions",
);

/// The metrics of requests, all of them counted from observations. Label sets are bounded by the
/// loaded versions and the error codes.
pub struct RequestMetrics {
    observations: Arc<Observations>,
    versions: Arc<CountersByVersion>,
}

impl RequestMetrics {
    /// Registers the metrics of requests.
    pub fn new(registry: &MetricRegistry) -> Self {
        let observations = Arc::new(Observations::default());
        let versions = Arc::new(CountersByVersion::default());
        registry.add_source(RequestSource {
            observations: observations.clone(),
            versions: versions.clone(),
        });
        let refused = registry.counter_vec(
            "tidegate_requests_refused_total",
            "Requests refused before they reached a version, by error code",
            &["code"],
        );
        observations.subscribe(move |finished| count(finished, &refused));
        let drained = observations.clone();
        // So that the figures include every request that was answered before they are read.
        registry.before_exposition(move || drained.drain());
        Self {
            observations,
            versions,
        }
    }

    /// The observations of finished requests.
    pub fn observations(&self) -> &Arc<Observations> {
        &self.observations
    }

    /// Whether a version is exposed: it was loaded and not removed since.
    pub fn has_version(&self, model: &str, version: &str) -> bool {
        self.versions.contains(model, version)
    }

    /// Statistics from now on of a version that is loaded; exposes it.
    pub(crate) fn version_stats(
        &self,
        model: &str,
        version: &str,
        max_batch_rows: usize,
    ) -> VersionStats {
        let counters = self.versions.get_or_create(model, version);
        VersionStats::new(counters, self.observations.clone(), max_batch_rows)
    }

    /// Removes a version that is no longer served from the exposition: label sets are bounded by
    /// what is loaded.
    pub(crate) fn remove_version(&self, model: &str, version: &str) {
        self.versions.remove(model, version);
    }

    /// The observation of a request to a version, or to none, that no client has sent; for tests.
    pub fn example_observation(
        &self,
        version: Option<(&str, &str)>,
        outcome: Outcome,
        total: Duration,
    ) -> Observation {
        let counters = version.map(|(model, version)| self.versions.get_or_create(model, version));
        Observation {
            counters,
            outcome,
            total,
            rows: usize::from(outcome == Outcome::Answered),
            received: Instant::now(),
            encode: Duration::ZERO,
            timing: Timing::default(),
            fallback: None,
            trace: None,
            chosen: None,
            is_evidence: false,
            prediction: None,
        }
    }
}

/// Counts requests for the version that each reached, or as refused if it reached none.
fn count(finished: &[Observation], refused: &IntCounterVec) {
    // The clock is read once for all: they ended within moments of each other.
    let now_ms = unix_ms();
    for one in finished {
        match (&one.counters, one.outcome) {
            (Some(counters), Outcome::Answered) => {
                counters.count_answer(one.total, &one.timing, one.rows, now_ms);
            }
            (Some(counters), Outcome::Failed(code)) => counters.count_failure(code, one.total),
            (Some(counters), Outcome::Abandoned) => counters.count_abandoned(),
            (None, Outcome::Failed(code)) => refused.with_label_values(&[code.name()]).inc(),
            // A client that left before its request reached a version is no failure of any model.
            (None, Outcome::Answered | Outcome::Abandoned) => {}
        }
    }
}

/// The metrics of versions and of the observations themselves.
struct RequestSource {
    observations: Arc<Observations>,
    versions: Arc<CountersByVersion>,
}

impl MetricSource for RequestSource {
    fn entries(&self) -> Vec<MetricEntry> {
        let mut entries = versions::entries();
        entries.push(MetricEntry::new(DROPPED, &[]));
        entries.push(MetricEntry::new(OVERFLOWS, &[]));
        entries
    }

    fn expose(&self, out: &mut dyn Exposition) {
        self.versions.expose(out);
        for (family, count) in [
            (DROPPED, self.observations.dropped()),
            (OVERFLOWS, self.versions.overflows()),
        ] {
            out.family(family);
            out.sample(Sample::plain(&Labels::default(), count as f64));
        }
    }
}
