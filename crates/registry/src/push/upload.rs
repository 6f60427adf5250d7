//! Sending contents to the object store, in parts, a few at a time.

mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::MultipartUpload;
use tidegate_store::{Garbage, Object, Upload};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use self::reader::Reader;
use super::alive::Push;
use super::{Hashed, Progress, signed};
use crate::digest::Hasher;
use crate::encryption::{Cipher, stored_length};
use crate::storage::new_location;
use crate::{Digest, Error, ErrorCode, Registry, Result};

/// Plain bytes in a part: whole chunks, and more than the least that S3 takes.
const PART_BYTES: u64 = 16 << 20;
/// Most parts that S3 takes, with some to spare.
const MAX_PARTS: u64 = 9_000;
/// Parts in memory at once, of all files together.
const PARTS_IN_FLIGHT: usize = 4;

/// Counts and reports what was sent.
struct Meter {
    progress: Option<Progress>,
    total: u64,
    sent: AtomicU64,
    resumed: AtomicU64,
}

impl Meter {
    fn add(&self, to: &AtomicU64, bytes: u64) {
        to.fetch_add(bytes, Ordering::Relaxed);
        if let Some(progress) = &self.progress {
            let done = self.sent.load(Ordering::Relaxed) + self.resumed.load(Ordering::Relaxed);
            progress("sending", done, self.total);
        }
    }
}

/// One content to be sent.
struct Task {
    file: Hashed,
    upload: Upload,
    cipher: Option<Arc<Cipher>>,
    /// Parts that the object store already has, with its ids of them.
    there: BTreeMap<usize, String>,
}

impl Registry {
    /// Sends every content that the object store does not have. Returns the bytes sent, and the
    /// bytes that earlier uploads had sent.
    pub(crate) async fn upload(
        &self,
        push: &Push,
        files: &[Hashed],
        progress: Option<Progress>,
    ) -> Result<(u64, u64)> {
        let missing = self.missing(push, files).await?;
        let total = missing.iter().map(|file| file.bytes).sum();
        let meter = Meter {
            progress,
            total,
            sent: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
        };
        let meter = Arc::new(meter);
        let places = Arc::new(Semaphore::new(PARTS_IN_FLIGHT));
        let mut sending = JoinSet::new();
        for file in missing {
            // As many files as parts: small files have one part each, and more tasks would only
            // wait.
            if sending.len() >= PARTS_IN_FLIGHT
                && let Some(sent) = sending.join_next().await
            {
                joined(sent)?;
            }
            let (registry, push) = (self.clone(), push.id().to_owned());
            let (meter, places) = (meter.clone(), places.clone());
            sending.spawn(async move { registry.send(&push, file, &meter, &places).await });
        }
        while let Some(sent) = sending.join_next().await {
            joined(sent)?;
        }
        Ok((
            meter.sent.load(Ordering::Relaxed),
            meter.resumed.load(Ordering::Relaxed),
        ))
    }

    /// The contents that are not in the object store. From here on, the push needs all of them, and
    /// none is collected as garbage.
    async fn missing(&self, push: &Push, files: &[Hashed]) -> Result<Vec<Hashed>> {
        let mut write = self.store.write(&self.actor).await?;
        let (mut seen, mut missing) = (BTreeSet::new(), Vec::new());
        for file in files.iter().filter(|file| seen.insert(file.digest)) {
            let digest = file.digest.hex();
            write.count_on(push.id(), &digest).await?;
            if write.object(&digest).await?.is_none() {
                missing.push(file.clone());
            }
        }
        write.commit().await?;
        Ok(missing)
    }

    async fn send(
        &self,
        push: &str,
        file: Hashed,
        meter: &Meter,
        places: &Arc<Semaphore>,
    ) -> Result<()> {
        let task = self.begin_or_resume(push, file).await?;
        let stored = match &task.upload.multipart {
            Some(id) => self.send_resumable(&task, id, meter, places).await?,
            None if task.file.bytes <= PART_BYTES => self.send_whole(&task, meter, places).await?,
            None => self.send_in_parts(&task, meter, places).await?,
        };
        let location = &task.upload.location;
        // Asked again after writing, before the database lists the object: a store that lost a part
        // must not become known as having the content.
        let found = self.storage.length(location).await?;
        if found != Some(stored) {
            let found = found.map_or("no".to_owned(), |found| found.to_string());
            let problem = format!(
                "{location} has {found} bytes in {} after writing {stored}",
                self.storage.shown()
            );
            return Err(Error::new(ErrorCode::ObjectCorrupt, problem));
        }
        self.finish_upload(&task, stored).await
    }

    /// Records a new upload before its first byte, or resumes an interrupted one.
    async fn begin_or_resume(&self, push: &str, file: Hashed) -> Result<Task> {
        let digest = file.digest.hex();
        let mut write = self.store.write(&self.actor).await?;
        if let Some(upload) = write.adopt_upload(push, &digest).await? {
            // Adopted in a transaction of its own, so that no second push goes on with the same
            // upload.
            write.commit().await?;
            return self.resume(file, upload).await;
        }
        // A key command may take seconds, during which other writers must not wait.
        drop(write);
        let (cipher, envelope) = self.keyring.seal(&file.digest).await?.unzip();
        let location = new_location(&file.digest)?;
        let part_bytes = part_bytes(file.bytes);
        let large = file.bytes > part_bytes;
        let multipart = if large {
            self.storage.begin_resumable(&location).await?
        } else {
            None
        };
        let bytes = signed(file.bytes);
        let upload = Upload {
            location,
            digest,
            bytes,
            envelope,
            multipart,
            part_bytes: signed(part_bytes),
        };
        let mut write = self.store.write(&self.actor).await?;
        write.begin_upload(push, &upload).await?;
        write.commit().await?;
        Ok(Task {
            file,
            upload,
            cipher: cipher.map(Arc::new),
            there: BTreeMap::new(),
        })
    }

    /// Resumes an upload, with the cipher that its first parts were encrypted with.
    async fn resume(&self, file: Hashed, upload: Upload) -> Result<Task> {
        let cipher = match &upload.envelope {
            None => None,
            Some(envelope) => {
                let cipher = self.keyring.open_envelope(envelope, &file.digest).await?;
                Some(Arc::new(cipher))
            }
        };
        let there = self.store.upload_parts(&upload.location).await?;
        let there = there
            .into_iter()
            .filter_map(|(part, id)| Some((usize::try_from(part).ok()?, id)))
            .collect();
        Ok(Task {
            file,
            upload,
            cipher,
            there,
        })
    }

    /// Makes an object of a complete upload.
    async fn finish_upload(&self, task: &Task, stored: u64) -> Result<()> {
        let Upload {
            location,
            digest,
            bytes,
            envelope,
            multipart,
            ..
        } = task.upload.clone();
        let mut write = self.store.write(&self.actor).await?;
        if !write.knows_upload(&location).await? {
            let problem = format!(
                "the upload of {} was removed as garbage in the meantime; push again",
                task.file.digest
            );
            return Err(Error::new(ErrorCode::PushExpired, problem));
        }
        write.end_upload(&location).await?;
        if write.object(&digest).await?.is_some() {
            // Another push was faster.
            write
                .discard(&Garbage {
                    location,
                    multipart,
                })
                .await?;
        } else {
            let stored_bytes = signed(stored);
            write
                .add_object(&Object {
                    digest,
                    location,
                    bytes,
                    stored_bytes,
                    envelope,
                })
                .await?;
        }
        Ok(write.commit().await?)
    }

    async fn send_whole(&self, task: &Task, meter: &Meter, places: &Arc<Semaphore>) -> Result<u64> {
        let _place = place(places).await;
        let mut reader = Reader::new(task);
        let (part, hasher) = reader.part(0, Hasher::default(), true).await?;
        same(task, hasher.finish())?;
        let part = part.unwrap_or_default();
        let stored = part.len() as u64;
        self.storage.put(&task.upload.location, part).await?;
        meter.add(&meter.sent, task.file.bytes);
        Ok(stored)
    }

    /// Parts that end with the process, for stores without resumable uploads.
    async fn send_in_parts(
        &self,
        task: &Task,
        meter: &Meter,
        places: &Arc<Semaphore>,
    ) -> Result<u64> {
        let mut upload: Box<dyn MultipartUpload> =
            self.storage.begin(&task.upload.location).await?;
        let mut reader = Reader::new(task);
        let (mut hasher, mut stored, mut sending) = (Hasher::default(), 0, JoinSet::new());
        for at in 0..reader.parts() {
            let place = place(places).await;
            let (part, next) = reader.part(at, hasher, true).await?;
            hasher = next;
            let part = part.unwrap_or_default();
            stored += part.len() as u64;
            // The order of the calls is the order of the parts, whichever of them is sent first.
            let written = upload.put_part(part.into());
            // The permit goes with the part: it limits parts in memory, which are freed when sent.
            sending.spawn(async move {
                let written = written.await;
                drop(place);
                written
            });
            meter.add(&meter.sent, reader.length(at));
        }
        while let Some(sent) = sending.join_next().await {
            let written =
                sent.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            written.map_err(|error| self.write_problem(task, &error))?;
        }
        if let Err(error) = same(task, hasher.finish()) {
            // The wrong content is the error to tell, whatever comes of the abort.
            let _ = upload.abort().await;
            return Err(error);
        }
        upload
            .complete()
            .await
            .map_err(|error| self.write_problem(task, &error))?;
        Ok(stored)
    }

    fn write_problem(&self, task: &Task, error: &object_store::Error) -> Error {
        let problem = format!(
            "cannot write {} in {}: {error}",
            task.upload.location,
            self.storage.shown()
        );
        Error::new(ErrorCode::StorageUnavailable, problem)
    }

    /// Parts that are recorded as they arrive, so that another process can resume the upload.
    async fn send_resumable(
        &self,
        task: &Task,
        id: &str,
        meter: &Meter,
        places: &Arc<Semaphore>,
    ) -> Result<u64> {
        let mut reader = Reader::new(task);
        let mut hasher = Hasher::default();
        let mut sending: JoinSet<Result<(usize, String, u64)>> = JoinSet::new();
        let mut ids = task.there.clone();
        for at in 0..reader.parts() {
            while let Some(sent) = sending.try_join_next() {
                let (at, content_id, bytes) = joined(sent)?;
                ids.insert(at, content_id);
                meter.add(&meter.sent, bytes);
            }
            let place = place(places).await;
            // Parts that are there are read all the same: the hash needs the whole content.
            let (part, next) = reader
                .part(at, hasher, !task.there.contains_key(&at))
                .await?;
            hasher = next;
            let bytes = reader.length(at);
            let Some(part) = part else {
                meter.add(&meter.resumed, bytes);
                continue;
            };
            let (registry, location, id) =
                (self.clone(), task.upload.location.clone(), id.to_owned());
            sending.spawn(async move {
                let content_id = registry.storage.put_part(&location, &id, at, part).await?;
                registry
                    .store
                    .add_upload_part(&location, at as i64, &content_id)
                    .await?;
                drop(place);
                Ok((at, content_id, bytes))
            });
        }
        while let Some(sent) = sending.join_next().await {
            let (at, content_id, bytes) = joined(sent)?;
            ids.insert(at, content_id);
            meter.add(&meter.sent, bytes);
        }
        // The file changed since it was hashed. The parts are useless: nobody may go on from them.
        if let Err(error) = same(task, hasher.finish()) {
            self.discard_upload(task).await?;
            return Err(error);
        }
        // A map by number, so that the ids are in the order of the parts whatever arrived first.
        self.storage
            .complete(&task.upload.location, id, ids.into_values().collect())
            .await?;
        Ok(if task.cipher.is_some() {
            stored_length(task.file.bytes)
        } else {
            task.file.bytes
        })
    }

    async fn discard_upload(&self, task: &Task) -> Result<()> {
        let Upload {
            location,
            multipart,
            ..
        } = task.upload.clone();
        let mut write = self.store.write(&self.actor).await?;
        write.end_upload(&location).await?;
        write
            .discard(&Garbage {
                location,
                multipart,
            })
            .await?;
        Ok(write.commit().await?)
    }
}

/// Whole chunks, and few enough parts.
fn part_bytes(bytes: u64) -> u64 {
    // Rounded up to a multiple of `CHUNK`, as parts are encrypted one by one.
    PART_BYTES.max(bytes.div_ceil(MAX_PARTS).next_multiple_of(1 << 20))
}

fn same(task: &Task, digest: Digest) -> Result<()> {
    if digest == task.file.digest {
        Ok(())
    } else {
        Err(changed(&task.file.path, "its content differs"))
    }
}

fn changed(path: &str, problem: &str) -> Error {
    Error::new(
        ErrorCode::SourceChanged,
        format!("file \"{path}\" changed while it was pushed: {problem}"),
    )
}

async fn place(places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    places
        .clone()
        .acquire_owned()
        .await
        .expect("the semaphore is never closed")
}

fn joined<T>(outcome: std::result::Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    match outcome {
        Ok(outcome) => outcome,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
