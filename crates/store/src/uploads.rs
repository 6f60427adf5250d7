//! Objects on their way into the object store.

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::{Garbage, Store, StoreError, Write};

/// An upload that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Where the object will be.
    pub location: String,
    /// SHA-256 of its plain bytes, as 64 hexadecimal digits.
    pub digest: String,
    /// Plain bytes.
    pub bytes: i64,
    /// The wrapped data key, if it is encrypted.
    pub envelope: Option<String>,
    /// The object store's name of the multipart upload; `None` if it cannot be resumed.
    pub multipart: Option<String>,
    /// Plain bytes in each part but the last.
    pub part_bytes: i64,
}

impl Store {
    /// The parts of an upload that are in the object store, as `(number from 0, the object store's
    /// id)`.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn upload_parts(&self, location: &str) -> Result<Vec<(i64, String)>, StoreError> {
        let sql = "SELECT part, content_id FROM upload_parts WHERE location = $1 ORDER BY part";
        let rows = sqlx::query(sql)
            .bind(location)
            .fetch_all(self.pool())
            .await?;
        rows.iter()
            .map(|row| Ok((row.try_get("part")?, row.try_get("content_id")?)))
            .collect()
    }

    /// Records that a part is in the object store.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn add_upload_part(
        &self,
        location: &str,
        part: i64,
        content_id: &str,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO upload_parts (location, part, content_id) VALUES ($1, $2, $3) \
                   ON CONFLICT (location, part) DO UPDATE SET content_id = excluded.content_id";
        sqlx::query(sql)
            .bind(location)
            .bind(part)
            .bind(content_id)
            .execute(self.writing_pool())
            .await?;
        Ok(())
    }
}

impl Write {
    /// Records an upload before its first byte is sent, so that it can be removed even if the
    /// process ends.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn begin_upload(&mut self, push: &str, new: &Upload) -> Result<(), StoreError> {
        let sql = "INSERT INTO uploads (location, digest, bytes, envelope, multipart, part_bytes, push, alive_ms) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let query = sqlx::query(sql)
            .bind(&new.location)
            .bind(&new.digest)
            .bind(new.bytes);
        let query = query
            .bind(new.envelope.clone())
            .bind(new.multipart.clone())
            .bind(new.part_bytes);
        let now_ms = self.now_ms();
        query
            .bind(push)
            .bind(now_ms)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Takes over a resumable upload of a content, whose push is no longer in progress.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn adopt_upload(
        &mut self,
        push: &str,
        digest: &str,
    ) -> Result<Option<Upload>, StoreError> {
        // The newest one first: object stores may remove old unfinished uploads by rules of their
        // own.
        let sql = "SELECT location, digest, bytes, envelope, multipart, part_bytes FROM uploads \
                   WHERE digest = $1 AND multipart IS NOT NULL \
                   AND NOT EXISTS (SELECT 1 FROM pushes WHERE pushes.id = uploads.push) ORDER BY alive_ms DESC";
        let row = sqlx::query(sql)
            .bind(digest)
            .fetch_optional(self.connection())
            .await?;
        let Some(upload) = row.as_ref().map(upload).transpose()? else {
            return Ok(None);
        };
        let now_ms = self.now_ms();
        let sql = "UPDATE uploads SET push = $2, alive_ms = $3 WHERE location = $1";
        let query = sqlx::query(sql)
            .bind(&upload.location)
            .bind(push)
            .bind(now_ms);
        query.execute(self.connection()).await?;
        Ok(Some(upload))
    }

    /// Whether an upload is still known, and so may become an object.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn knows_upload(&mut self, location: &str) -> Result<bool, StoreError> {
        let query = sqlx::query("SELECT location FROM uploads WHERE location = $1").bind(location);
        Ok(query.fetch_optional(self.connection()).await?.is_some())
    }

    /// Removes an upload that became an object or was aborted.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn end_upload(&mut self, location: &str) -> Result<(), StoreError> {
        for sql in [
            "DELETE FROM upload_parts WHERE location = $1",
            "DELETE FROM uploads WHERE location = $1",
        ] {
            sqlx::query(sql)
                .bind(location)
                .execute(self.connection())
                .await?;
        }
        Ok(())
    }

    /// Turns the uploads without a push that gave no sign of life for `grace_ms` into garbage;
    /// gives how many.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn collect_uploads(&mut self, grace_ms: i64) -> Result<i64, StoreError> {
        let since_ms = self.now_ms().saturating_sub(grace_ms);
        let sql = "SELECT location, digest, bytes, envelope, multipart, part_bytes FROM uploads \
                   WHERE alive_ms <= $1 AND NOT EXISTS (SELECT 1 FROM pushes WHERE pushes.id = uploads.push)";
        let rows = sqlx::query(sql)
            .bind(since_ms)
            .fetch_all(self.connection())
            .await?;
        let mut count = 0;
        for row in &rows {
            let Upload {
                location,
                multipart,
                ..
            } = upload(row)?;
            // Out of the list of uploads and into that of garbage in one transaction: a location
            // that is in neither would be left in the object store until it is found as a stray.
            self.end_upload(&location).await?;
            self.discard(&Garbage {
                location,
                multipart,
            })
            .await?;
            count += 1;
        }
        Ok(count)
    }
}

fn upload(row: &AnyRow) -> Result<Upload, StoreError> {
    Ok(Upload {
        location: row.try_get("location")?,
        digest: row.try_get("digest")?,
        bytes: row.try_get("bytes")?,
        envelope: row.try_get("envelope")?,
        multipart: row.try_get("multipart")?,
        part_bytes: row.try_get("part_bytes")?,
    })
}
