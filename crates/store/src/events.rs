//! The log of events: append-only, numbered in the order of commits.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::{Store, StoreError, Write};

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its number; events with larger numbers were committed later.
    pub change: i64,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Who did it.
    pub actor: String,
    /// Its kind, such as `version.pushed`.
    pub kind: String,
    /// The model that it is about; empty if there is none.
    pub model: String,
    /// The version that it is about.
    pub version: Option<i64>,
    /// Its details.
    pub detail: Value,
}

/// An event that is about to be recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent<'a> {
    /// See [`Event::kind`].
    pub kind: &'a str,
    /// See [`Event::model`].
    pub model: &'a str,
    /// See [`Event::version`].
    pub version: Option<i64>,
    /// See [`Event::detail`].
    pub detail: Value,
}

/// The property that tells one registry from another.
pub const REGISTRY_ID: &str = "registry_id";

/// How far the history of a database has come. The number of the last change alone does not say:
/// a database that was restored from a backup counts on from there, and gives numbers again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Which registry it is; none before its first push.
    pub registry_id: Option<String>,
    /// The number of the last change.
    pub change: i64,
    /// A fingerprint of the event of that change.
    pub latest_event: u64,
}

impl Store {
    /// The number of the last change.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn last_change(&self) -> Result<i64, StoreError> {
        Ok(self.position().await?.change)
    }

    /// Where the history of the database stands: a poller that saw the same has nothing to do.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] also where the database does not answer at once, or where the
    /// file that is open is no longer the one that its path leads to.
    pub async fn position(&self) -> Result<Position, StoreError> {
        self.check_file()?;
        let sql = "SELECT counters.value AS change, properties.value AS registry_id, events.at_ms, \
                   events.actor, events.kind, events.model, events.version, events.detail \
                   FROM counters LEFT JOIN properties ON properties.name = $1 \
                   LEFT JOIN events ON events.change = counters.value WHERE counters.name = 'change'";
        let row = sqlx::query(sql)
            .bind(REGISTRY_ID)
            .fetch_one(self.polling_pool())
            .await?;
        Ok(Position {
            registry_id: row.try_get("registry_id")?,
            change: row.try_get("change")?,
            latest_event: fingerprint(&row)?,
        })
    }

    /// The [`Position::latest_event`] of the time when `change` was the last one; `None` if there was
    /// no such change.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn event_fingerprint(&self, change: i64) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT at_ms, actor, kind, model, version, detail FROM events WHERE change = $1";
        let row = sqlx::query(sql)
            .bind(change)
            .fetch_optional(self.pool())
            .await?;
        row.as_ref().map(fingerprint).transpose()
    }

    /// Up to `limit` events after the change `since`, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn events_since(&self, since: i64, limit: i64) -> Result<Vec<Event>, StoreError> {
        let sql = "SELECT change, at_ms, actor, kind, model, version, detail FROM events \
                   WHERE change > $1 ORDER BY change LIMIT $2";
        let rows = sqlx::query(sql)
            .bind(since)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(event).collect()
    }
}

impl Write {
    /// Records an event and gives its change number.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn record(&mut self, event: NewEvent<'_>) -> Result<i64, StoreError> {
        // A counter of its own and not an automatic id: ids are given before the commit, so a
        // reader could see a larger one first and miss the smaller one.
        let sql = "UPDATE counters SET value = value + 1 WHERE name = 'change' RETURNING value";
        let change: i64 = sqlx::query(sql)
            .fetch_one(self.connection())
            .await?
            .try_get("value")?;
        let sql = "INSERT INTO events (change, at_ms, actor, kind, model, version, detail) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let (actor, now_ms) = (self.actor().to_owned(), self.now_ms());
        let query = sqlx::query(sql)
            .bind(change)
            .bind(now_ms)
            .bind(actor)
            .bind(event.kind);
        let query = query
            .bind(event.model)
            .bind(event.version)
            .bind(event.detail.to_string());
        query.execute(self.connection()).await?;
        Ok(change)
    }
}

fn fingerprint(row: &AnyRow) -> Result<u64, StoreError> {
    let mut hasher = DefaultHasher::new();
    for number in ["at_ms", "version"] {
        row.try_get::<Option<i64>, _>(number)?.hash(&mut hasher);
    }
    for text in ["actor", "kind", "model", "detail"] {
        row.try_get::<Option<String>, _>(text)?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

fn event(row: &AnyRow) -> Result<Event, StoreError> {
    let detail: String = row.try_get("detail")?;
    Ok(Event {
        change: row.try_get("change")?,
        at_ms: row.try_get("at_ms")?,
        actor: row.try_get("actor")?,
        kind: row.try_get("kind")?,
        model: row.try_get("model")?,
        version: row.try_get("version")?,
        // A detail that cannot be parsed is shown as text: one odd row must not hide the log.
        detail: serde_json::from_str(&detail).unwrap_or(Value::String(detail)),
    })
}
