//! What a version says of itself: its `model.toml`, which its digest and its signatures cover. The
//! copy in the database is for lists; nothing covers that.

use tidegate_core::Manifest;

use crate::bundle::{BundleLimits, MANIFEST, parse};
use crate::cache::Entry;
use crate::digest::hash_file;
use crate::push::blocking;
use crate::{Digest, Error, ErrorCode, Registry, Result, VersionRecord};

impl Registry {
    /// The manifest in the files of a version, verified: from the cache or else the object store.
    ///
    /// # Errors
    /// What is wrong with the list of files or with the file; what cannot be reached.
    pub async fn verified_manifest(&self, version: &VersionRecord) -> Result<Manifest> {
        let entry = self.entry(version).await?;
        entry.check_digest()?;
        self.manifest_of(&entry).await
    }

    /// Holds the copy of the manifest in the database against the file.
    pub(crate) async fn check_manifest(&self, entry: &Entry) -> Result<()> {
        let version = &entry.version;
        let differing = differing_keys(&version.manifest, &self.manifest_of(entry).await?);
        if differing.is_empty() {
            return Ok(());
        }
        let problem = format!(
            "the database and the files of {} have a different {MANIFEST}: {}",
            version.name(),
            differing.join(", ")
        );
        Err(Error::new(ErrorCode::ManifestCorrupt, problem))
    }

    async fn manifest_of(&self, entry: &Entry) -> Result<Manifest> {
        let version = &entry.version;
        let limit = BundleLimits::default().max_manifest_bytes;
        let listed = entry.files.iter().find(|file| file.path == MANIFEST);
        let file = listed.filter(|file| u64::try_from(file.bytes).is_ok_and(|size| size <= limit));
        let Some(file) = file else {
            let problem = format!("{} has no {MANIFEST} that can be read", version.name());
            return Err(Error::new(ErrorCode::ManifestCorrupt, problem));
        };
        let digest: Digest = file.digest.parse()?;
        let bytes = match self.cached_file(version, &digest).await {
            Some(bytes) => bytes,
            None => self.read_content(&digest, Vec::new()).await?,
        };
        let text = String::from_utf8_lossy(&bytes);
        let mut manifest = parse(&text, &format!("{MANIFEST} of {}", version.name()))?;
        // A push may give the model another name.
        manifest.name.clone_from(&version.model);
        Ok(manifest)
    }

    /// A file of a version in the cache, if it is there and has this digest.
    async fn cached_file(&self, version: &VersionRecord, digest: &Digest) -> Option<Vec<u8>> {
        let (path, digest) = (self.cache.file(&version.digest, MANIFEST), *digest);
        let reading = blocking(move || {
            let found = hash_file(&path, &|_| {})?.1;
            let bytes = std::fs::read(&path).map_err(|error| Error::file(&path, &error))?;
            Ok((found == digest && Digest::of(&bytes) == digest).then_some(bytes))
        });
        reading.await.ok().flatten()
    }
}

/// The keys whose values differ.
pub fn differing_keys(one: &Manifest, other: &Manifest) -> Vec<String> {
    let [one, other] = [one, other].map(|manifest| {
        // Through text, as the copy in the database has gone: floats may lose a digit there.
        let text = serde_json::to_string(manifest).unwrap_or_default();
        let read: Manifest = serde_json::from_str(&text).unwrap_or_default();
        serde_json::to_value(read).unwrap_or_default()
    });
    let keys = one.as_object().into_iter().flatten().map(|(key, _)| key);
    keys.filter(|key| one.get(key.as_str()) != other.get(key.as_str()))
        .cloned()
        .collect()
}
