//! Removing old rows from the front, so that the rest can still be checked.

use serde_json::{Value, json};
use sqlx::Row;

use super::{AuditEntry, PRUNE};
use crate::{StoreError, Write};

/// Most rows that one change removes: others wait for it.
const MAX_REMOVED: i64 = 10_000;

/// How long rows are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditRetention {
    /// The age from which rows are removed, in milliseconds.
    pub max_age_ms: i64,
    /// Most rows.
    pub max_rows: i64,
}

impl Write {
    /// Removes rows from the front that are older than all others need to be, or too many, and adds
    /// a row that says so. Returns how many were removed; another call may remove more.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn prune_audit(&mut self, retention: AuditRetention) -> Result<i64, StoreError> {
        let head = self.audit_head().await?.number;
        let cutoff_ms = self.now_ms().saturating_sub(retention.max_age_ms);
        let sql = "SELECT COALESCE(MIN(number), 0) AS first, \
                   COALESCE(MIN(CASE WHEN at_ms >= $1 THEN number END), $2) AS first_young FROM audit";
        let row = sqlx::query(sql)
            .bind(cutoff_ms)
            .bind(head.saturating_add(1))
            .fetch_one(self.connection())
            .await?;
        let (first, first_young): (i64, i64) = (row.try_get("first")?, row.try_get("first_young")?);
        let max_rows = retention.max_rows.max(1);
        // The row that is added must not be a reason to remove another one the next time.
        let are_too_many = head.saturating_sub(max_rows) >= first;
        // One more, for that row.
        let too_many = match are_too_many {
            true => head.saturating_add(1).saturating_sub(max_rows),
            false => 0,
        };
        let through = too_many.max(first_young - 1).min(head);
        if first == 0 || through < first {
            return Ok(0);
        }
        // A bounded number at a time keeps the transaction short; the caller repeats it.
        let through = through.min(first + MAX_REMOVED - 1);
        self.remove_audit(through).await?;
        Ok(through - first + 1)
    }

    async fn remove_audit(&mut self, through: i64) -> Result<(), StoreError> {
        let hash: String = sqlx::query("SELECT hash FROM audit WHERE number = $1")
            .bind(through)
            .fetch_one(self.connection())
            .await?
            .try_get("hash")?;
        let removed = json!({"through": through, "hash": hash.as_str()});
        let entry = AuditEntry::new("tidegate", PRUNE, "ok").with_states(&Value::Null, &removed);
        self.append_audit(&entry).await?;
        sqlx::query("UPDATE audit_removed SET number = $1, hash = $2")
            .bind(through)
            .bind(hash)
            .execute(self.connection())
            .await?;
        sqlx::query("DELETE FROM audit WHERE number <= $1")
            .bind(through)
            .execute(self.connection())
            .await?;
        Ok(())
    }
}
