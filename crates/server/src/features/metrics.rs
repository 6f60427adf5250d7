//! Metrics of feature stores and of what was looked up.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::RwLock;
use prometheus::{HistogramVec, IntCounterVec};
use tidegate_features::{FeatureStores, LookupOutcome};
use tidegate_pipeline::{LookedUp, Lookup};
use tidegate_serving::{
    Exposition, Family, Labels, MetricEntry, MetricRegistry, MetricSource, Sample,
};

const UP: Family<'static> = Family::gauge(
    "tidegate_feature_store_up",
    "Whether the server can ask the feature store, 1 or 0",
);
const LOOKUPS: Family<'static> = Family::counter(
    "tidegate_feature_lookups_total",
    "Lookups by store and outcome: `answered`, `failed`, `timed_out`, or `not_sent` while the store \
     is away or too many wait for it",
);
const SECONDS: Family<'static> = Family::counter(
    "tidegate_feature_lookup_seconds_total",
    "Time that lookups took",
);
const VALUES: &str = "tidegate_feature_values_total";
const AGE: &str = "tidegate_feature_age_seconds";
/// More views than these are counted together: their names come from manifests.
const MAX_VIEWS: usize = 256;
const OTHER: &str = "(other)";
/// From a second to 30 days.
const AGE_BOUNDS: [f64; 12] = [
    1.0,
    10.0,
    60.0,
    300.0,
    900.0,
    3600.0,
    10_800.0,
    21_600.0,
    86_400.0,
    259_200.0,
    604_800.0,
    2_592_000.0,
];

/// Counts of what was looked up.
pub(super) struct FeatureMetrics {
    values: IntCounterVec,
    ages: HistogramVec,
    /// The stores and views that have labels of their own.
    views: RwLock<HashSet<(String, String)>>,
}

impl FeatureMetrics {
    pub(super) fn new(stores: Arc<FeatureStores>, registry: &MetricRegistry) -> Self {
        registry.add_source(StoreMetrics { stores });
        Self {
            values: registry.counter_vec(
                VALUES,
                "Looked-up values of features: `found`, `missing`, `stale` (older than `max_age_s`), \
                 `unreadable`; and `default` for those of the others that a default stood in for",
                &["store", "view", "outcome"],
            ),
            ages: registry.histogram_vec(
                AGE,
                "Age of looked-up features: that of the oldest one of each entity of a request",
                AGE_BOUNDS.to_vec(),
                &["store", "view"],
            ),
            views: RwLock::default(),
        }
    }

    /// Counts what came of a lookup.
    pub(super) fn count(&self, lookup: &Lookup, looked_up: &LookedUp, now_ms: i64) {
        let view = match self.has_own_labels(lookup) {
            true => lookup.view(),
            false => OTHER,
        };
        let counts = looked_up.counts();
        for (outcome, count) in [
            ("found", counts.found),
            ("missing", counts.missing),
            ("stale", counts.stale),
            ("unreadable", counts.unreadable),
            ("default", counts.defaults),
        ] {
            if count > 0 {
                let labels = [lookup.store(), view, outcome];
                self.values.with_label_values(&labels).inc_by(count);
            }
        }
        let ages = self.ages.with_label_values(&[lookup.store(), view]);
        for age_ms in looked_up.ages_ms(now_ms) {
            ages.observe(age_ms as f64 / 1e3);
        }
    }

    fn has_own_labels(&self, lookup: &Lookup) -> bool {
        let view = (lookup.store().to_owned(), lookup.view().to_owned());
        if self.views.read().contains(&view) {
            return true;
        }
        let mut views = self.views.write();
        if views.len() < MAX_VIEWS {
            views.insert(view.clone());
        }
        views.contains(&view)
    }
}

struct StoreMetrics {
    stores: Arc<FeatureStores>,
}

impl MetricSource for StoreMetrics {
    fn entries(&self) -> Vec<MetricEntry> {
        vec![
            MetricEntry::new(UP, &["store"]),
            MetricEntry::new(LOOKUPS, &["store", "outcome"]),
            MetricEntry::new(SECONDS, &["store"]),
        ]
    }

    fn expose(&self, out: &mut dyn Exposition) {
        let stats: Vec<_> = self.stores.stats().collect();
        out.family(UP);
        for store in &stats {
            let labels = Labels::new([("store", store.store.as_str())]);
            out.sample(Sample::plain(&labels, f64::from(u8::from(store.is_up))));
        }
        out.family(LOOKUPS);
        for store in &stats {
            for outcome in LookupOutcome::ALL {
                let labels = [("store", store.store.as_str()), ("outcome", outcome.name())];
                let count = store.lookups[outcome as usize];
                out.sample(Sample::plain(&Labels::new(labels), count as f64));
            }
        }
        out.family(SECONDS);
        for store in &stats {
            let labels = Labels::new([("store", store.store.as_str())]);
            out.sample(Sample::plain(&labels, store.seconds));
        }
    }
}
