//! The traffic policies of endpoints, with the history of their changes.

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::{Store, StoreError, Write};

/// Changes of an endpoint that are kept; older ones are removed.
const KEPT: i64 = 1000;

const COLUMNS: &str = "endpoint, revision, at_ms, actor, action, comment, policy, assignment";

/// One change of the policy of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficChange {
    /// The endpoint.
    pub endpoint: String,
    /// Counts the changes of the endpoint, from 1.
    pub revision: i64,
    /// When it was made, in milliseconds since 1970.
    pub at_ms: i64,
    /// Who made it.
    pub actor: String,
    /// `set`, `removed`, `undone`, `rollout` (a step of one) or `rolled_out` (the end of one).
    pub action: String,
    /// Why, in the words of who made it; may be empty.
    pub comment: String,
    /// The policy since then, as JSON; empty where it was removed.
    pub policy: String,
    /// Which sticky keys each version has since then, as JSON; empty without a policy.
    pub assignment: String,
}

/// A change that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewTrafficChange<'a> {
    /// The endpoint.
    pub endpoint: &'a str,
    /// `set`, `removed`, `undone`, `rollout` (a step of one) or `rolled_out` (the end of one).
    pub action: &'a str,
    /// Why; may be empty.
    pub comment: &'a str,
    /// As JSON; empty to remove it.
    pub policy: &'a str,
    /// As JSON; empty without a policy.
    pub assignment: &'a str,
}

impl Store {
    /// The number of changes of all endpoints so far.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn traffic_change(&self) -> Result<i64, StoreError> {
        self.check_file()?;
        let row = sqlx::query("SELECT value FROM counters WHERE name = 'traffic'")
            .fetch_one(self.polling_pool())
            .await?;
        Ok(row.try_get("value")?)
    }

    /// The newest change of each endpoint, by name.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn traffic(&self) -> Result<Vec<TrafficChange>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM traffic_changes AS newest WHERE revision = \
             (SELECT MAX(revision) FROM traffic_changes WHERE endpoint = newest.endpoint) \
             ORDER BY endpoint"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(change).collect()
    }

    /// The change of an endpoint that was in force at a revision: of that one, or the newest before.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn traffic_at(
        &self,
        endpoint: &str,
        revision: i64,
    ) -> Result<Option<TrafficChange>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM traffic_changes WHERE endpoint = $1 AND revision <= $2 \
             ORDER BY revision DESC LIMIT 1"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(endpoint)
            .bind(revision)
            .fetch_optional(self.pool())
            .await?;
        row.as_ref().map(change).transpose()
    }

    /// The changes of an endpoint, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn traffic_history(
        &self,
        endpoint: &str,
        limit: u16,
    ) -> Result<Vec<TrafficChange>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM traffic_changes WHERE endpoint = $1 \
             ORDER BY revision DESC LIMIT $2"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(endpoint)
            .bind(i64::from(limit))
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(change).collect()
    }
}

impl Write {
    /// The newest change of an endpoint, as this change sees it.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn traffic_of(
        &mut self,
        endpoint: &str,
    ) -> Result<Option<TrafficChange>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM traffic_changes WHERE endpoint = $1 \
             ORDER BY revision DESC LIMIT 1"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(endpoint)
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(change).transpose()
    }

    /// Adds a change of an endpoint, and removes those that are too many. Returns it as it is kept.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn change_traffic(
        &mut self,
        new: NewTrafficChange<'_>,
    ) -> Result<TrafficChange, StoreError> {
        let last = self.traffic_of(new.endpoint).await?;
        let added = TrafficChange {
            endpoint: new.endpoint.to_owned(),
            revision: last.map_or(0, |last| last.revision) + 1,
            at_ms: self.now_ms(),
            actor: self.actor().to_owned(),
            action: new.action.to_owned(),
            comment: new.comment.to_owned(),
            policy: new.policy.to_owned(),
            assignment: new.assignment.to_owned(),
        };
        let sql = format!(
            "INSERT INTO traffic_changes ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(&added.endpoint)
            .bind(added.revision)
            .bind(added.at_ms)
            .bind(&added.actor);
        let query = query
            .bind(&added.action)
            .bind(&added.comment)
            .bind(&added.policy)
            .bind(&added.assignment);
        query.execute(self.connection()).await?;
        sqlx::query("DELETE FROM traffic_changes WHERE endpoint = $1 AND revision <= $2")
            .bind(&added.endpoint)
            .bind(added.revision - KEPT)
            .execute(self.connection())
            .await?;
        sqlx::query("UPDATE counters SET value = value + 1 WHERE name = 'traffic'")
            .execute(self.connection())
            .await?;
        Ok(added)
    }
}

fn change(row: &AnyRow) -> Result<TrafficChange, StoreError> {
    Ok(TrafficChange {
        endpoint: row.try_get("endpoint")?,
        revision: row.try_get("revision")?,
        at_ms: row.try_get("at_ms")?,
        actor: row.try_get("actor")?,
        action: row.try_get("action")?,
        comment: row.try_get("comment")?,
        policy: row.try_get("policy")?,
        assignment: row.try_get("assignment")?,
    })
}
