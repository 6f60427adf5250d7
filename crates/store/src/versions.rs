//! Models and their versions, with the files and signatures of versions.

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use crate::error::unknown;
use crate::{Store, StoreError, Write};

/// The state of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VersionState {
    /// It may be served.
    Ready,
    /// It may be served, and its owner asks to stop doing so.
    Deprecated,
    /// It is deleted; its number is not used again.
    Deleted,
}

impl VersionState {
    /// The name in the database and in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Deprecated => "deprecated",
            Self::Deleted => "deleted",
        }
    }

    fn from_name(name: &str) -> Result<Self, StoreError> {
        let all = [Self::Ready, Self::Deprecated, Self::Deleted];
        all.into_iter()
            .find(|state| state.name() == name)
            .ok_or_else(|| unknown("state", name))
    }
}

/// A version, without its files.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// The model's name.
    pub model: String,
    /// Its number, from 1.
    pub number: i64,
    /// SHA-256 of its list of files, as 64 hexadecimal digits.
    pub digest: String,
    /// Its state.
    pub state: VersionState,
    /// Why it is deprecated.
    pub reason: String,
    /// Its `model.toml`, as JSON.
    pub manifest: String,
    /// All its files together, in bytes.
    pub bytes: i64,
    /// Who pushed it.
    pub pushed_by: String,
    /// When, in milliseconds since 1970.
    pub pushed_ms: i64,
}

/// The highest number of a version: the largest that every reader of JSON takes as it is.
pub const MAX_VERSION: i64 = 1 << 53;

/// One file of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionFile {
    /// Relative to the bundle, with `/` between folders.
    pub path: String,
    /// SHA-256 of its content, as 64 hexadecimal digits.
    pub digest: String,
    /// Its length.
    pub bytes: i64,
}

/// A signature of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The id of the key that made it.
    pub key_id: String,
    /// The signature, as hexadecimal digits.
    pub signature: String,
    /// When, in milliseconds since 1970.
    pub signed_ms: i64,
}

impl Store {
    /// The versions of a model, or of all, in order, without deleted ones.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn versions(&self, model: Option<&str>) -> Result<Vec<Version>, StoreError> {
        let sql = "SELECT model, number, digest, state, reason, manifest, bytes, pushed_by, pushed_ms FROM versions \
                   WHERE state <> 'deleted' AND (CAST($1 AS TEXT) IS NULL OR model = $1) ORDER BY model, number";
        let rows = sqlx::query(sql)
            .bind(model.map(str::to_owned))
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(version).collect()
    }

    /// The numbers of a model's versions that are not deleted, ascending.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn version_numbers(&self, model: &str) -> Result<Vec<i64>, StoreError> {
        let sql =
            "SELECT number FROM versions WHERE model = $1 AND state <> 'deleted' ORDER BY number";
        let rows = sqlx::query(sql).bind(model).fetch_all(self.pool()).await?;
        rows.iter().map(|row| Ok(row.try_get("number")?)).collect()
    }

    /// One version, also where it is deleted.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn version(&self, model: &str, number: i64) -> Result<Option<Version>, StoreError> {
        by_number(self.pool(), model, number).await
    }

    /// The files of a version, by path.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn files(&self, model: &str, number: i64) -> Result<Vec<VersionFile>, StoreError> {
        let sql = "SELECT path, digest, bytes FROM version_files WHERE model = $1 AND number = $2 ORDER BY path";
        let rows = sqlx::query(sql)
            .bind(model)
            .bind(number)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(file).collect()
    }

    /// The signatures of a version.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn signatures(&self, model: &str, number: i64) -> Result<Vec<Signature>, StoreError> {
        let sql = "SELECT key_id, signature, signed_ms FROM signatures WHERE model = $1 AND number = $2 \
                   ORDER BY signed_ms, key_id";
        let rows = sqlx::query(sql)
            .bind(model)
            .bind(number)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(signature).collect()
    }
}

impl Write {
    /// One version, as this change sees it, even if it is deleted.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn version(
        &mut self,
        model: &str,
        number: i64,
    ) -> Result<Option<Version>, StoreError> {
        by_number(self.connection(), model, number).await
    }

    /// The version of a model that has this digest and is not deleted.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn version_by_digest(
        &mut self,
        model: &str,
        digest: &str,
    ) -> Result<Option<Version>, StoreError> {
        let sql = "SELECT model, number, digest, state, reason, manifest, bytes, pushed_by, pushed_ms FROM versions \
                   WHERE model = $1 AND digest = $2 AND state <> 'deleted'";
        let row = sqlx::query(sql)
            .bind(model)
            .bind(digest)
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(version).transpose()
    }

    /// The number that the model's next version gets.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn next_version(&mut self, model: &str) -> Result<i64, StoreError> {
        let sql =
            "INSERT INTO models (name, next_version) VALUES ($1, 1) ON CONFLICT (name) DO NOTHING";
        sqlx::query(sql)
            .bind(model)
            .execute(self.connection())
            .await?;
        let sql = "SELECT next_version FROM models WHERE name = $1";
        Ok(sqlx::query(sql)
            .bind(model)
            .fetch_one(self.connection())
            .await?
            .try_get("next_version")?)
    }

    /// Adds a version with its files, whose objects must exist. Its number must be free; later
    /// versions get larger ones.
    ///
    /// # Errors
    /// [`StoreError`] of the database, also if an object is missing.
    pub async fn add_version(
        &mut self,
        new: &Version,
        files: &[VersionFile],
    ) -> Result<(), StoreError> {
        // An import may bring a higher number than the next one. Numbers only go up, so that one is
        // never given to two contents.
        if !(1..=MAX_VERSION).contains(&new.number) {
            let problem = format!("version numbers are 1 to {MAX_VERSION}, not {}", new.number);
            return Err(StoreError::Refused(problem));
        }
        // The counter only grows, so that the number of a deleted version is never given again.
        let next = self.next_version(&new.model).await?.max(new.number + 1);
        let sql = "UPDATE models SET next_version = $2 WHERE name = $1";
        sqlx::query(sql)
            .bind(&new.model)
            .bind(next)
            .execute(self.connection())
            .await?;
        let sql = "INSERT INTO versions (model, number, digest, state, reason, manifest, bytes, pushed_by, pushed_ms) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let query = sqlx::query(sql)
            .bind(&new.model)
            .bind(new.number)
            .bind(&new.digest)
            .bind(new.state.name());
        let query = query
            .bind(&new.reason)
            .bind(&new.manifest)
            .bind(new.bytes)
            .bind(&new.pushed_by);
        query.bind(new.pushed_ms).execute(self.connection()).await?;
        for file in files {
            let sql = "INSERT INTO version_files (model, number, path, digest, bytes) VALUES ($1, $2, $3, $4, $5)";
            let query = sqlx::query(sql)
                .bind(&new.model)
                .bind(new.number)
                .bind(&file.path)
                .bind(&file.digest);
            query.bind(file.bytes).execute(self.connection()).await?;
        }
        Ok(())
    }

    /// Adds or renews a signature.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn add_signature(
        &mut self,
        model: &str,
        number: i64,
        new: &Signature,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO signatures (model, number, key_id, signature, signed_ms) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (model, number, key_id) \
                   DO UPDATE SET signature = excluded.signature, signed_ms = excluded.signed_ms";
        let query = sqlx::query(sql)
            .bind(model)
            .bind(number)
            .bind(&new.key_id)
            .bind(&new.signature);
        query.bind(new.signed_ms).execute(self.connection()).await?;
        Ok(())
    }

    /// Sets the state of a version. A deleted one loses its files and signatures.
    ///
    /// # Errors
    /// [`StoreError`] of the database, also if an alias still points at a version to be deleted.
    pub async fn set_state(
        &mut self,
        model: &str,
        number: i64,
        state: VersionState,
        reason: &str,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE versions SET state = $3, reason = $4 WHERE model = $1 AND number = $2";
        let query = sqlx::query(sql)
            .bind(model)
            .bind(number)
            .bind(state.name())
            .bind(reason);
        query.execute(self.connection()).await?;
        if state != VersionState::Deleted {
            return Ok(());
        }
        // The grace period of garbage collection begins with the deletion, not with the upload. It
        // must come before the files are deleted, as it finds the objects by them.
        let now_ms = self.now_ms();
        let touch = "UPDATE objects SET touched_ms = $3 WHERE digest IN \
                     (SELECT digest FROM version_files WHERE model = $1 AND number = $2)";
        sqlx::query(touch)
            .bind(model)
            .bind(number)
            .bind(now_ms)
            .execute(self.connection())
            .await?;
        for sql in [
            "DELETE FROM version_files WHERE model = $1 AND number = $2",
            "DELETE FROM signatures WHERE model = $1 AND number = $2",
        ] {
            sqlx::query(sql)
                .bind(model)
                .bind(number)
                .execute(self.connection())
                .await?;
        }
        Ok(())
    }
}

async fn by_number(
    connection: impl Executor<'_, Database = Any>,
    model: &str,
    number: i64,
) -> Result<Option<Version>, StoreError> {
    let sql = "SELECT model, number, digest, state, reason, manifest, bytes, pushed_by, pushed_ms FROM versions \
               WHERE model = $1 AND number = $2";
    let row = sqlx::query(sql)
        .bind(model)
        .bind(number)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(version).transpose()
}

fn file(row: &AnyRow) -> Result<VersionFile, StoreError> {
    Ok(VersionFile {
        path: row.try_get("path")?,
        digest: row.try_get("digest")?,
        bytes: row.try_get("bytes")?,
    })
}

fn signature(row: &AnyRow) -> Result<Signature, StoreError> {
    Ok(Signature {
        key_id: row.try_get("key_id")?,
        signature: row.try_get("signature")?,
        signed_ms: row.try_get("signed_ms")?,
    })
}

fn version(row: &AnyRow) -> Result<Version, StoreError> {
    Ok(Version {
        model: row.try_get("model")?,
        number: row.try_get("number")?,
        digest: row.try_get("digest")?,
        state: VersionState::from_name(row.try_get("state")?)?,
        reason: row.try_get("reason")?,
        manifest: row.try_get("manifest")?,
        bytes: row.try_get("bytes")?,
        pushed_by: row.try_get("pushed_by")?,
        pushed_ms: row.try_get("pushed_ms")?,
    })
}
