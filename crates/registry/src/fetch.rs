//! Reading contents from the object store, with checks, and versions into the cache.

use std::io::Write;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tidegate_store::Object;
use tokio::task::JoinHandle;

use crate::cache::CachedVersion;
use crate::digest::Hasher;
use crate::encryption::{CHUNK, Cipher, TRAILER, stored_chunks, stored_length};
use crate::push::blocking;
use crate::{Digest, Error, ErrorCode, Registry, Result, VersionRecord};

/// Stored bytes in one request.
const RANGE_BYTES: u64 = 8 << 20;
/// Chunks in one request for an encrypted object.
const RANGE_CHUNKS: u64 = 128;
/// Requests for one object at once.
const RANGES_IN_FLIGHT: usize = 4;

impl Registry {
    /// The folder of a version's files: from the cache, filled from the object store where needed.
    /// Everything is verified: the signatures against the keys and the policy, the list of files
    /// against the version's digest, the files against theirs. What is returned stays in the cache
    /// as long as the value lives.
    ///
    /// # Errors
    /// [`Error`] says which check failed, or what cannot be reached.
    pub async fn fetch(&self, version: &VersionRecord) -> Result<CachedVersion> {
        let entry = self.entry(version).await?;
        // Before the first byte is fetched: a version that is not trusted takes no space in the
        // cache.
        self.cache.accept(&entry)?;
        let mut filling = match self.cache.begin(&entry).await? {
            crate::cache::Begun::There(there) => return Ok(there),
            crate::cache::Begun::Fill(filling) => filling,
        };
        // One file after the other: a single one already reads several ranges at once.
        for file in &entry.files {
            let digest: Digest = file.digest.parse()?;
            let written = self
                .read_content(&digest, filling.create(&file.path)?)
                .await?;
            filling.keep(&file.path, written).await?;
        }
        filling.finish().await
    }

    /// A version that is in the cache already, verified as by [`Registry::fetch`]. The object store
    /// is not asked.
    ///
    /// # Errors
    /// Those of [`Registry::fetch`].
    pub async fn cached(&self, version: &VersionRecord) -> Result<Option<CachedVersion>> {
        let entry = self.entry(version).await?;
        self.cache.accept(&entry)?;
        self.cache.find(&entry).await
    }

    /// The object store, and how long it has been silent to those who wait for it now.
    pub fn storage_silence(&self) -> Option<(&str, Duration)> {
        let silence = self.storage.silence()?;
        Some((self.storage.shown(), silence))
    }

    /// Writes a content, decrypted and verified; an error leaves the writer with what came before
    /// it.
    pub(crate) async fn read_content<W: Write + Send + 'static>(
        &self,
        digest: &Digest,
        writer: W,
    ) -> Result<W> {
        let Some(object) = self.store.object(&digest.hex()).await? else {
            return Err(Error::new(
                ErrorCode::ObjectMissing,
                format!("{digest} is not in the database"),
            ));
        };
        match self.read_object(&object, digest, writer).await {
            Err(error) if error.code == ErrorCode::ObjectCorrupt => {
                Err(self.diagnose(&object, digest, error).await)
            }
            outcome => outcome,
        }
    }

    async fn read_object<W: Write + Send + 'static>(
        &self,
        object: &Object,
        digest: &Digest,
        writer: W,
    ) -> Result<W> {
        let plain = u64::try_from(object.bytes).unwrap_or(0);
        let cipher = match &object.envelope {
            None => None,
            Some(envelope) => Some(self.keyring.open_envelope(envelope, digest).await?),
        };
        let stored = if cipher.is_some() {
            stored_length(plain)
        } else {
            plain
        };
        self.check_length(object, digest, stored).await?;
        let (length, step) = match &cipher {
            None => (plain, RANGE_BYTES),
            Some(_) => (stored_chunks(plain), RANGE_CHUNKS * (CHUNK as u64 + 16)),
        };
        let ranges: Vec<_> = (0..length.div_ceil(step))
            .map(|at| at * step..length.min((at + 1) * step))
            .collect();
        let count = ranges.len();
        let mut pieces = stream::iter(ranges)
            .map(|range| self.start_reading(&object.location, range))
            .buffered(RANGES_IN_FLIGHT);
        let (mut sink, mut at) = (
            Sink {
                hasher: Hasher::default(),
                cipher,
                writer,
                digest: *digest,
            },
            0,
        );
        while let Some(piece) = pieces.next().await {
            let piece =
                piece.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
            at += 1;
            let end = at == count;
            sink = blocking(move || {
                // Only an encrypted content needs the number of its first chunk.
                sink.take((at as u64 - 1) * RANGE_CHUNKS, piece, end)?;
                Ok(sink)
            })
            .await?;
        }
        sink.finish()
    }

    /// Compares lengths before the first byte is read: a truncated object is found at no cost.
    async fn check_length(&self, object: &Object, digest: &Digest, stored: u64) -> Result<()> {
        let Some(found) = self.storage.length(&object.location).await? else {
            let problem = format!(
                "{digest} is not at {} in {}",
                object.location,
                self.storage.shown()
            );
            return Err(Error::new(ErrorCode::ObjectMissing, problem));
        };
        if found == stored {
            return Ok(());
        }
        let problem = format!(
            "{digest} has {found} bytes in {} and not {stored}",
            self.storage.shown()
        );
        Err(Error::new(ErrorCode::ObjectCorrupt, problem))
    }

    /// Reads in a task of its own: bytes arrive while the ones before are decrypted and written.
    fn start_reading(&self, location: &str, range: Range<u64>) -> JoinHandle<Result<Bytes>> {
        let (storage, location) = (self.storage.clone(), location.to_owned());
        tokio::spawn(async move { storage.read(&location, range).await })
    }

    /// The error for a wrong content: it is that of another object, or damaged.
    async fn diagnose(&self, object: &Object, digest: &Digest, error: Error) -> Error {
        let found = match &object.envelope {
            None => self.hash_stored(&object.location).await,
            Some(_) => self.read_trailer(&object.location).await,
        };
        match found {
            // A digest that the registry knows cannot be chance: the objects were swapped.
            Ok(Some(found)) if found != digest.hex() => match self.store.object(&found).await {
                Ok(Some(_)) => {
                    let problem =
                        format!("the object store has sha256:{found} in place of {digest}");
                    Error::new(ErrorCode::ObjectSwapped, problem)
                }
                _ => error,
            },
            _ => error,
        }
    }

    async fn hash_stored(&self, location: &str) -> Result<Option<String>> {
        let length = self.storage.length(location).await?.unwrap_or(0);
        let mut hasher = Hasher::default();
        for at in (0..length).step_by(usize::try_from(RANGE_BYTES).unwrap_or(usize::MAX)) {
            let piece = self
                .storage
                .read(location, at..length.min(at + RANGE_BYTES))
                .await?;
            hasher = blocking(move || {
                hasher.update(&piece);
                Ok(hasher)
            })
            .await?;
        }
        Ok(Some(hasher.finish().hex()))
    }

    async fn read_trailer(&self, location: &str) -> Result<Option<String>> {
        let length = self.storage.length(location).await?.unwrap_or(0);
        // Shorter than any object that was written whole.
        if length < TRAILER as u64 {
            return Ok(None);
        }
        let trailer = self
            .storage
            .read(location, length - TRAILER as u64..length)
            .await?;
        Ok(Cipher::trailer(&trailer))
    }
}

/// Takes the stored bytes of one content in order.
struct Sink<W> {
    hasher: Hasher,
    cipher: Option<Cipher>,
    writer: W,
    digest: Digest,
}

impl<W: Write> Sink<W> {
    fn take(&mut self, first_chunk: u64, stored: Bytes, end: bool) -> Result<()> {
        let plain = match &self.cipher {
            None => stored,
            Some(cipher) => cipher
                .open(first_chunk, &stored, end)
                .map(Bytes::from)
                .map_err(|failed| {
                    let problem = format!("chunk {} of {} was changed", failed.chunk, self.digest);
                    Error::new(ErrorCode::ObjectCorrupt, problem)
                })?,
        };
        self.hasher.update(&plain);
        let written = self.writer.write_all(&plain);
        written.map_err(|error| {
            Error::new(
                ErrorCode::FileUnusable,
                format!("{} cannot be written on this machine: {error}", self.digest),
            )
        })
    }

    fn finish(self) -> Result<W> {
        let found = self.hasher.finish();
        if found == self.digest {
            return Ok(self.writer);
        }
        let problem = format!(
            "{} was changed: its content now has the digest {found}",
            self.digest
        );
        Err(Error::new(ErrorCode::ObjectCorrupt, problem))
    }
}
