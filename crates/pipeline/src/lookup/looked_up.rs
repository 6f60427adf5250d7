//! The entities of one request, and what a store has of them.

use std::sync::Arc;

use tidegate_core::{Feature, FeatureQuery, FeatureValue};

/// The entities of a request, and what a store has of them.
#[derive(Debug)]
pub struct LookedUp {
    pub(super) query: Arc<FeatureQuery>,
    /// The entity of each row; `None` for a row without a key.
    pub(super) entities: Vec<Option<usize>>,
    /// The values, in the order of the query; `None` if the store gave none.
    pub(super) features: Option<Vec<Feature>>,
    pub(super) counts: LookupCounts,
}

/// How many values were had, and how many not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookupCounts {
    /// Values of the store that were used.
    pub found: u64,
    /// The store has none.
    pub missing: u64,
    /// Too old to be used.
    pub stale: u64,
    /// Not readable, or of another type.
    pub unreadable: u64,
    /// Defaults that stand in for one of the others.
    pub defaults: u64,
}

impl LookedUp {
    /// What to ask the store for.
    pub fn query(&self) -> &Arc<FeatureQuery> {
        &self.query
    }

    /// Takes the values of the store, in the order of the query.
    pub fn set_features(&mut self, features: Vec<Feature>) {
        debug_assert_eq!(features.len(), self.query.values());
        self.features = Some(features);
    }

    /// What came of it, once its columns were made.
    pub fn counts(&self) -> LookupCounts {
        self.counts
    }

    /// What the values of the store take, in bytes.
    pub fn bytes(&self) -> usize {
        let features = self.features.iter().flatten();
        features
            .map(|feature| {
                let content = match &feature.value {
                    FeatureValue::Text(text) | FeatureValue::Unreadable(text) => text.len(),
                    FeatureValue::Bytes(bytes) => bytes.len(),
                    _ => 0,
                };
                size_of::<Feature>() + content
            })
            .sum()
    }

    /// How old the oldest value of each entity is, in milliseconds, where that is known.
    pub fn ages_ms(&self, now_ms: i64) -> impl Iterator<Item = i64> + '_ {
        let width = self.query.features.len().max(1);
        let entities = self.features.iter().flat_map(move |all| all.chunks(width));
        entities.filter_map(move |features| {
            let has_value = |feature: &&Feature| feature.value != FeatureValue::Missing;
            let known = features.iter().filter(has_value);
            let oldest = known.filter_map(|feature| feature.event_ms).min()?;
            Some(now_ms.saturating_sub(oldest).max(0))
        })
    }
}
