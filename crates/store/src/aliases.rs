//! Movable names of versions, and where each of them has pointed.

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use crate::error::unknown;
use crate::{Store, StoreError, Write};

/// Where an alias points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The model's name.
    pub model: String,
    /// The alias, such as `champion`.
    pub name: String,
    /// The version's number.
    pub version: i64,
}

/// Why an alias moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveCause {
    /// Somebody set it.
    Set,
    /// It went back to an earlier version.
    Rollback,
    /// It was removed.
    Remove,
}

impl MoveCause {
    /// The name in the database and in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Rollback => "rollback",
            Self::Remove => "remove",
        }
    }
}

/// One move of an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasMove {
    /// The number of the change.
    pub change: i64,
    /// The version that it points to since then; `None` if it was removed.
    pub version: Option<i64>,
    /// The cause of the move.
    pub cause: MoveCause,
    /// Who moved it.
    pub actor: String,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

impl Store {
    /// The aliases of a model, or of all, in order.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn aliases(&self, model: Option<&str>) -> Result<Vec<Alias>, StoreError> {
        let sql = "SELECT model, name, version FROM aliases \
                   WHERE CAST($1 AS TEXT) IS NULL OR model = $1 ORDER BY model, name";
        let rows = sqlx::query(sql)
            .bind(model.map(str::to_owned))
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(alias).collect()
    }

    /// Where an alias points.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn alias(&self, model: &str, name: &str) -> Result<Option<i64>, StoreError> {
        target(self.pool(), model, name).await
    }

    /// Every move of an alias, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn alias_moves(&self, model: &str, name: &str) -> Result<Vec<AliasMove>, StoreError> {
        moves(self.pool(), model, name).await
    }
}

impl Write {
    /// Where an alias points, as this change sees it.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn alias(&mut self, model: &str, name: &str) -> Result<Option<i64>, StoreError> {
        target(self.connection(), model, name).await
    }

    /// Every move of an alias, oldest first, as this change sees it.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn alias_moves(
        &mut self,
        model: &str,
        name: &str,
    ) -> Result<Vec<AliasMove>, StoreError> {
        moves(self.connection(), model, name).await
    }

    /// The aliases that point at a version.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn aliases_of(
        &mut self,
        model: &str,
        version: i64,
    ) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT name FROM aliases WHERE model = $1 AND version = $2 ORDER BY name";
        let rows = sqlx::query(sql)
            .bind(model)
            .bind(version)
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(|row| Ok(row.try_get("name")?)).collect()
    }

    /// Points an alias at a version, or removes it, as part of the recorded change `change`.
    ///
    /// # Errors
    /// [`StoreError`] of the database, also if there is no such version.
    pub async fn move_alias(
        &mut self,
        model: &str,
        name: &str,
        version: Option<i64>,
        cause: MoveCause,
        change: i64,
    ) -> Result<(), StoreError> {
        match version {
            None => {
                let sql = "DELETE FROM aliases WHERE model = $1 AND name = $2";
                sqlx::query(sql)
                    .bind(model)
                    .bind(name)
                    .execute(self.connection())
                    .await?;
            }
            Some(version) => {
                let sql = "INSERT INTO aliases (model, name, version) VALUES ($1, $2, $3) \
                           ON CONFLICT (model, name) DO UPDATE SET version = excluded.version";
                sqlx::query(sql)
                    .bind(model)
                    .bind(name)
                    .bind(version)
                    .execute(self.connection())
                    .await?;
            }
        }
        let sql = "INSERT INTO alias_moves (change, model, name, version, cause, actor, at_ms) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let (actor, now_ms) = (self.actor().to_owned(), self.now_ms());
        let query = sqlx::query(sql)
            .bind(change)
            .bind(model)
            .bind(name)
            .bind(version)
            .bind(cause.name());
        query
            .bind(actor)
            .bind(now_ms)
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

async fn target(
    connection: impl Executor<'_, Database = Any>,
    model: &str,
    name: &str,
) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT version FROM aliases WHERE model = $1 AND name = $2";
    let row = sqlx::query(sql)
        .bind(model)
        .bind(name)
        .fetch_optional(connection)
        .await?;
    row.map(|row| row.try_get("version").map_err(StoreError::from))
        .transpose()
}

async fn moves(
    connection: impl Executor<'_, Database = Any>,
    model: &str,
    name: &str,
) -> Result<Vec<AliasMove>, StoreError> {
    let sql = "SELECT change, version, cause, actor, at_ms FROM alias_moves \
               WHERE model = $1 AND name = $2 ORDER BY change";
    let rows = sqlx::query(sql)
        .bind(model)
        .bind(name)
        .fetch_all(connection)
        .await?;
    rows.iter().map(alias_move).collect()
}

fn alias(row: &AnyRow) -> Result<Alias, StoreError> {
    Ok(Alias {
        model: row.try_get("model")?,
        name: row.try_get("name")?,
        version: row.try_get("version")?,
    })
}

fn alias_move(row: &AnyRow) -> Result<AliasMove, StoreError> {
    let cause: String = row.try_get("cause")?;
    let all = [MoveCause::Set, MoveCause::Rollback, MoveCause::Remove];
    Ok(AliasMove {
        change: row.try_get("change")?,
        version: row.try_get("version")?,
        cause: all
            .into_iter()
            .find(|known| known.name() == cause)
            .ok_or_else(|| unknown("cause", &cause))?,
        actor: row.try_get("actor")?,
        at_ms: row.try_get("at_ms")?,
    })
}
