//! Quotas: how much of each is used in its day or month. Each statement is atomic, so that servers
//! that share a database share its quotas to the last one.

use sqlx::Row;

use crate::{Store, StoreError};

/// How long the use of a past period is kept, in milliseconds: 400 days.
const KEEP_MS: i64 = 400 * 24 * 3600 * 1000;

/// A part of a quota that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct QuotaUse<'a> {
    /// Which quota.
    pub quota: &'a str,
    /// When its day or month began, in milliseconds since 1970.
    pub period_ms: i64,
    /// How much may be used in the whole period.
    pub limit: u64,
    /// How much is asked for.
    pub want: u64,
    /// How much is of use: nothing is given if less is left.
    pub least: u64,
    /// How much was used already: it is counted in full, even beyond the limit.
    pub owed: u64,
}

/// A part of a quota that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaLease {
    /// How much.
    pub granted: u64,
    /// How much of the whole quota is used or leased now.
    pub used: u64,
}

impl Store {
    /// Adds to what is used of a quota: as much as is asked for, or as much as is left if that is of use.
    ///
    /// # Errors
    /// [`StoreError`] of the database; then nothing was added.
    pub async fn lease_quota(&self, ask: QuotaUse<'_>) -> Result<QuotaLease, StoreError> {
        let open = "INSERT INTO quota_usage (quota, period_ms, used, granted) VALUES ($1, $2, 0, 0) \
                    ON CONFLICT (quota, period_ms) DO NOTHING";
        sqlx::query(open)
            .bind(ask.quota)
            .bind(ask.period_ms)
            .execute(self.writing_pool())
            .await?;
        // The expressions see the row as it was: what is granted is what is added to `used`.
        let left = "$5 - used - $3";
        let granted = format!(
            "CASE WHEN {left} < $6 THEN 0 WHEN {left} < $4 THEN CASE WHEN {left} > 0 THEN {left} ELSE 0 END \
             ELSE $4 END"
        );
        let sql = format!(
            "UPDATE quota_usage SET granted = {granted}, used = used + $3 + {granted} \
             WHERE quota = $1 AND period_ms = $2 RETURNING granted, used"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(ask.quota)
            .bind(ask.period_ms)
            .bind(number(ask.owed))
            .bind(number(ask.want))
            .bind(number(ask.limit))
            .bind(number(ask.least))
            .fetch_one(self.writing_pool())
            .await?;
        Ok(QuotaLease {
            granted: count(row.try_get("granted")?),
            used: count(row.try_get("used")?),
        })
    }

    /// Takes back what was leased of a quota and not used.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn give_back_quota(
        &self,
        quota: &str,
        period_ms: i64,
        unused: u64,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE quota_usage SET used = CASE WHEN used > $3 THEN used - $3 ELSE 0 END \
                   WHERE quota = $1 AND period_ms = $2";
        sqlx::query(sql)
            .bind(quota)
            .bind(period_ms)
            .bind(number(unused))
            .execute(self.writing_pool())
            .await?;
        Ok(())
    }

    /// Forgets the use of periods that ended long ago.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn forget_old_quotas(&self, now_ms: i64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM quota_usage WHERE period_ms < $1")
            .bind(now_ms - KEEP_MS)
            .execute(self.writing_pool())
            .await?;
        Ok(())
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
