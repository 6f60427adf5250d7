//! The object store: a folder, or a bucket by its URL.

mod open;
mod problem;
mod waits;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};

use self::waits::Waits;
use crate::{Error, Result};

/// Where the contents are, relative to the storage's root.
const OBJECTS: &str = "objects";
/// The object that names the registry that a storage belongs to.
const OWNER: &str = "registry-id";

/// An open object store. An object appears at its location whole or not at all.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    objects: Arc<dyn ObjectStore>,
    /// Where uploads can be resumed.
    multipart: Option<Arc<dyn Resumable>>,
    root: Path,
    /// The folder, where it is one.
    folder: Option<PathBuf>,
    /// The URL or path, for messages.
    shown: String,
    waits: Waits,
}

/// An object store whose multipart uploads outlive a process.
trait Resumable: MultipartStore + std::fmt::Debug {}
impl<T: MultipartStore + std::fmt::Debug> Resumable for T {}

/// An object or unfinished upload at a location.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) location: String,
    pub(crate) modified_ms: i64,
}

impl Storage {
    /// The URL or path, for messages.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Writes a small object.
    pub(crate) async fn put(&self, location: &str, bytes: Bytes) -> Result<()> {
        let written = self
            .objects
            .put(&self.path(location), PutPayload::from_bytes(bytes))
            .await;
        written
            .map(|_| ())
            .map_err(|error| self.problem("write", location, error))
    }

    /// Begins to write a large object in parts. It appears when all parts are complete.
    pub(crate) async fn begin(&self, location: &str) -> Result<Box<dyn MultipartUpload>> {
        let begun = self.objects.put_multipart(&self.path(location)).await;
        begun.map_err(|error| self.problem("write", location, error))
    }

    /// Begins an upload that another process can resume, if the store supports that.
    pub(crate) async fn begin_resumable(&self, location: &str) -> Result<Option<String>> {
        let Some(store) = &self.multipart else {
            return Ok(None);
        };
        let begun = store.create_multipart(&self.path(location)).await;
        begun
            .map(Some)
            .map_err(|error| self.problem("write", location, error))
    }

    /// Writes one part of such an upload and gives the store's id of it.
    pub(crate) async fn put_part(
        &self,
        location: &str,
        id: &str,
        part: usize,
        bytes: Bytes,
    ) -> Result<String> {
        let (store, id) = (self.resumable(location)?, id.to_owned());
        let written = store
            .put_part(
                &self.path(location),
                &id,
                part,
                PutPayload::from_bytes(bytes),
            )
            .await;
        written
            .map(|part| part.content_id)
            .map_err(|error| self.problem("write", location, error))
    }

    /// Makes the object of such an upload appear.
    pub(crate) async fn complete(
        &self,
        location: &str,
        id: &str,
        parts: Vec<String>,
    ) -> Result<()> {
        let (store, id) = (self.resumable(location)?, id.to_owned());
        let parts = parts
            .into_iter()
            .map(|content_id| PartId { content_id })
            .collect();
        let completed = store
            .complete_multipart(&self.path(location), &id, parts)
            .await;
        completed
            .map(|_| ())
            .map_err(|error| self.problem("write", location, error))
    }

    /// Reads a range of an object.
    pub(crate) async fn read(&self, location: &str, range: std::ops::Range<u64>) -> Result<Bytes> {
        let path = self.path(location);
        let read = if self.folder.is_some() {
            self.waits.watch(self.objects.get_range(&path, range)).await
        } else {
            self.stream_range(&path, range).await
        };
        read.map_err(|error| self.problem("read", location, error))
    }

    /// Reads piece by piece, so that a slow store can be told from one that hangs.
    async fn stream_range(
        &self,
        path: &Path,
        range: std::ops::Range<u64>,
    ) -> object_store::Result<Bytes> {
        let mut bytes = BytesMut::new();
        let options = GetOptions {
            range: Some(range.into()),
            ..GetOptions::default()
        };
        let answer = self.waits.watch(self.objects.get_opts(path, options));
        let mut pieces = answer.await?.into_stream();
        while let Some(piece) = self.waits.watch(pieces.try_next()).await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    }

    /// How long the store has been silent to those who wait for it.
    pub(crate) fn silence(&self) -> Option<Duration> {
        self.waits.longest()
    }

    /// The length of an object; none where it does not exist.
    pub(crate) async fn length(&self, location: &str) -> Result<Option<u64>> {
        let path = self.path(location);
        match self.waits.watch(self.objects.head(&path)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => {
                // An answer to HEAD has no body that would tell a missing object from a missing
                // bucket.
                self.reachable().await?;
                Ok(None)
            }
            Err(error) => Err(self.problem("read", location, error)),
        }
    }

    /// Removes an object and the remains of an unfinished upload of it.
    pub(crate) async fn clear(&self, location: &str, multipart: Option<&str>) -> Result<()> {
        let path = self.path(location);
        if let (Some(store), Some(id)) = (&self.multipart, multipart) {
            let aborted = store.abort_multipart(&path, &id.to_owned()).await;
            self.accept_gone(location, aborted)?;
        }
        let deleted = self.objects.delete(&path).await;
        self.accept_gone(location, deleted)?;
        self.clear_staged(&path)
            .map_err(|error| self.file_problem(location, &error))
    }

    /// The outcome of a deletion. A missing object is not an error: an earlier collection may have
    /// stopped between the object store and the database.
    fn accept_gone(&self, location: &str, outcome: object_store::Result<()>) -> Result<()> {
        match outcome {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.problem("delete", location, error)),
        }
    }

    /// Every object under the root of the objects.
    pub(crate) fn list(&self) -> BoxStream<'_, Result<Found>> {
        let found = self.objects.list(Some(&self.path(OBJECTS)));
        // Locations in the database do not have the prefix of the storage URL.
        let skip = if self.root.as_ref().is_empty() {
            0
        } else {
            self.root.as_ref().len() + 1
        };
        let found = found.map_ok(move |meta| Found {
            location: meta
                .location
                .as_ref()
                .get(skip..)
                .unwrap_or_default()
                .to_owned(),
            modified_ms: meta.last_modified.timestamp_millis(),
        });
        Box::pin(found.map_err(|error| self.problem("list", OBJECTS, error)))
    }

    /// The id of the registry that this storage belongs to.
    pub(crate) async fn owner(&self) -> Result<Option<String>> {
        match self.objects.get(&self.path(OWNER)).await {
            Ok(found) => {
                let bytes = found
                    .bytes()
                    .await
                    .map_err(|error| self.problem("read", OWNER, error))?;
                Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()))
            }
            Err(object_store::Error::NotFound { .. }) => {
                self.reachable().await?;
                Ok(None)
            }
            Err(error) => Err(self.problem("read", OWNER, error)),
        }
    }

    /// Makes this storage belong to a registry.
    pub(crate) async fn set_owner(&self, id: &str) -> Result<()> {
        self.put(OWNER, Bytes::from(format!("{id}\n"))).await
    }

    /// Fails if the bucket or folder no longer exists.
    async fn reachable(&self) -> Result<()> {
        if let Some(folder) = &self.folder {
            return std::fs::metadata(folder)
                .map(|_| ())
                .map_err(|error| self.folder_problem(&error));
        }
        let mut found = self.objects.list(Some(&self.path(OWNER)));
        found
            .try_next()
            .await
            .map(|_| ())
            .map_err(|error| self.problem("list", OWNER, error))
    }

    fn path(&self, location: &str) -> Path {
        location
            .split('/')
            .fold(self.root.clone(), |path, part| path.join(part))
    }

    fn resumable(&self, location: &str) -> Result<&Arc<dyn Resumable>> {
        self.multipart.as_ref().ok_or_else(|| {
            Error::new(
                crate::ErrorCode::StorageMismatch,
                format!("{location} was started on another kind of storage"),
            )
        })
    }

    /// Unfinished files of a folder are beside the file that they were meant to become, as
    /// `name#1`.
    fn clear_staged(&self, path: &Path) -> std::io::Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let file = folder.join(path.as_ref());
        let (Some(parent), Some(name)) = (
            file.parent(),
            file.file_name().and_then(|name| name.to_str()),
        ) else {
            return Ok(());
        };
        let entries = match std::fs::read_dir(parent) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries.flatten() {
            let staged = entry.file_name().to_str().is_some_and(|other| {
                other
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('#'))
            });
            if staged {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// A new location for a content. No two uploads share one, so that a failed upload cannot damage
/// another.
pub(crate) fn new_location(digest: &crate::Digest) -> Result<String> {
    let hex = digest.hex();
    Ok(format!(
        "{OBJECTS}/{}/{hex}-{}",
        &hex[..2],
        crate::digest::to_hex(&crate::keys::random::<4>()?)
    ))
}
