//! Data sets: what there is, and where its file is.

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::{Store, StoreError, Write};

const COLUMNS: &str = "name, version, digest, row_count, label_count, bytes, place, place_id, \
                       created_by, created_ms, deleted_ms, manifest";

/// One version of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Its name.
    pub name: String,
    /// Its number, from 1. The number of a deleted one is not given again.
    pub version: i64,
    /// The SHA-256 of its file, in hexadecimal digits.
    pub digest: String,
    /// Rows.
    pub rows: i64,
    /// Rows that have a label.
    pub labels: i64,
    /// What the file takes, in bytes.
    pub bytes: i64,
    /// The path of the data folder that has the file.
    pub place: String,
    /// The id of that folder; empty for data sets of earlier releases.
    pub place_id: String,
    /// Who made it.
    pub created_by: String,
    /// When, in milliseconds since 1970.
    pub created_ms: i64,
    /// When its file was removed, in milliseconds since 1970.
    pub deleted_ms: Option<i64>,
    /// Its columns and lineage, as JSON.
    pub manifest: String,
}

/// A data folder.
#[derive(Clone, Copy, Debug)]
pub struct DatasetPlace<'a> {
    /// Its path, for people. That of another machine may be the same.
    pub path: &'a str,
    /// Its id.
    pub id: &'a str,
}

/// A data set that is to be added.
#[derive(Clone, Copy, Debug)]
pub struct NewDataset<'a> {
    /// Its name.
    pub name: &'a str,
    /// The SHA-256 of its file, in hexadecimal digits.
    pub digest: &'a str,
    /// Rows.
    pub rows: i64,
    /// Rows that have a label.
    pub labels: i64,
    /// What the file takes, in bytes.
    pub bytes: i64,
    /// The data folder that has the file.
    pub place: DatasetPlace<'a>,
    /// Its columns and lineage, as JSON.
    pub manifest: &'a str,
}

impl Dataset {
    /// Whether its file is in a folder. That of an earlier release is where its path is.
    pub fn is_in(&self, place: DatasetPlace<'_>) -> bool {
        match self.place_id.as_str() {
            "" => self.place == place.path,
            id => id == place.id,
        }
    }

    /// `fraud@3`.
    pub fn reference(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

impl Store {
    /// The data sets of a name, or all, by name and version; without those that were deleted.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn datasets(&self, name: Option<&str>) -> Result<Vec<Dataset>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM datasets WHERE deleted_ms IS NULL AND ($1 = '' OR name = $1) \
             ORDER BY name, version"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(name.unwrap_or_default())
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(dataset).collect()
    }

    /// One data set, deleted or not.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn dataset(&self, name: &str, version: i64) -> Result<Option<Dataset>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM datasets WHERE name = $1 AND version = $2");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(name)
            .bind(version)
            .fetch_optional(self.pool())
            .await?;
        row.as_ref().map(dataset).transpose()
    }

    /// Whether a data folder still needs the file of a digest.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn needs_dataset(
        &self,
        place: DatasetPlace<'_>,
        digest: &str,
    ) -> Result<bool, StoreError> {
        let sql = "SELECT name FROM datasets WHERE digest = $3 AND deleted_ms IS NULL \
                   AND (place_id = $1 OR (place_id = '' AND place = $2)) LIMIT 1";
        let row = sqlx::query(sql)
            .bind(place.id)
            .bind(place.path)
            .bind(digest)
            .fetch_optional(self.pool())
            .await?;
        Ok(row.is_some())
    }
}

impl Write {
    /// Adds a data set under the next number of its name, and says whether it is new: the same content
    /// again is the data set that there is.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn add_dataset(
        &mut self,
        new: NewDataset<'_>,
    ) -> Result<(Dataset, bool), StoreError> {
        if let Some(found) = self.dataset_by_digest(new.name, new.digest).await? {
            return Ok((found, false));
        }
        let added = Dataset {
            name: new.name.to_owned(),
            version: self.last_dataset(new.name).await? + 1,
            digest: new.digest.to_owned(),
            rows: new.rows,
            labels: new.labels,
            bytes: new.bytes,
            place: new.place.path.to_owned(),
            place_id: new.place.id.to_owned(),
            created_by: self.actor().to_owned(),
            created_ms: self.now_ms(),
            deleted_ms: None,
            manifest: new.manifest.to_owned(),
        };
        let sql = format!(
            "INSERT INTO datasets ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL, $11)"
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(&added.name)
            .bind(added.version)
            .bind(&added.digest)
            .bind(added.rows)
            .bind(added.labels);
        let query = query
            .bind(added.bytes)
            .bind(&added.place)
            .bind(&added.place_id)
            .bind(&added.created_by)
            .bind(added.created_ms)
            .bind(&added.manifest);
        query.execute(self.connection()).await?;
        Ok((added, true))
    }

    /// Marks a data set as deleted; whether it was there.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn delete_dataset(&mut self, name: &str, version: i64) -> Result<bool, StoreError> {
        let now_ms = self.now_ms();
        let sql = "UPDATE datasets SET deleted_ms = $3 \
                   WHERE name = $1 AND version = $2 AND deleted_ms IS NULL";
        let done = sqlx::query(sql)
            .bind(name)
            .bind(version)
            .bind(now_ms)
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    async fn dataset_by_digest(
        &mut self,
        name: &str,
        digest: &str,
    ) -> Result<Option<Dataset>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM datasets WHERE name = $1 AND digest = $2 AND deleted_ms IS NULL"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(name)
            .bind(digest)
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(dataset).transpose()
    }

    async fn last_dataset(&mut self, name: &str) -> Result<i64, StoreError> {
        let sql = "SELECT COALESCE(MAX(version), 0) AS version FROM datasets WHERE name = $1";
        let row = sqlx::query(sql)
            .bind(name)
            .fetch_one(self.connection())
            .await?;
        Ok(row.try_get("version")?)
    }
}

fn dataset(row: &AnyRow) -> Result<Dataset, StoreError> {
    Ok(Dataset {
        name: row.try_get("name")?,
        version: row.try_get("version")?,
        digest: row.try_get("digest")?,
        rows: row.try_get("row_count")?,
        labels: row.try_get("label_count")?,
        bytes: row.try_get("bytes")?,
        place: row.try_get("place")?,
        place_id: row.try_get("place_id")?,
        created_by: row.try_get("created_by")?,
        created_ms: row.try_get("created_ms")?,
        deleted_ms: row.try_get("deleted_ms")?,
        manifest: row.try_get("manifest")?,
    })
}
