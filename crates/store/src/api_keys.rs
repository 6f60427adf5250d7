//! API keys: who may call, as long as the keys live.

use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::{Store, StoreError, Write};

/// An API key. The key itself is stored nowhere.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiKey {
    /// What tells it from all others.
    pub id: String,
    /// The name that people gave it. One that is being replaced and the one that replaces it have
    /// the same.
    pub name: String,
    /// The SHA-256 of the key, in hexadecimal.
    pub digest: String,
    /// The beginning of the key, for people.
    pub hint: String,
    /// The tenant that it belongs to; empty for none.
    pub tenant: String,
    /// Its roles, with their resources.
    pub grants: Value,
    /// When it was created, in milliseconds since 1970.
    pub created_ms: i64,
    /// Who created it.
    pub created_by: String,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: Option<i64>,
    /// When it was revoked, in milliseconds since 1970.
    pub revoked_ms: Option<i64>,
    /// When it was used last, in milliseconds since 1970.
    pub last_used_ms: Option<i64>,
}

const COLUMNS: &str = "id, name, digest, hint, tenant, grants, created_ms, created_by, expires_ms, \
                       revoked_ms, last_used_ms";

impl Store {
    /// The number of changes of the keys so far.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn api_keys_change(&self) -> Result<i64, StoreError> {
        self.check_file()?;
        let row = sqlx::query("SELECT value FROM counters WHERE name = 'api_keys'")
            .fetch_one(self.polling_pool())
            .await?;
        Ok(row.try_get("value")?)
    }

    /// Every key, by name and from the oldest to the newest, also expired and revoked ones.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM api_keys ORDER BY name, created_ms, id");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(api_key).collect()
    }

    /// Notes when keys were used, by their ids, in milliseconds since 1970. An earlier time than the
    /// noted one changes nothing: other servers note theirs too.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn note_api_key_uses(&self, uses: &[(String, i64)]) -> Result<(), StoreError> {
        let sql = "UPDATE api_keys SET last_used_ms = $2 \
                   WHERE id = $1 AND COALESCE(last_used_ms, 0) < $2";
        let mut change = self.begin().await?;
        for (id, used_ms) in uses {
            let query = sqlx::query(sql).bind(id.as_str()).bind(*used_ms);
            query.execute(change.connection()).await?;
        }
        change.commit().await
    }
}

impl Write {
    /// Every key that was not revoked, as this change sees them.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn unrevoked_api_keys(&mut self) -> Result<Vec<ApiKey>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE revoked_ms IS NULL");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(api_key).collect()
    }

    /// How many keys of a tenant open something, as this change sees them.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn valid_api_keys(&mut self, tenant: &str, now_ms: i64) -> Result<usize, StoreError> {
        let sql = "SELECT COUNT(*) AS keys FROM api_keys WHERE tenant = $1 \
                   AND revoked_ms IS NULL AND COALESCE(expires_ms, $2 + 1) > $2";
        let row = sqlx::query(sql)
            .bind(tenant)
            .bind(now_ms)
            .fetch_one(self.connection())
            .await?;
        let count: i64 = row.try_get("keys")?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// The keys of a name, as this change sees them, from the oldest to the newest.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn api_keys_named(&mut self, name: &str) -> Result<Vec<ApiKey>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE name = $1 ORDER BY created_ms, id");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(name)
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(api_key).collect()
    }

    /// Adds a key.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn add_api_key(&mut self, key: &ApiKey) -> Result<(), StoreError> {
        let sql = format!(
            "INSERT INTO api_keys ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(&key.id)
            .bind(&key.name)
            .bind(&key.digest)
            .bind(&key.hint)
            .bind(&key.tenant)
            .bind(key.grants.to_string());
        let query = query
            .bind(key.created_ms)
            .bind(&key.created_by)
            .bind(key.expires_ms)
            .bind(key.revoked_ms)
            .bind(key.last_used_ms);
        query.execute(self.connection()).await?;
        self.count_api_key_change().await
    }

    /// Sets when a key ends, and when it was revoked.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn end_api_key(
        &mut self,
        id: &str,
        expires_ms: Option<i64>,
        revoked_ms: Option<i64>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE api_keys SET expires_ms = $2, revoked_ms = $3 WHERE id = $1";
        let query = sqlx::query(sql).bind(id).bind(expires_ms).bind(revoked_ms);
        query.execute(self.connection()).await?;
        self.count_api_key_change().await
    }

    async fn count_api_key_change(&mut self) -> Result<(), StoreError> {
        sqlx::query("UPDATE counters SET value = value + 1 WHERE name = 'api_keys'")
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

fn api_key(row: &AnyRow) -> Result<ApiKey, StoreError> {
    let grants: String = row.try_get("grants")?;
    Ok(ApiKey {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        digest: row.try_get("digest")?,
        hint: row.try_get("hint")?,
        tenant: row.try_get("tenant")?,
        // Roles that cannot be read permit nothing.
        grants: serde_json::from_str(&grants).unwrap_or(Value::Null),
        created_ms: row.try_get("created_ms")?,
        created_by: row.try_get("created_by")?,
        expires_ms: row.try_get("expires_ms")?,
        revoked_ms: row.try_get("revoked_ms")?,
        last_used_ms: row.try_get("last_used_ms")?,
    })
}
