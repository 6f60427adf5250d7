//! Experiments, and what servers saw of their users.

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::{Store, StoreError, Write};

/// An experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredExperiment {
    /// Its name, unique in the database.
    pub name: String,
    /// The endpoint.
    pub endpoint: String,
    /// What is compared, as JSON.
    pub definition: String,
    /// When it began, in milliseconds since 1970 by the database's clock.
    pub started_ms: i64,
    /// Who started it.
    pub started_by: String,
    /// When it stopped; `None` while it runs.
    pub ended_ms: Option<i64>,
    /// Who stopped it; empty while it runs.
    pub ended_by: String,
    /// Why it stopped; empty while it runs.
    pub reason: String,
    /// What it said last, as JSON; empty until it says something.
    pub report: String,
}

/// A part of what a server saw of the users of an experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExperimentUsers {
    /// The server.
    pub server: String,
    /// The number of the part.
    pub part: i64,
    /// As JSON.
    pub users: String,
}

const COLUMNS: &str =
    "name, endpoint, definition, started_ms, started_by, ended_ms, ended_by, reason, report";

impl Store {
    /// The newest 200 experiments, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn experiments(&self) -> Result<Vec<StoredExperiment>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM experiments ORDER BY started_ms DESC, name LIMIT 200");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(of_row).collect()
    }

    /// The experiments that run, or stopped after a time in milliseconds since 1970.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn measured_experiments(
        &self,
        after_ms: i64,
    ) -> Result<Vec<StoredExperiment>, StoreError> {
        self.check_file()?;
        let sql = format!(
            "SELECT {COLUMNS} FROM experiments WHERE ended_ms IS NULL OR ended_ms > $1 ORDER BY name"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(after_ms)
            .fetch_all(self.polling_pool())
            .await?;
        rows.iter().map(of_row).collect()
    }

    /// An experiment.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn experiment(&self, name: &str) -> Result<Option<StoredExperiment>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM experiments WHERE name = $1");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(name)
            .fetch_optional(self.pool())
            .await?;
        row.as_ref().map(of_row).transpose()
    }

    /// Keeps what an experiment says.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn set_experiment_report(&self, name: &str, report: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE experiments SET report = $2 WHERE name = $1")
            .bind(name)
            .bind(report)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Replaces parts of what a server saw of the users of an experiment.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn set_experiment_users(
        &self,
        experiment: &str,
        parts: &[ExperimentUsers],
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO experiment_users (experiment, server, part, users) \
                   VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (experiment, server, part) DO UPDATE SET users = excluded.users";
        for one in parts {
            // One by one: a transaction of all of them would hold up other writers.
            sqlx::query(sql)
                .bind(experiment)
                .bind(&one.server)
                .bind(one.part)
                .bind(&one.users)
                .execute(self.pool())
                .await?;
        }
        Ok(())
    }

    /// What servers other than this one saw of the users of an experiment.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn experiment_users(
        &self,
        experiment: &str,
        other_than: &str,
    ) -> Result<Vec<ExperimentUsers>, StoreError> {
        let sql = "SELECT server, part, users FROM experiment_users \
                   WHERE experiment = $1 AND server <> $2 ORDER BY server, part";
        let rows = sqlx::query(sql)
            .bind(experiment)
            .bind(other_than)
            .fetch_all(self.pool())
            .await?;
        rows.iter()
            .map(|row| {
                Ok(ExperimentUsers {
                    server: row.try_get("server")?,
                    part: row.try_get("part")?,
                    users: row.try_get("users")?,
                })
            })
            .collect()
    }

    /// Removes what servers saw of the users of experiments that stopped before a time, in milliseconds
    /// since 1970: their reports stay.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn forget_experiment_users(&self, before_ms: i64) -> Result<(), StoreError> {
        let sql = "DELETE FROM experiment_users WHERE experiment IN \
                   (SELECT name FROM experiments WHERE ended_ms < $1)";
        sqlx::query(sql)
            .bind(before_ms)
            .execute(self.pool())
            .await?;
        Ok(())
    }
}

impl Write {
    /// The experiments that run, as this change sees them.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn running_experiments(&mut self) -> Result<Vec<StoredExperiment>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM experiments WHERE ended_ms IS NULL ORDER BY name");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(of_row).collect()
    }

    /// Adds an experiment that begins now; `false` if there is or was one of its name.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn add_experiment(
        &mut self,
        name: &str,
        endpoint: &str,
        definition: &str,
    ) -> Result<bool, StoreError> {
        let (now_ms, actor) = (self.now_ms(), self.actor().to_owned());
        let sql = "INSERT INTO experiments (name, endpoint, definition, started_ms, started_by, \
                   ended_by, reason, report) VALUES ($1, $2, $3, $4, $5, '', '', '') \
                   ON CONFLICT (name) DO NOTHING";
        let added = sqlx::query(sql)
            .bind(name)
            .bind(endpoint)
            .bind(definition)
            .bind(now_ms)
            .bind(actor)
            .execute(self.connection())
            .await?;
        Ok(added.rows_affected() == 1)
    }

    /// Notes that an experiment has stopped; `false` if it does not run.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn end_experiment(&mut self, name: &str, reason: &str) -> Result<bool, StoreError> {
        let (now_ms, actor) = (self.now_ms(), self.actor().to_owned());
        let sql = "UPDATE experiments SET ended_ms = $2, ended_by = $3, reason = $4 \
                   WHERE name = $1 AND ended_ms IS NULL";
        let ended = sqlx::query(sql)
            .bind(name)
            .bind(now_ms)
            .bind(actor)
            .bind(reason)
            .execute(self.connection())
            .await?;
        Ok(ended.rows_affected() == 1)
    }
}

fn of_row(row: &AnyRow) -> Result<StoredExperiment, StoreError> {
    Ok(StoredExperiment {
        name: row.try_get("name")?,
        endpoint: row.try_get("endpoint")?,
        definition: row.try_get("definition")?,
        started_ms: row.try_get("started_ms")?,
        started_by: row.try_get("started_by")?,
        ended_ms: row.try_get("ended_ms")?,
        ended_by: row.try_get("ended_by")?,
        reason: row.try_get("reason")?,
        report: row.try_get("report")?,
    })
}
