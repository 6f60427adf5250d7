//! Rollouts, and what servers saw of the versions that they compare.

use sqlx::Row;

use crate::{Store, StoreError, Write};

/// The name of the one row of states.
const ALL: &str = "all";
/// Rollouts that are over and kept of an endpoint; older ones are removed.
const KEPT: i64 = 50;

/// What a server has answered with a version since the window before, of about a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutWindow {
    /// When it was written, in seconds since 1970 by the database's clock.
    pub second: i64,
    /// The endpoint.
    pub endpoint: String,
    /// The version, by number.
    pub version: String,
    /// The server.
    pub server: String,
    /// As JSON.
    pub figures: String,
}

/// A window that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRolloutWindow {
    /// The endpoint.
    pub endpoint: String,
    /// The version, by number.
    pub version: String,
    /// As JSON.
    pub figures: String,
}

impl Store {
    /// The number of changes of rollouts so far.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn rollouts_change(&self) -> Result<i64, StoreError> {
        self.check_file()?;
        let row = sqlx::query("SELECT value FROM counters WHERE name = 'rollouts'")
            .fetch_one(self.polling_pool())
            .await?;
        Ok(row.try_get("value")?)
    }

    /// The state of all rollouts, as JSON.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn rollouts(&self) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT state FROM rollout_state WHERE name = $1")
            .bind(ALL)
            .fetch_optional(self.pool())
            .await?;
        row.map(|row| row.try_get("state").map_err(StoreError::from))
            .transpose()
    }

    /// The rollouts of an endpoint that are over, the newest first, as JSON.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn past_rollouts(&self, endpoint: &str) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT state FROM rollout_archive WHERE endpoint = $1 ORDER BY ended_ms DESC";
        let rows = sqlx::query(sql)
            .bind(endpoint)
            .fetch_all(self.pool())
            .await?;
        rows.iter()
            .map(|row| row.try_get("state").map_err(StoreError::from))
            .collect()
    }

    /// The rollouts of all endpoints that were over last, the newest first, as JSON.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn last_rollouts(&self, limit: u16) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT state FROM rollout_archive ORDER BY ended_ms DESC LIMIT $1";
        let rows = sqlx::query(sql)
            .bind(i64::from(limit))
            .fetch_all(self.pool())
            .await?;
        rows.iter()
            .map(|row| row.try_get("state").map_err(StoreError::from))
            .collect()
    }

    /// Adds what a server has answered, and removes windows that are older than `keep_s` seconds. The
    /// database's clock stamps them: wrong clocks of servers do no harm.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn add_rollout_windows(
        &self,
        server: &str,
        windows: &[NewRolloutWindow],
        keep_s: i64,
    ) -> Result<(), StoreError> {
        // A server writes once a second; of two windows in one second, the second is lost.
        let sql = "INSERT INTO rollout_windows (second, endpoint, version, server, figures) \
                   VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (second, endpoint, version, server) DO NOTHING";
        let mut change = self.begin().await?;
        let second = self.clock_on(change.connection()).await? / 1000;
        for window in windows {
            let query = sqlx::query(sql)
                .bind(second)
                .bind(&window.endpoint)
                .bind(&window.version)
                .bind(server)
                .bind(&window.figures);
            query.execute(change.connection()).await?;
        }
        sqlx::query("DELETE FROM rollout_windows WHERE second < $1")
            .bind(second - keep_s)
            .execute(change.connection())
            .await?;
        change.commit().await
    }

    /// What all servers answered after a second and until another one, in order of time.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn rollout_windows(
        &self,
        after: i64,
        until: i64,
    ) -> Result<Vec<RolloutWindow>, StoreError> {
        let sql = "SELECT second, endpoint, version, server, figures FROM rollout_windows \
                   WHERE second > $1 AND second <= $2 ORDER BY second";
        let rows = sqlx::query(sql)
            .bind(after)
            .bind(until)
            .fetch_all(self.pool())
            .await?;
        rows.iter()
            .map(|row| {
                Ok(RolloutWindow {
                    second: row.try_get("second")?,
                    endpoint: row.try_get("endpoint")?,
                    version: row.try_get("version")?,
                    server: row.try_get("server")?,
                    figures: row.try_get("figures")?,
                })
            })
            .collect()
    }
}

impl Write {
    /// The state of all rollouts as this change sees it, as JSON.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn rollouts(&mut self) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT state FROM rollout_state WHERE name = $1")
            .bind(ALL)
            .fetch_optional(self.connection())
            .await?;
        row.map(|row| row.try_get("state").map_err(StoreError::from))
            .transpose()
    }

    /// Sets the state of all rollouts.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn set_rollouts(&mut self, state: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO rollout_state (name, state) VALUES ($1, $2) \
                   ON CONFLICT (name) DO UPDATE SET state = excluded.state";
        sqlx::query(sql)
            .bind(ALL)
            .bind(state)
            .execute(self.connection())
            .await?;
        sqlx::query("UPDATE counters SET value = value + 1 WHERE name = 'rollouts'")
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Keeps a rollout that is over, and removes those of its endpoint that are too many.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn archive_rollout(
        &mut self,
        endpoint: &str,
        id: &str,
        state: &str,
    ) -> Result<(), StoreError> {
        let now_ms = self.now_ms();
        let sql = "INSERT INTO rollout_archive (endpoint, ended_ms, id, state) \
                   VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (endpoint, id) DO UPDATE \
                   SET ended_ms = excluded.ended_ms, state = excluded.state";
        sqlx::query(sql)
            .bind(endpoint)
            .bind(now_ms)
            .bind(id)
            .bind(state)
            .execute(self.connection())
            .await?;
        let sql = "DELETE FROM rollout_archive WHERE endpoint = $1 AND ended_ms < COALESCE( \
                   (SELECT MIN(ended_ms) FROM (SELECT ended_ms FROM rollout_archive \
                   WHERE endpoint = $1 ORDER BY ended_ms DESC LIMIT $2) AS kept), 0)";
        sqlx::query(sql)
            .bind(endpoint)
            .bind(KEPT)
            .execute(self.connection())
            .await?;
        Ok(())
    }
}
