//! The audit log: append-only, each row with the hash of the one before it.
//!
//! A row that was changed, swapped, added or removed breaks the chain, and [`Store::verify_audit`]
//! finds it. A chain that was cut off at its end is whole in itself: that is found by an
//! [`AuditAnchor`] that was kept elsewhere.

mod canonical;
mod chain;
mod retention;
mod verify;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;

pub use self::chain::AuditAnchor;
pub use self::retention::AuditRetention;
pub use self::verify::{AuditCheck, AuditProblem, AuditReport};
use crate::{Store, StoreError, Write};

/// The action of the row that says which rows were removed from the front.
const PRUNE: &str = "audit.prune";

const COLUMNS: &str = "number, at_ms, actor, tenant, action, resource_kind, resource, source, \
                       result, code, occurrences, state_before, state_after, previous_hash, hash";

/// What one row says. Texts are cut at 512 bytes when they are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Who did it: the name of a principal.
    pub actor: String,
    /// The actor's tenant; empty if there is none.
    pub tenant: String,
    /// What was done, such as `model.load`.
    pub action: String,
    /// What kind of thing it was done to, such as `model`; empty if there is none.
    pub resource_kind: String,
    /// The name of that thing.
    pub resource: String,
    /// The address that the request came from; empty if it was done on this machine.
    pub source: String,
    /// `started`, `ok`, `denied` or `failed`.
    pub result: String,
    /// The code of the error, if there was one.
    pub code: String,
    /// How many equal ones the row stands for: denials are counted.
    pub occurrences: i64,
    /// The state before, as canonical JSON; empty if there is none.
    pub state_before: String,
    /// The state after, as canonical JSON; empty if there is none.
    pub state_after: String,
}

/// A row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// 1 for the first, and one more for each after it.
    pub number: i64,
    /// When, by the database's clock, in milliseconds since 1970.
    pub at_ms: i64,
    /// What it says.
    #[serde(flatten)]
    pub entry: AuditEntry,
    /// The hash of the row before.
    pub previous_hash: String,
    /// The hash of everything else in this row.
    pub hash: String,
}

/// Which rows are wanted; empty texts take every row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only this actor's.
    pub actor: String,
    /// Only this tenant's.
    pub tenant: String,
    /// Only this action, and actions whose name begins with it and a full stop.
    pub action: String,
    /// Only those about the resource of this name.
    pub resource: String,
    /// Only those at or after this time, in milliseconds since 1970.
    pub since_ms: i64,
}

impl AuditEntry {
    /// Something that was done once.
    pub fn new(actor: &str, action: &str, result: &str) -> Self {
        Self {
            actor: actor.to_owned(),
            tenant: String::new(),
            action: action.to_owned(),
            resource_kind: String::new(),
            resource: String::new(),
            source: String::new(),
            result: result.to_owned(),
            code: String::new(),
            occurrences: 1,
            state_before: String::new(),
            state_after: String::new(),
        }
    }

    /// The entry about a resource.
    #[must_use]
    pub fn about(self, kind: &str, resource: &str) -> Self {
        Self {
            resource_kind: kind.to_owned(),
            resource: resource.to_owned(),
            ..self
        }
    }

    /// The entry with the state before and after; `null` where there was none.
    #[must_use]
    pub fn with_states(self, before: &Value, after: &Value) -> Self {
        Self {
            state_before: canonical::state(before),
            state_after: canonical::state(after),
            ..self
        }
    }
}

impl Store {
    /// The newest `limit` rows that the filter takes, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn audit(
        &self,
        filter: &AuditFilter,
        limit: i64,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM audit WHERE ($1 = '' OR actor = $1) \
             AND ($2 = '' OR action = $2 OR SUBSTR(action, 1, $3) = $4) \
             AND ($5 = '' OR resource = $5) AND at_ms >= $6 AND ($7 = '' OR tenant = $7) \
             ORDER BY number DESC LIMIT $8"
        );
        let prefix = format!("{}.", filter.action);
        let prefix_length = i64::try_from(prefix.chars().count()).unwrap_or(i64::MAX);
        let query = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(filter.actor.as_str())
            .bind(filter.action.as_str())
            .bind(i32::try_from(prefix_length).unwrap_or(i32::MAX))
            .bind(prefix.as_str())
            .bind(filter.resource.as_str())
            .bind(filter.since_ms)
            .bind(filter.tenant.as_str())
            .bind(limit);
        let rows = query.fetch_all(self.pool()).await?;
        rows.iter().rev().map(record).collect()
    }

    /// Up to `limit` rows from the number `from` on, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] of the database, also where a row cannot be read.
    pub async fn audit_from(&self, from: i64, limit: i64) -> Result<Vec<AuditRecord>, StoreError> {
        let rows = self.audit_rows(from, limit).await?;
        rows.iter().map(record).collect()
    }

    async fn audit_rows(&self, from: i64, limit: i64) -> Result<Vec<AnyRow>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM audit WHERE number >= $1 ORDER BY number LIMIT $2");
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(from).bind(limit);
        Ok(query.fetch_all(self.pool()).await?)
    }

    /// The newest row; the last removed one if there are no others.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn audit_head(&self) -> Result<AuditAnchor, StoreError> {
        let newest = sqlx::query(NEWEST).fetch_optional(self.pool()).await?;
        match newest {
            Some(row) => AuditAnchor::read(&row),
            None => self.audit_removed().await,
        }
    }

    /// The last row that was removed from the front; its number is 0 if none was.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn audit_removed(&self) -> Result<AuditAnchor, StoreError> {
        let row = sqlx::query(REMOVED).fetch_one(self.pool()).await?;
        AuditAnchor::read(&row)
    }
}

const NEWEST: &str = "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1";
const REMOVED: &str = "SELECT number, hash FROM audit_removed";

impl Write {
    /// Adds a row. It is in the log once the change is committed.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn append_audit(&mut self, entry: &AuditEntry) -> Result<AuditAnchor, StoreError> {
        // This change is the only one, so nobody else can add a row after the same one.
        let head = self.audit_head().await?;
        let Some(number) = head.number.checked_add(1) else {
            let problem = "the audit log has a row of the largest number";
            return Err(StoreError::Refused(problem.to_owned()));
        };
        let mut record = AuditRecord {
            number,
            at_ms: self.now_ms(),
            entry: chain::stored(entry),
            previous_hash: head.hash,
            hash: String::new(),
        };
        record.hash = record.computed_hash();
        let sql = format!(
            "INSERT INTO audit ({COLUMNS}) VALUES \
             ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
        );
        let (entry, hash) = (record.entry, record.hash);
        let query = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(record.number)
            .bind(record.at_ms)
            .bind(entry.actor)
            .bind(entry.tenant)
            .bind(entry.action)
            .bind(entry.resource_kind)
            .bind(entry.resource)
            .bind(entry.source)
            .bind(entry.result)
            .bind(entry.code)
            .bind(entry.occurrences)
            .bind(entry.state_before)
            .bind(entry.state_after)
            .bind(record.previous_hash)
            .bind(hash.clone());
        query.execute(self.connection()).await?;
        Ok(AuditAnchor {
            number: record.number,
            hash,
        })
    }

    async fn audit_head(&mut self) -> Result<AuditAnchor, StoreError> {
        let newest = sqlx::query(NEWEST)
            .fetch_optional(self.connection())
            .await?;
        let row = match newest {
            Some(row) => row,
            None => sqlx::query(REMOVED).fetch_one(self.connection()).await?,
        };
        AuditAnchor::read(&row)
    }
}

fn record(row: &AnyRow) -> Result<AuditRecord, StoreError> {
    Ok(AuditRecord {
        number: row.try_get("number")?,
        at_ms: row.try_get("at_ms")?,
        entry: AuditEntry {
            actor: row.try_get("actor")?,
            tenant: row.try_get("tenant")?,
            action: row.try_get("action")?,
            resource_kind: row.try_get("resource_kind")?,
            resource: row.try_get("resource")?,
            source: row.try_get("source")?,
            result: row.try_get("result")?,
            code: row.try_get("code")?,
            occurrences: row.try_get("occurrences")?,
            state_before: row.try_get("state_before")?,
            state_after: row.try_get("state_after")?,
        },
        previous_hash: row.try_get("previous_hash")?,
        hash: row.try_get("hash")?,
    })
}
