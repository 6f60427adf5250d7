//! Triggers that ask for a new version of a model: when a rule fired, and what became of it.

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::{Store, StoreError, Write};

const COLUMNS: &str = "id, rule_name, endpoint, state, reason, fired_ms, changed_ms, dataset, \
                       dataset_digest, attempts, next_ms, problem, decided_by, closed_by";

/// How far a trigger is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerState {
    /// Its data set is being made.
    Preparing,
    /// It waits for a person.
    Waiting,
    /// Its message is being sent.
    Approved,
    /// It waits for a version.
    Open,
    /// A version came.
    Closed,
    /// A person decided against it.
    Dismissed,
    /// A later trigger of the same rule took its place.
    Superseded,
    /// Its data set could not be made, or its message not be sent.
    Failed,
}

/// A rule that fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrainTrigger {
    /// Its name, which versions have in their lineage.
    pub id: String,
    /// The rule.
    pub rule: String,
    /// The endpoint that it is about.
    pub endpoint: String,
    /// How far it is.
    pub state: TriggerState,
    /// Why it fired, with the numbers, as JSON.
    pub reason: String,
    /// When it fired, in milliseconds since 1970.
    pub fired_ms: i64,
    /// When its state last changed, in milliseconds since 1970.
    pub changed_ms: i64,
    /// Its data set, such as `fraud@3`; empty until there is one.
    pub dataset: String,
    /// The SHA-256 of the data set, in hexadecimal digits.
    pub dataset_digest: String,
    /// How often the step that is under way has failed.
    pub attempts: i64,
    /// When the step is tried again, in milliseconds since 1970.
    pub next_ms: i64,
    /// Why the step has failed last.
    pub problem: String,
    /// Who approved or dismissed it.
    pub decided_by: String,
    /// The version that closed it, such as `fraud:8`.
    pub closed_by: String,
}

impl TriggerState {
    const ALL: [Self; 8] = [
        Self::Preparing,
        Self::Waiting,
        Self::Approved,
        Self::Open,
        Self::Closed,
        Self::Dismissed,
        Self::Superseded,
        Self::Failed,
    ];

    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Waiting => "waiting",
            Self::Approved => "approved",
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Dismissed => "dismissed",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
        }
    }

    /// Whether the server or a person still has to do something about it.
    pub const fn is_pending(self) -> bool {
        matches!(self, Self::Preparing | Self::Waiting | Self::Approved)
    }

    fn from_name(name: &str) -> Result<Self, StoreError> {
        let found = Self::ALL.into_iter().find(|state| state.name() == name);
        found.ok_or_else(|| StoreError::Refused(format!("{name:?} is not a state of a trigger")))
    }
}

impl Store {
    /// The triggers of a rule, or of all, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn triggers(
        &self,
        rule: Option<&str>,
        limit: u16,
    ) -> Result<Vec<RetrainTrigger>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM retrain_triggers WHERE $1 = '' OR rule_name = $1 \
             ORDER BY fired_ms DESC, id LIMIT $2"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(rule.unwrap_or_default())
            .bind(i64::from(limit))
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(trigger).collect()
    }

    /// The triggers of some states, the earliest first.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn triggers_in(
        &self,
        state: TriggerState,
        limit: u16,
    ) -> Result<Vec<RetrainTrigger>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM retrain_triggers WHERE state = $1 ORDER BY fired_ms, id LIMIT $2"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(state.name())
            .bind(i64::from(limit))
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(trigger).collect()
    }

    /// One trigger.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn trigger(&self, id: &str) -> Result<Option<RetrainTrigger>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM retrain_triggers WHERE id = $1");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id)
            .fetch_optional(self.pool())
            .await?;
        row.as_ref().map(trigger).transpose()
    }

    /// How often a rule fired since a time, in milliseconds since 1970. Triggers that were dismissed
    /// count, too: they took somebody's time.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn fired_since(&self, rule: &str, since_ms: i64) -> Result<i64, StoreError> {
        let sql = "SELECT COUNT(*) AS fired FROM retrain_triggers \
                   WHERE rule_name = $1 AND fired_ms >= $2";
        let row = sqlx::query(sql)
            .bind(rule)
            .bind(since_ms)
            .fetch_one(self.pool())
            .await?;
        Ok(row.try_get("fired")?)
    }

    /// Since when a rule is known, in milliseconds since 1970: since now if it is new.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn rule_since(&self, rule: &str) -> Result<i64, StoreError> {
        let now_ms = self.clock_ms().await?;
        let sql = "INSERT INTO retrain_rules (name, since_ms) VALUES ($1, $2) \
                   ON CONFLICT (name) DO NOTHING";
        sqlx::query(sql)
            .bind(rule)
            .bind(now_ms)
            .execute(self.writing_pool())
            .await?;
        let row = sqlx::query("SELECT since_ms FROM retrain_rules WHERE name = $1")
            .bind(rule)
            .fetch_one(self.pool())
            .await?;
        Ok(row.try_get("since_ms")?)
    }

    /// Takes or renews the lease of the server that follows the rules; whether it has it.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn hold_retrain_lease(&self, holder: &str, for_ms: i64) -> Result<bool, StoreError> {
        let now_ms = self.clock_ms().await?;
        let sql = "UPDATE retrain_lease SET holder = $1, until_ms = $2 \
                   WHERE holder = $1 OR until_ms < $3";
        let done = sqlx::query(sql)
            .bind(holder)
            .bind(now_ms.saturating_add(for_ms))
            .bind(now_ms)
            .execute(self.writing_pool())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Gives the lease back, so that another server need not wait for its end.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn release_retrain_lease(&self, holder: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE retrain_lease SET until_ms = 0 WHERE holder = $1")
            .bind(holder)
            .execute(self.writing_pool())
            .await?;
        Ok(())
    }

    /// The triggers whose state no event has told yet, the earliest first.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn untold_triggers(&self, limit: u16) -> Result<Vec<RetrainTrigger>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM retrain_triggers WHERE told <> state ORDER BY changed_ms, id LIMIT $1"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(i64::from(limit))
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(trigger).collect()
    }

    /// Notes that an event has told the state of a trigger.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn mark_told(&self, id: &str, state: TriggerState) -> Result<(), StoreError> {
        sqlx::query("UPDATE retrain_triggers SET told = $2 WHERE id = $1")
            .bind(id)
            .bind(state.name())
            .execute(self.writing_pool())
            .await?;
        Ok(())
    }

    /// How many labels of an endpoint came after a time, in milliseconds since 1970. Counts no further
    /// than `enough`.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn labels_after(
        &self,
        endpoint: &str,
        after_ms: i64,
        enough: i64,
    ) -> Result<i64, StoreError> {
        let sql = "SELECT COUNT(*) AS labels FROM (SELECT 1 FROM feedback \
                   WHERE endpoint = $1 AND received_ms > $2 LIMIT $3) AS counted";
        let row = sqlx::query(sql)
            .bind(endpoint)
            .bind(after_ms)
            .bind(enough)
            .fetch_one(self.pool())
            .await?;
        Ok(row.try_get("labels")?)
    }
}

impl Write {
    /// Adds a trigger.
    ///
    /// # Errors
    /// [`StoreError`] of the database, also if there is one of this id.
    pub async fn add_trigger(&mut self, new: &RetrainTrigger) -> Result<(), StoreError> {
        let sql = format!(
            "INSERT INTO retrain_triggers ({COLUMNS}) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(&new.id)
            .bind(&new.rule)
            .bind(&new.endpoint)
            .bind(new.state.name())
            .bind(&new.reason)
            .bind(new.fired_ms)
            .bind(new.changed_ms);
        let query = query
            .bind(&new.dataset)
            .bind(&new.dataset_digest)
            .bind(new.attempts)
            .bind(new.next_ms)
            .bind(&new.problem)
            .bind(&new.decided_by)
            .bind(&new.closed_by);
        query.execute(self.connection()).await?;
        Ok(())
    }

    /// Writes what has changed of a trigger that was in a state; `false` if it is in another one by now.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn change_trigger(
        &mut self,
        before: TriggerState,
        changed: &RetrainTrigger,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE retrain_triggers SET state = $3, changed_ms = $4, dataset = $5, \
                   dataset_digest = $6, attempts = $7, next_ms = $8, problem = $9, decided_by = $10, \
                   closed_by = $11 WHERE id = $1 AND state = $2";
        let query = sqlx::query(sql)
            .bind(&changed.id)
            .bind(before.name())
            .bind(changed.state.name())
            .bind(changed.changed_ms)
            .bind(&changed.dataset)
            .bind(&changed.dataset_digest);
        let query = query
            .bind(changed.attempts)
            .bind(changed.next_ms)
            .bind(&changed.problem)
            .bind(&changed.decided_by)
            .bind(&changed.closed_by);
        Ok(query.execute(self.connection()).await?.rows_affected() > 0)
    }

    /// Approves or dismisses a trigger in the name of who makes the change, and gives it as it is then; or
    /// says why that cannot be.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn decide_trigger(
        &mut self,
        id: &str,
        approves: bool,
    ) -> Result<Result<RetrainTrigger, String>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM retrain_triggers WHERE id = $1");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id)
            .fetch_optional(self.connection())
            .await?;
        let Some(mut decided) = row.as_ref().map(trigger).transpose()? else {
            return Ok(Err(format!("there is no trigger {id}")));
        };
        let before = decided.state;
        decided.state = match (approves, before) {
            (true, TriggerState::Waiting) => TriggerState::Approved,
            (false, TriggerState::Preparing | TriggerState::Waiting) => TriggerState::Dismissed,
            (false, TriggerState::Approved | TriggerState::Open) => TriggerState::Dismissed,
            _ => return Ok(Err(format!("the trigger {id} is {}", before.name()))),
        };
        decided.decided_by = self.actor().to_owned();
        decided.changed_ms = self.now_ms();
        (decided.attempts, decided.next_ms) = (0, 0);
        Ok(match self.change_trigger(before, &decided).await? {
            true => Ok(decided),
            false => Err(format!("the trigger {id} has changed meanwhile: try again")),
        })
    }

    /// Closes a trigger of an endpoint for which a version came; `false` if there is none of this id that
    /// was asked for: it is closed, dismissed, or still waits for a person.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn close_trigger(
        &mut self,
        id: &str,
        endpoint: &str,
        version: &str,
    ) -> Result<bool, StoreError> {
        let now_ms = self.now_ms();
        let sql = "UPDATE retrain_triggers SET state = 'closed', changed_ms = $2, closed_by = $3 \
                   WHERE id = $1 AND endpoint = $4 \
                   AND state NOT IN ('closed', 'preparing', 'waiting', 'dismissed')";
        let done = sqlx::query(sql)
            .bind(id)
            .bind(now_ms)
            .bind(version)
            .bind(endpoint)
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }
}

fn trigger(row: &AnyRow) -> Result<RetrainTrigger, StoreError> {
    Ok(RetrainTrigger {
        id: row.try_get("id")?,
        rule: row.try_get("rule_name")?,
        endpoint: row.try_get("endpoint")?,
        state: TriggerState::from_name(row.try_get("state")?)?,
        reason: row.try_get("reason")?,
        fired_ms: row.try_get("fired_ms")?,
        changed_ms: row.try_get("changed_ms")?,
        dataset: row.try_get("dataset")?,
        dataset_digest: row.try_get("dataset_digest")?,
        attempts: row.try_get("attempts")?,
        next_ms: row.try_get("next_ms")?,
        problem: row.try_get("problem")?,
        decided_by: row.try_get("decided_by")?,
        closed_by: row.try_get("closed_by")?,
    })
}
