//! What every store can do.

use futures_util::future::BoxFuture;
use thiserror::Error;
use tidegate_core::{Feature, FeatureQuery};

/// A store of features.
pub(crate) trait FeatureStore: Send + Sync {
    /// The values of a query, in its order, in one round trip.
    fn fetch<'a>(
        &'a self,
        query: &'a FeatureQuery,
    ) -> BoxFuture<'a, Result<Vec<Feature>, StoreError>>;

    /// Finds out whether it answers; connects first, if it must.
    fn check(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// Why a store gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreError {
    /// It cannot be asked at all.
    Lost(String),
    /// It did not answer this time.
    Failed(String),
    /// It works, and refuses what it was asked for.
    Refused(String),
}

impl StoreError {
    pub(crate) fn problem(self) -> String {
        match self {
            Self::Lost(problem) | Self::Failed(problem) | Self::Refused(problem) => problem,
        }
    }
}

/// Why a lookup has no values.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LookupError {
    /// The configuration has no such store.
    #[error("no store \"{0}\" is configured ([[features.store]])")]
    Unknown(String),
    /// The request has too many entities.
    #[error(
        "the request has {entities} entities to look up, the most is {max} (features.max_entities)"
    )]
    TooMany {
        /// Those of the request.
        entities: usize,
        /// The most that are looked up.
        max: usize,
    },
    /// The store did not answer in time.
    #[error("the feature store \"{store}\" did not answer in {timeout_ms} ms")]
    TimedOut {
        /// The store.
        store: String,
        /// How long it was waited for.
        timeout_ms: u128,
    },
    /// Too many requests wait for the store.
    #[error(
        "{max} lookups wait for the feature store \"{store}\" already (features.max_in_flight)"
    )]
    Busy {
        /// The store.
        store: String,
        /// The most that wait.
        max: usize,
    },
    /// It cannot be reached, and was not asked.
    #[error("the feature store \"{store}\" cannot be reached: {problem}")]
    Away {
        /// The store.
        store: String,
        /// Why.
        problem: String,
    },
    /// It refuses the query.
    #[error("the feature store \"{store}\" refuses the query: {problem}")]
    Refused {
        /// The store.
        store: String,
        /// Its reason.
        problem: String,
    },
}
