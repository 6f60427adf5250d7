//! Uploading a bundle as a new version of its model.

mod alive;
mod upload;

use std::cell::Cell;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_store::{MoveCause, NewEvent, Signature, Version, VersionFile, VersionState, Write};

use crate::aliases::move_alias;
use crate::audit::audit;
use crate::digest::hash_file;
use crate::trust::Statement;
use crate::{
    Bundle, BundleFile, Digest, Error, ErrorCode, Registry, Result, Source, VersionRecord,
    reference,
};

pub(crate) use alive::end_abandoned;

/// Called with the step of a push, first "reading", then "sending", its bytes so far, and its bytes
/// in all.
pub type Progress = Arc<dyn Fn(&'static str, u64, u64) + Send + Sync>;

/// How to push.
#[derive(Clone, Default)]
pub struct PushOptions {
    /// An alias to point at the version when it exists.
    pub alias: Option<String>,
    /// Called as the push makes progress.
    pub progress: Option<Progress>,
}

/// The number and signatures that a version keeps when it comes from another registry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Original {
    pub(crate) number: Option<i64>,
    pub(crate) signatures: Vec<Signature>,
}

/// The result of a push.
#[derive(Clone, Debug, PartialEq)]
pub struct Pushed {
    /// The version.
    pub version: VersionRecord,
    /// Whether it is new; otherwise the registry had the same content before.
    pub created: bool,
    /// Bytes that were sent to the object store.
    pub sent_bytes: u64,
    /// Bytes that an earlier, interrupted push had sent.
    pub resumed_bytes: u64,
    /// The key that signed it in this push.
    pub signed_by: Option<String>,
}

/// One file that was read.
#[derive(Clone, Debug)]
pub(crate) struct Hashed {
    pub(crate) path: String,
    pub(crate) source: Source,
    pub(crate) bytes: u64,
    pub(crate) digest: Digest,
}

impl Hashed {
    fn found(&self) -> (String, u64, Digest) {
        (self.path.clone(), self.bytes, self.digest)
    }

    fn listed(&self) -> VersionFile {
        VersionFile {
            path: self.path.clone(),
            digest: self.digest.hex(),
            bytes: signed(self.bytes),
        }
    }
}

impl Registry {
    /// Makes a version of a bundle: reads it, sends the contents that the object store does not
    /// have, and adds the version. The same content again gives the same version. An interrupted
    /// push leaves nothing visible, and the next one resumes it if the object store supports that.
    ///
    /// # Errors
    /// [`Error`] says what is wrong; nothing is visible then.
    pub async fn push(&self, bundle: &Bundle, options: &PushOptions) -> Result<Pushed> {
        self.push_as(bundle, options, &Original::default()).await
    }

    /// Pushes, under the number and with the signatures that another registry gave.
    pub(crate) async fn push_as(
        &self,
        bundle: &Bundle,
        options: &PushOptions,
        original: &Original,
    ) -> Result<Pushed> {
        let alias = options
            .alias
            .as_deref()
            .map(reference::alias_name)
            .transpose()?;
        // Before anything is read or sent: nobody could use the version.
        self.cache.check_signing(&original.signatures)?;
        let hashed = hash(bundle, options.progress.clone()).await?;
        let found: Vec<_> = hashed.iter().map(Hashed::found).collect();
        // Before anything is sent: a file that differs from its manifest would make a useless
        // version.
        bundle.check_fixed(&found)?;
        let files: Vec<VersionFile> = hashed.iter().map(Hashed::listed).collect();
        let digest = digest_of(&files);
        let model = bundle.name().as_str();

        let mut write = self.store.write(&self.actor).await?;
        if let Some(version) = write.version_by_digest(model, &digest.hex()).await? {
            return self
                .push_again(write, version.try_into()?, alias, original)
                .await;
        }
        // The transaction ends before the upload, which may take hours and must not block others.
        drop(write);
        self.claim_storage().await?;
        let push = self.begin_push().await?;
        let (sent_bytes, resumed_bytes) = self
            .upload(&push, &hashed, options.progress.clone())
            .await?;

        let mut write = self.store.write(&self.actor).await?;
        // A push that was silent for too long is ended by others, and its objects may be collected.
        for file in &files {
            if write.object(&file.digest).await?.is_none() {
                let problem = format!(
                    "the uploads of {model} were removed as garbage in the meantime; push again"
                );
                return Err(Error::new(ErrorCode::PushExpired, problem));
            }
        }
        // In the transaction that adds the version: its files protect the objects from here on.
        write.end_push(push.id()).await?;
        // Another push may have been faster.
        if let Some(version) = write.version_by_digest(model, &digest.hex()).await? {
            return self
                .push_again(write, version.try_into()?, alias, original)
                .await;
        }
        let version = self
            .add(&mut write, bundle, digest, &files, original)
            .await?;
        let signed_by = self.finish(&mut write, &version, alias, original).await?;
        write.commit().await?;
        Ok(Pushed {
            version,
            created: true,
            sent_bytes,
            resumed_bytes,
            signed_by,
        })
    }

    /// Adds the version, whose contents are all there, under the next number or the one that it
    /// must keep.
    async fn add(
        &self,
        write: &mut Write,
        bundle: &Bundle,
        digest: Digest,
        files: &[VersionFile],
        original: &Original,
    ) -> Result<VersionRecord> {
        let model = bundle.name().as_str();
        let version = Version {
            model: model.to_owned(),
            number: number(write, model, original.number).await?,
            digest: digest.hex(),
            state: VersionState::Ready,
            reason: String::new(),
            manifest: serde_json::to_string(bundle.manifest()).expect("a manifest can be written"),
            bytes: files.iter().map(|file| file.bytes).sum(),
            pushed_by: self.actor.clone(),
            pushed_ms: write.now_ms(),
        };
        write.add_version(&version, files).await?;
        let version = VersionRecord::try_from(version)?;
        let detail = json!({"digest": version.digest.to_string(), "bytes": version.bytes, "files": files.len()});
        write
            .record(NewEvent {
                kind: "version.pushed",
                model,
                version: Some(version.number),
                detail: detail.clone(),
            })
            .await?;
        let states = (Value::Null, detail);
        audit(write, "version.push", ("version", &version.name()), states).await?;
        close_trigger(write, &version).await?;
        Ok(version)
    }

    /// The registry has the content already: only a signature or an alias may be new.
    async fn push_again(
        &self,
        mut write: Write,
        version: VersionRecord,
        alias: Option<String>,
        original: &Original,
    ) -> Result<Pushed> {
        if let Some(number) = original.number.filter(|number| *number != version.number) {
            let problem = format!(
                "{} has this content already, but the import asks for number {number}",
                version.name()
            );
            return Err(Error::new(ErrorCode::NumberTaken, problem));
        }
        let signed_by = self.finish(&mut write, &version, alias, original).await?;
        write.commit().await?;
        Ok(Pushed {
            version,
            created: false,
            sent_bytes: 0,
            resumed_bytes: 0,
            signed_by,
        })
    }

    /// Adds signatures and the alias; gives the id of the key that signed.
    async fn finish(
        &self,
        write: &mut Write,
        version: &VersionRecord,
        alias: Option<String>,
        original: &Original,
    ) -> Result<Option<String>> {
        for signature in &original.signatures {
            write
                .add_signature(&version.model, version.number, signature)
                .await?;
        }
        let mut signed_by = None;
        if let Some((id, key)) = self.cache.keys()?.signer() {
            let statement = Statement {
                model: &version.model,
                number: version.number,
                digest: version.digest,
            };
            let signature = statement.sign(key);
            let signature = Signature {
                key_id: id.to_string(),
                signature,
                signed_ms: write.now_ms(),
            };
            write
                .add_signature(&version.model, version.number, &signature)
                .await?;
            signed_by = Some(id.to_string());
        }
        if let Some(alias) = alias
            && write.alias(&version.model, &alias).await? != Some(version.number)
        {
            move_alias(
                write,
                &version.model,
                &alias,
                Some(version.number),
                MoveCause::Set,
            )
            .await?;
        }
        Ok(signed_by)
    }
}

/// Closes the trigger that the version was trained for. A version of another registry may name one that
/// is not known here.
async fn close_trigger(write: &mut Write, version: &VersionRecord) -> Result<()> {
    let trigger = &version.manifest.lineage.trigger;
    if trigger.is_empty() {
        return Ok(());
    }
    let name = version.name();
    let closed = write.close_trigger(trigger, &version.model, &name);
    if !closed.await? {
        return Ok(());
    }
    let states = (Value::Null, json!({"version": version.name()}));
    audit(write, "retrain.close", ("trigger", trigger), states).await
}

/// The digest of a version with these files.
pub(crate) fn digest_of(files: &[VersionFile]) -> Digest {
    Digest::of_files(
        files
            .iter()
            .map(|file| (file.path.as_str(), file.bytes, file.digest.as_str())),
    )
}

async fn number(write: &mut Write, model: &str, wanted: Option<i64>) -> Result<i64> {
    let Some(number) = wanted else {
        return Ok(write.next_version(model).await?);
    };
    match write.version(model, number).await? {
        None => Ok(number),
        Some(_) => {
            let problem = format!(
                "{model}:{number} exists with other content; --renumber takes the next free number"
            );
            Err(Error::new(ErrorCode::NumberTaken, problem))
        }
    }
}

/// Reads every file once, for its digest.
async fn hash(bundle: &Bundle, progress: Option<Progress>) -> Result<Vec<Hashed>> {
    let files = bundle.files().to_vec();
    blocking(move || hash_files(files, progress.as_ref())).await
}

fn hash_files(files: Vec<BundleFile>, progress: Option<&Progress>) -> Result<Vec<Hashed>> {
    let total = files.iter().map(|file| apparent_bytes(&file.source)).sum();
    let done = Cell::new(0);
    let mut hashed = Vec::with_capacity(files.len());
    for file in files {
        let (bytes, digest) = match &file.source {
            Source::Bytes(bytes) => (bytes.len() as u64, Digest::of(bytes)),
            Source::File(path) => hash_file(path, &|more| {
                done.set(done.get() + more);
                if let Some(progress) = progress {
                    progress("reading", done.get(), total);
                }
            })?,
        };
        hashed.push(Hashed {
            path: file.path,
            source: file.source,
            bytes,
            digest,
        });
    }
    Ok(hashed)
}

/// The length for progress only: where a file cannot be read, hashing it says why.
fn apparent_bytes(source: &Source) -> u64 {
    match source {
        Source::Bytes(bytes) => bytes.len() as u64,
        Source::File(path) => std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
    }
}

/// Runs blocking work on a blocking thread, apart from those that serve requests.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        // The task is never cancelled, so that it can only have panicked.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

pub(crate) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
