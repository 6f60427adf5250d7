//! Contents in the object store, and locations to be cleared.

use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use crate::{Store, StoreError, Write};

/// A content that is in the object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// SHA-256 of its plain bytes, as 64 hexadecimal digits.
    pub digest: String,
    /// Where it is in the object store.
    pub location: String,
    /// Plain bytes.
    pub bytes: i64,
    /// Bytes in the object store: more than the plain bytes if it is encrypted.
    pub stored_bytes: i64,
    /// The wrapped data key, if it is encrypted.
    pub envelope: Option<String>,
}

/// A location that nothing refers to any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Garbage {
    /// Where it is in the object store.
    pub location: String,
    /// The multipart upload to abort, if the object was never finished.
    pub multipart: Option<String>,
}

impl Store {
    /// An object by its digest.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn object(&self, digest: &str) -> Result<Option<Object>, StoreError> {
        by_digest(self.pool(), digest).await
    }

    /// All objects, by digest.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn objects(&self) -> Result<Vec<Object>, StoreError> {
        let sql =
            "SELECT digest, location, bytes, stored_bytes, envelope FROM objects ORDER BY digest";
        sqlx::query(sql)
            .fetch_all(self.pool())
            .await?
            .iter()
            .map(object)
            .collect()
    }

    /// Whether a location belongs to an object, an upload, or the garbage.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn knows_location(&self, location: &str) -> Result<bool, StoreError> {
        let sql = "SELECT location FROM objects WHERE location = $1 \
                   UNION ALL SELECT location FROM uploads WHERE location = $1 \
                   UNION ALL SELECT location FROM garbage WHERE location = $1";
        Ok(sqlx::query(sql)
            .bind(location)
            .fetch_optional(self.pool())
            .await?
            .is_some())
    }

    /// The locations to be cleared.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn garbage(&self) -> Result<Vec<Garbage>, StoreError> {
        let sql = "SELECT location, multipart FROM garbage ORDER BY location";
        sqlx::query(sql)
            .fetch_all(self.pool())
            .await?
            .iter()
            .map(garbage)
            .collect()
    }

    /// Forgets a location that was cleared.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn cleared(&self, location: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM garbage WHERE location = $1")
            .bind(location)
            .execute(self.writing_pool())
            .await?;
        Ok(())
    }
}

impl Write {
    /// An object by its digest, as this change sees it.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn object(&mut self, digest: &str) -> Result<Option<Object>, StoreError> {
        by_digest(self.connection(), digest).await
    }

    /// Adds an object that is complete in the object store.
    ///
    /// # Errors
    /// [`StoreError`] of the database, also if there is one of this digest.
    pub async fn add_object(&mut self, new: &Object) -> Result<(), StoreError> {
        let sql = "INSERT INTO objects (digest, location, bytes, stored_bytes, envelope, touched_ms) \
                   VALUES ($1, $2, $3, $4, $5, $6)";
        let now_ms = self.now_ms();
        let query = sqlx::query(sql)
            .bind(&new.digest)
            .bind(&new.location)
            .bind(new.bytes)
            .bind(new.stored_bytes);
        query
            .bind(new.envelope.clone())
            .bind(now_ms)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Gives an object another wrapping of its data key.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn rewrap(&mut self, digest: &str, envelope: &str) -> Result<(), StoreError> {
        let sql = "UPDATE objects SET envelope = $2 WHERE digest = $1";
        sqlx::query(sql)
            .bind(digest)
            .bind(envelope)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Makes a location garbage.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn discard(&mut self, garbage: &Garbage) -> Result<(), StoreError> {
        let sql = "INSERT INTO garbage (location, multipart) VALUES ($1, $2) ON CONFLICT (location) DO NOTHING";
        let query = sqlx::query(sql)
            .bind(&garbage.location)
            .bind(garbage.multipart.clone());
        query.execute(self.connection()).await?;
        Ok(())
    }

    /// Turns the objects that no version has and no push counts on, untouched for `grace_ms`,
    /// into garbage; gives how many they were and their bytes in the object store.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn collect_objects(&mut self, grace_ms: i64) -> Result<(i64, i64), StoreError> {
        let since_ms = self.now_ms().saturating_sub(grace_ms);
        // `push_objects` holds what a push counts on but no version lists yet.
        let sql = "SELECT location, stored_bytes FROM objects WHERE touched_ms <= $1 \
                   AND NOT EXISTS (SELECT 1 FROM version_files WHERE version_files.digest = objects.digest) \
                   AND NOT EXISTS (SELECT 1 FROM push_objects WHERE push_objects.digest = objects.digest)";
        let rows = sqlx::query(sql)
            .bind(since_ms)
            .fetch_all(self.connection())
            .await?;
        let (mut count, mut bytes) = (0, 0);
        for row in &rows {
            let location: String = row.try_get("location")?;
            sqlx::query("DELETE FROM objects WHERE location = $1")
                .bind(&location)
                .execute(self.connection())
                .await?;
            // The database forgets the object first and the object store is cleared later: a crash
            // in between leaves a location to clear, never a version whose content is gone.
            self.discard(&Garbage {
                location,
                multipart: None,
            })
            .await?;
            count += 1;
            bytes += row.try_get::<i64, _>("stored_bytes")?;
        }
        Ok((count, bytes))
    }
}

async fn by_digest(
    connection: impl Executor<'_, Database = Any>,
    digest: &str,
) -> Result<Option<Object>, StoreError> {
    let sql =
        "SELECT digest, location, bytes, stored_bytes, envelope FROM objects WHERE digest = $1";
    let row = sqlx::query(sql)
        .bind(digest)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(object).transpose()
}

fn garbage(row: &AnyRow) -> Result<Garbage, StoreError> {
    Ok(Garbage {
        location: row.try_get("location")?,
        multipart: row.try_get("multipart")?,
    })
}

fn object(row: &AnyRow) -> Result<Object, StoreError> {
    Ok(Object {
        digest: row.try_get("digest")?,
        location: row.try_get("location")?,
        bytes: row.try_get("bytes")?,
        stored_bytes: row.try_get("stored_bytes")?,
        envelope: row.try_get("envelope")?,
    })
}
