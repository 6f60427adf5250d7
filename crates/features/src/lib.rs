//! Feature stores: the values of features by the keys of entities, while a request waits.
//!
//! In: a [`FeatureQuery`](tidegate_core::FeatureQuery), which asks for the features of one view for all
//! entities of a request. Out: their values with the times that they are of, or [`LookupError`] at once
//! while the store is away. There are three kinds of stores: the embedded one, Redis in the layout that
//! Feast writes, and Feast's feature server. Each request is one round trip. This crate knows neither
//! models nor HTTP routes, and does not judge how old a value may be.
//!
//! ```
//! use tidegate_features::{Embedded, FeatureRow};
//! use tidegate_core::{FeatureQuery, FeatureValue, KeyValue};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # let folder = tempfile::tempdir()?;
//! # runtime.block_on(async {
//! let store = Embedded::new(folder.path().join("features.db"), Embedded::MAX_BYTES);
//! let row = r#"{"view": "driver", "entity": {"driver_id": 7}, "features": {"rate": 0.5}}"#;
//! let row: FeatureRow = serde_json::from_str(row)?;
//! store.put(&[row], 1_700_000_000_000).await?;
//!
//! let query = FeatureQuery {
//!     view: "driver".into(),
//!     join_keys: ["driver_id".into()].into(),
//!     features: ["rate".into()].into(),
//!     entities: vec![vec![KeyValue::Int64(7)]],
//! };
//! let found = store.query(&query).await?;
//! assert_eq!(found[0].value, FeatureValue::Number(0.5));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod embedded;
mod entity_key;
mod exact_json;
mod guarded;
mod http;
mod redis_store;
mod row;
mod store;
mod stores;
mod value;

pub use config::{FeaturesConfig, FeaturesConfigError, StoreConfig, StoreKind};
pub use embedded::{Embedded, EmbeddedError, PutOutcome, StoredFeature};
pub use exact_json::exact_json;
pub use row::{CsvColumns, FeatureRow, RowsError, read_csv, read_json_lines};
pub use store::LookupError;
pub use stores::{FeatureStores, LookupOutcome, StoreStats};
