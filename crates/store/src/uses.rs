//! Which servers use which versions. Versions in use are not deleted.

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::{Store, StoreError, Write};

/// A version that a server says it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The server's own name.
    pub server: String,
    /// The model's name.
    pub model: String,
    /// The version's number.
    pub version: i64,
    /// When it last reported that, in milliseconds since 1970.
    pub reported_ms: i64,
}

impl Store {
    /// What was reported in the last `within_ms`.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn uses(&self, within_ms: i64) -> Result<Vec<Use>, StoreError> {
        let since_ms = self.clock_ms().await?.saturating_sub(within_ms);
        let sql = "SELECT server, model, version, reported_ms FROM uses WHERE reported_ms >= $1 \
                   ORDER BY model, version, server";
        sqlx::query(sql)
            .bind(since_ms)
            .fetch_all(self.pool())
            .await?
            .iter()
            .map(one)
            .collect()
    }
}

impl Write {
    /// Replaces all that a server has reported, and forgets what nobody renewed in the last
    /// `within_ms`.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn report_uses(
        &mut self,
        server: &str,
        versions: &[(String, i64)],
        within_ms: i64,
    ) -> Result<(), StoreError> {
        let now_ms = self.now_ms();
        // A server that is gone cannot take its report back: the reports of others clear it away.
        let sql = "DELETE FROM uses WHERE server = $1 OR reported_ms < $2";
        sqlx::query(sql)
            .bind(server)
            .bind(now_ms.saturating_sub(within_ms))
            .execute(self.connection())
            .await?;
        for (model, version) in versions {
            let sql =
                "INSERT INTO uses (server, model, version, reported_ms) VALUES ($1, $2, $3, $4)";
            let query = sqlx::query(sql)
                .bind(server)
                .bind(model)
                .bind(*version)
                .bind(now_ms);
            query.execute(self.connection()).await?;
        }
        Ok(())
    }

    /// The servers that reported a version in the last `within_ms`.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn users_of(
        &mut self,
        model: &str,
        version: i64,
        within_ms: i64,
    ) -> Result<Vec<String>, StoreError> {
        let since_ms = self.now_ms().saturating_sub(within_ms);
        let sql = "SELECT server FROM uses WHERE model = $1 AND version = $2 AND reported_ms >= $3 ORDER BY server";
        let query = sqlx::query(sql).bind(model).bind(version).bind(since_ms);
        let rows = query.fetch_all(self.connection()).await?;
        rows.iter().map(|row| Ok(row.try_get("server")?)).collect()
    }
}

fn one(row: &AnyRow) -> Result<Use, StoreError> {
    Ok(Use {
        server: row.try_get("server")?,
        model: row.try_get("model")?,
        version: row.try_get("version")?,
        reported_ms: row.try_get("reported_ms")?,
    })
}
