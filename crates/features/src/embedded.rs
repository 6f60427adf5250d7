//! The embedded store: a SQLite file in the data folder.
//!
//! A row for each feature of each entity, with the time that its value is of. Whoever writes an older
//! value than the one that is there changes nothing. Changes are durable once they are answered;
//! several processes may use the file at the same time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use thiserror::Error;
use tidegate_core::{Feature, FeatureQuery};
use tokio::sync::OnceCell;

use crate::entity_key::encode_wide;
use crate::row::{FeatureRow, json_value};
use crate::store::{FeatureStore, StoreError};
use crate::value;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS features (\
     view TEXT NOT NULL, entity BLOB NOT NULL, feature TEXT NOT NULL, value BLOB NOT NULL, \
     event_ms INTEGER NOT NULL, PRIMARY KEY (view, entity, feature)) WITHOUT ROWID";
// One statement for any number of entities. CROSS JOIN: SQLite goes through the entities in the outer
// loop, and finds each in the primary key.
const FETCH: &str = "SELECT CAST(wanted.key AS INTEGER) AS place, feature, features.value AS value, \
     event_ms FROM json_each(?2) AS wanted CROSS JOIN features \
     ON features.view = ?1 AND features.entity = unhex(wanted.value)";
const PUT: &str = "INSERT INTO features (view, entity, feature, value, event_ms) \
     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (view, entity, feature) \
     DO UPDATE SET value = excluded.value, event_ms = excluded.event_ms \
     WHERE excluded.event_ms >= features.event_ms";
const GET: &str = "SELECT feature, value, event_ms FROM features \
     WHERE view = ?1 AND entity = ?2 ORDER BY feature";
const DELETE_ENTITY: &str = "DELETE FROM features WHERE view = ?1 AND entity = ?2";
const DELETE_VIEW: &str = "DELETE FROM features WHERE view = ?1";
/// Reads are short; a single writer takes its turn.
const MAX_CONNECTIONS: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const PAGE_BYTES: u64 = 4096;
/// The most rows of one change.
const MAX_ROWS: usize = 100_000;

/// The store that every server has. It is opened when it is first used.
#[derive(Clone, Debug)]
pub struct Embedded {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    file: PathBuf,
    max_bytes: u64,
    pool: OnceCell<SqlitePool>,
}

/// What became of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PutOutcome {
    /// Values that were written.
    pub written: u64,
    /// Values that were left out: the store has newer ones.
    pub older: u64,
}

/// A feature of an entity.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StoredFeature {
    /// Its name.
    pub feature: String,
    /// Its value; `null` if it is known to be missing.
    pub value: Value,
    /// When the value was true, in milliseconds since 1970.
    pub event_ms: i64,
}

/// Why the embedded store did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EmbeddedError {
    /// A row that cannot be stored; nothing of the change was.
    #[error("row {row}: {problem}")]
    Row {
        /// The row, from 0.
        row: usize,
        /// What is wrong.
        problem: String,
    },
    /// Too many rows at once.
    #[error("there are {0} rows, the most is {MAX_ROWS} at once")]
    TooMany(usize),
    /// The store has its largest size.
    #[error("the embedded feature store is full (features.embedded_max_bytes)")]
    Full,
    /// The file cannot be read or written.
    #[error("the embedded feature store {file}: {problem}")]
    Database {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
}

impl Embedded {
    /// The largest size of the file unless another one is configured.
    pub const MAX_BYTES: u64 = 4 << 30;
    /// The name of the file in a data folder.
    pub const FILE: &str = "features.db";

    /// The store in a file, which is made when it is first used.
    pub fn new(file: PathBuf, max_bytes: u64) -> Self {
        Self {
            shared: Arc::new(Shared {
                file,
                max_bytes,
                pool: OnceCell::new(),
            }),
        }
    }

    /// Writes rows, all or none. Values that are older than those of the store are left out.
    ///
    /// # Errors
    /// A row that is not valid, or a file that cannot be written.
    pub async fn put(&self, rows: &[FeatureRow], now_ms: i64) -> Result<PutOutcome, EmbeddedError> {
        if rows.len() > MAX_ROWS {
            return Err(EmbeddedError::TooMany(rows.len()));
        }
        let pool = self.pool().await?;
        let begun = pool.begin_with("BEGIN IMMEDIATE").await;
        let mut change = begun.map_err(|error| self.error(&error))?;
        let mut outcome = PutOutcome::default();
        for (place, row) in rows.iter().enumerate() {
            let (names, values) = row.key().map_err(in_row(place))?;
            let entity = encode_wide(&names, &values);
            let event_ms = row.event_ms(now_ms).map_err(in_row(place))?;
            for (feature, value) in row.values().map_err(in_row(place))? {
                let put = sqlx::query(PUT).bind(&row.view).bind(&entity).bind(feature);
                let put = put.bind(value::encode(&value)).bind(event_ms);
                let done = put.execute(&mut *change).await;
                match done.map_err(|error| self.error(&error))?.rows_affected() {
                    0 => outcome.older += 1,
                    _ => outcome.written += 1,
                }
            }
        }
        change.commit().await.map_err(|error| self.error(&error))?;
        Ok(outcome)
    }

    /// All features of an entity in a view.
    ///
    /// # Errors
    /// A key that is not valid, or a file that cannot be read.
    pub async fn get(&self, entity: &FeatureRow) -> Result<Vec<StoredFeature>, EmbeddedError> {
        let key = key_of(entity)?;
        let query = sqlx::query(GET).bind(&entity.view).bind(key);
        let rows = query.fetch_all(self.pool().await?).await;
        let rows = rows.map_err(|error| self.error(&error))?;
        let features = rows.iter().map(|row| {
            let bytes: &[u8] = row.try_get("value")?;
            Ok(StoredFeature {
                feature: row.try_get("feature")?,
                value: json_value(&value::decode(bytes, usize::MAX)),
                event_ms: row.try_get("event_ms")?,
            })
        });
        let features: Result<Vec<_>, sqlx::Error> = features.collect();
        features.map_err(|error| self.error(&error))
    }

    /// Removes an entity from a view, or a whole view if the row has no entity; gives the number of
    /// values that were removed.
    ///
    /// # Errors
    /// A key that is not valid, or a file that cannot be written.
    pub async fn delete(&self, entity: &FeatureRow) -> Result<u64, EmbeddedError> {
        let query = match entity.entity.is_empty() {
            true => sqlx::query(DELETE_VIEW).bind(&entity.view),
            false => sqlx::query(DELETE_ENTITY)
                .bind(&entity.view)
                .bind(key_of(entity)?),
        };
        let done = query.execute(self.pool().await?).await;
        Ok(done.map_err(|error| self.error(&error))?.rows_affected())
    }

    /// The values of a query, in its order.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn query(&self, query: &FeatureQuery) -> Result<Vec<Feature>, EmbeddedError> {
        let mut features = vec![Feature::default(); query.values()];
        let pool = self.pool().await?;
        let found = sqlx::query(FETCH).bind(&*query.view).bind(json_keys(query));
        let mut rows = found.fetch(pool);
        loop {
            let row = rows.try_next().await;
            let Some(row) = row.map_err(|error| self.error(&error))? else {
                return Ok(features);
            };
            set_feature(query, &row, &mut features).map_err(|error| self.error(&error))?;
        }
    }

    async fn pool(&self) -> Result<&SqlitePool, EmbeddedError> {
        let opened = self.shared.pool.get_or_try_init(|| self.shared.open());
        opened.await.map_err(|problem| self.problem(problem))
    }

    fn error(&self, error: &sqlx::Error) -> EmbeddedError {
        // SQLITE_FULL
        let is_full = error
            .as_database_error()
            .is_some_and(|error| error.code().as_deref() == Some("13"));
        match is_full {
            true => EmbeddedError::Full,
            false => self.problem(error.to_string()),
        }
    }

    fn problem(&self, problem: String) -> EmbeddedError {
        let file = self.shared.file.display().to_string();
        EmbeddedError::Database { file, problem }
    }
}

impl Shared {
    async fn open(&self) -> Result<SqlitePool, String> {
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        }
        let options = SqliteConnectOptions::new()
            .filename(&self.file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What was answered is on the disk, also after a loss of power.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("max_page_count", (self.max_bytes / PAGE_BYTES).to_string());
        let pool = SqlitePoolOptions::new().max_connections(MAX_CONNECTIONS);
        let pool = pool.connect_with(options).await;
        let pool = pool.map_err(|error| error.to_string())?;
        let made = sqlx::query(SCHEMA).execute(&pool).await;
        made.map_err(|error| error.to_string())?;
        Ok(pool)
    }
}

/// A problem of a row, with its place.
fn in_row(row: usize) -> impl Fn(String) -> EmbeddedError {
    move |problem| EmbeddedError::Row { row, problem }
}

fn key_of(row: &FeatureRow) -> Result<Vec<u8>, EmbeddedError> {
    let key = row.key();
    let (names, values) = key.map_err(in_row(0))?;
    Ok(encode_wide(&names, &values))
}

/// The keys of a query as a list of hexadecimal texts, in its order.
fn json_keys(query: &FeatureQuery) -> String {
    let mut json = String::from("[");
    for (place, entity) in query.entities.iter().enumerate() {
        json.push_str(if place == 0 { "\"" } else { ",\"" });
        for byte in encode_wide(&query.join_keys, entity) {
            for digit in [byte >> 4, byte & 15] {
                json.extend(char::from_digit(digit.into(), 16));
            }
        }
        json.push('"');
    }
    json.push(']');
    json
}

fn set_feature(
    query: &FeatureQuery,
    row: &SqliteRow,
    features: &mut [Feature],
) -> Result<(), sqlx::Error> {
    let name: &str = row.try_get("feature")?;
    let entity: i64 = row.try_get("place")?;
    let width = query.features.len();
    let wanted = query.features.iter().enumerate();
    for (place, _) in wanted.filter(|(_, wanted)| &***wanted == name) {
        let bytes: &[u8] = row.try_get("value")?;
        let at = usize::try_from(entity).map_or(usize::MAX, |entity| entity * width + place);
        if let Some(feature) = features.get_mut(at) {
            *feature = Feature {
                value: value::decode(bytes, usize::MAX),
                event_ms: Some(row.try_get("event_ms")?),
            };
        }
    }
    Ok(())
}

impl FeatureStore for Embedded {
    fn fetch<'a>(
        &'a self,
        query: &'a FeatureQuery,
    ) -> BoxFuture<'a, Result<Vec<Feature>, StoreError>> {
        Box::pin(async move {
            let found = self.query(query).await;
            found.map_err(|error| StoreError::Failed(error.to_string()))
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            // A server that never uses it does not make the file.
            let Some(pool) = self.shared.pool.get() else {
                return Ok(());
            };
            let checked = sqlx::query("SELECT 1").execute(pool).await;
            let checked = checked.map_err(|error| StoreError::Failed(error.to_string()));
            checked.map(|_| ())
        })
    }
}

#[cfg(test)]
mod tests;
