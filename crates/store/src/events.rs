//! The log of events: append-only, numbered in the order of commits.

use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::{Store, StoreError, Write, now_ms};

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

impl Store {
    /// The number of the last change: a poller that saw it before has nothing to do.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn last_change(&self) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT value FROM counters WHERE name = 'change'")
            .fetch_one(self.pool())
            .await?;
        Ok(row.try_get("value")?)
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
        let actor = self.actor().to_owned();
        let query = sqlx::query(sql)
            .bind(change)
            .bind(now_ms())
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
