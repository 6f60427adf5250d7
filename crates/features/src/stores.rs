//! The stores of a server, by name.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_core::{Feature, FeatureQuery};

use crate::config::{EMBEDDED, FeaturesConfig, FeaturesConfigError, StoreKind};
use crate::embedded::Embedded;
use crate::guarded::Guarded;
use crate::http::HttpStore;
use crate::redis_store::RedisStore;
use crate::store::{FeatureStore, LookupError};

/// Every store that lookups may name.
pub struct FeatureStores {
    stores: Vec<Guarded>,
    embedded: Option<Embedded>,
    max_entities: usize,
}

/// How a lookup ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupOutcome {
    /// The store answered.
    Answered,
    /// It gave an error.
    Failed,
    /// It did not answer in time.
    TimedOut,
    /// It was not asked, since it is away or too many wait.
    NotSent,
}

impl LookupOutcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Answered, Self::Failed, Self::TimedOut, Self::NotSent];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::NotSent => "not_sent",
        }
    }
}

/// Figures of one store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoreStats {
    /// Its name.
    pub store: String,
    /// Whether it is asked.
    pub is_up: bool,
    /// Lookups, in the order of [`LookupOutcome::ALL`].
    pub lookups: [u64; LookupOutcome::ALL.len()],
    /// How long they took, all together, in seconds.
    pub seconds: f64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    lookups: [AtomicU64; LookupOutcome::ALL.len()],
    nanoseconds: AtomicU64,
}

impl Counters {
    pub(crate) fn add(&self, outcome: LookupOutcome, took: Duration) {
        self.lookups[outcome as usize].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// In the order of [`LookupOutcome::ALL`].
    pub(crate) fn lookups(&self) -> [u64; LookupOutcome::ALL.len()] {
        std::array::from_fn(|at| self.lookups[at].load(Ordering::Relaxed))
    }
}

impl FeatureStores {
    /// Starts to connect to the configured stores; from within a runtime. The embedded store is in a
    /// file of `folder`; without one there is none.
    ///
    /// # Errors
    /// What is wrong with the configuration. That a store cannot be reached is no error.
    pub fn start(
        config: &FeaturesConfig,
        folder: Option<PathBuf>,
    ) -> Result<Self, FeaturesConfigError> {
        config.check()?;
        let max_bytes = config.embedded_max_bytes;
        let embedded = folder.map(|folder| Embedded::new(folder.join(Embedded::FILE), max_bytes));
        let mut stores = Vec::with_capacity(config.store.len() + 1);
        if let Some(embedded) = &embedded {
            let store = Box::new(embedded.clone());
            stores.push(Guarded::start(EMBEDDED, store, false, config.max_in_flight));
        }
        for store in &config.store {
            let made: Box<dyn FeatureStore> = match store.kind {
                StoreKind::Redis => Box::new(RedisStore::new(store, config.max_value_bytes)?),
                StoreKind::FeastHttp => Box::new(HttpStore::new(store, config.max_value_bytes)?),
            };
            stores.push(Guarded::start(
                &store.name,
                made,
                true,
                config.max_in_flight,
            ));
        }
        Ok(Self {
            stores,
            embedded,
            max_entities: config.max_entities,
        })
    }

    /// The embedded store, if there is a data folder.
    pub fn embedded(&self) -> Option<&Embedded> {
        self.embedded.as_ref()
    }

    /// The values of a query, in its order.
    ///
    /// # Errors
    /// Why there are none; at once while the store is away.
    pub async fn fetch(
        &self,
        store: &str,
        query: &Arc<FeatureQuery>,
        timeout: Duration,
    ) -> Result<Vec<Feature>, LookupError> {
        let Some(store) = self.stores.iter().find(|known| known.name() == store) else {
            return Err(LookupError::Unknown(store.to_owned()));
        };
        let entities = query.entities.len();
        if entities > self.max_entities {
            let max = self.max_entities;
            return Err(LookupError::TooMany { entities, max });
        }
        // Rows without keys need no store.
        if entities == 0 {
            return Ok(Vec::new());
        }
        store.fetch(query.clone(), timeout).await
    }

    /// The stores that cannot be reached, for people.
    pub fn problems(&self) -> Vec<String> {
        let stores = self.stores.iter();
        let problems = stores.filter_map(|store| {
            let problem = store.problem()?;
            let name = store.name();
            Some(format!(
                "the feature store \"{name}\" cannot be reached: {problem}"
            ))
        });
        problems.collect()
    }

    /// The figures of each store.
    pub fn stats(&self) -> impl Iterator<Item = StoreStats> + '_ {
        self.stores.iter().map(|store| {
            let counters = store.counters();
            let nanoseconds = counters.nanoseconds.load(Ordering::Relaxed);
            StoreStats {
                store: store.name().to_owned(),
                is_up: store.problem().is_none(),
                lookups: counters.lookups(),
                seconds: nanoseconds as f64 / 1e9,
            }
        })
    }
}
