//! The registry itself: its versions, aliases and events.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_core::Manifest;
use tidegate_store::{
    Alias, Dataset, Event, OpenOptions, Position, REGISTRY_ID, RetrainTrigger, Store, Use, Version,
    VersionState,
};

use crate::cache::{Cache, Entry};
use crate::config::RegistryConfig;
use crate::encryption::Keyring;
use crate::storage::Storage;
use crate::{Digest, Error, ErrorCode, Reference, Result, Snapshot, Verdict};

/// How long the versions that a server reported count as used, from its last report.
const USE_LEASE: Duration = Duration::from_secs(120);
/// The most events that one call returns.
const MAX_EVENTS: i64 = 1000;

/// An open registry.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(crate) store: Store,
    pub(crate) storage: Storage,
    pub(crate) cache: Cache,
    pub(crate) keyring: Keyring,
    pub(crate) actor: String,
}

/// One version, as the registry knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionRecord {
    /// The model's name.
    pub model: String,
    /// Its number, from 1.
    pub number: i64,
    /// The digest of its content.
    pub digest: Digest,
    /// Its state.
    pub state: VersionState,
    /// Why it is deprecated.
    pub reason: String,
    /// Its manifest.
    pub manifest: Manifest,
    /// All its files together, in bytes.
    pub bytes: i64,
    /// Who pushed it.
    pub pushed_by: String,
    /// When, in milliseconds since 1970.
    pub pushed_ms: i64,
}

impl VersionRecord {
    /// `fraud:7`.
    pub fn name(&self) -> String {
        format!("{}:{}", self.model, self.number)
    }
}

impl TryFrom<Version> for VersionRecord {
    type Error = Error;

    fn try_from(version: Version) -> Result<Self> {
        let manifest = serde_json::from_str(&version.manifest).map_err(|error| {
            let problem = format!(
                "the manifest of {}:{} cannot be read: {error}",
                version.model, version.number
            );
            Error::new(ErrorCode::ManifestCorrupt, problem)
        })?;
        Self::new(version, manifest)
    }
}

impl VersionRecord {
    /// As the conversion, but a manifest that this build cannot read counts as empty: a newer build
    /// may have written it. Loading the version reads it again and reports the error; other versions
    /// are not affected.
    pub(crate) fn lenient(version: Version) -> Result<Self> {
        let manifest = serde_json::from_str(&version.manifest).unwrap_or_else(|error| {
            tracing::warn!(model = version.model, version = version.number, %error, "cannot parse the manifest");
            Manifest::default()
        });
        Self::new(version, manifest)
    }

    fn new(version: Version, manifest: Manifest) -> Result<Self> {
        Ok(Self {
            digest: version.digest.parse()?,
            model: version.model,
            number: version.number,
            state: version.state,
            reason: version.reason,
            manifest,
            bytes: version.bytes,
            pushed_by: version.pushed_by,
            pushed_ms: version.pushed_ms,
        })
    }
}

impl Registry {
    /// Opens the registry that a configuration names, on behalf of `actor`. Places that are not
    /// configured are in `data`. The object store is not contacted before it is needed.
    ///
    /// # Errors
    /// [`Error`] says which part cannot be used.
    pub async fn open(config: &RegistryConfig, data: &Path, actor: &str) -> Result<Self> {
        Self::open_with(config, data, actor, OpenOptions::default()).await
    }

    /// Opens a registry that was open before: where it is gone, no empty one is made in its place.
    ///
    /// # Errors
    /// Those of [`Registry::open`]; [`ErrorCode::DatabaseUnavailable`] also where it is gone.
    pub async fn reopen(config: &RegistryConfig, data: &Path, actor: &str) -> Result<Self> {
        let options = OpenOptions {
            must_exist: true,
            ..OpenOptions::default()
        };
        Self::open_with(config, data, actor, options).await
    }

    async fn open_with(
        config: &RegistryConfig,
        data: &Path,
        actor: &str,
        options: OpenOptions,
    ) -> Result<Self> {
        let cache = Cache::open(config, data)?;
        Ok(Self {
            store: Store::open_with(&config.database(data), options).await?,
            storage: Storage::open(&config.storage(data), &config.storage_options)?,
            keyring: Keyring::open(&config.encryption)?,
            cache,
            actor: actor.to_owned(),
        })
    }

    /// The local cache, which can be used without the registry too.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Closes the database.
    pub async fn close(&self) {
        self.store.close().await;
    }

    /// The number of the last change: as long as it stays the same, so does everything else. One
    /// row is read.
    ///
    /// # Errors
    /// [`Error`] of the database.
    pub async fn last_change(&self) -> Result<i64> {
        Ok(self.store.last_change().await?)
    }

    /// Which registry it is, and where its history stands: as long as that stays the same, so does
    /// everything else.
    ///
    /// # Errors
    /// [`Error`] of the database, within seconds where it does not answer.
    pub async fn position(&self) -> Result<Position> {
        Ok(self.store.position().await?)
    }

    /// Where the database of a configuration is, as [`Registry::database`] says it.
    pub fn database_of(config: &RegistryConfig, data: &Path) -> String {
        tidegate_store::without_password(&config.database(data))
    }

    /// Where its database is, without a password.
    pub fn database(&self) -> &str {
        self.store.shown()
    }

    /// What happened after the change `since`, oldest first, up to a thousand events.
    ///
    /// # Errors
    /// [`Error`] of the database.
    pub async fn events_since(&self, since: i64) -> Result<Vec<Event>> {
        Ok(self.store.events_since(since, MAX_EVENTS).await?)
    }

    /// The versions of a model, or of all, that are not deleted, by model and number.
    ///
    /// # Errors
    /// [`Error`] of the database.
    pub async fn versions(&self, model: Option<&str>) -> Result<Vec<VersionRecord>> {
        self.store
            .versions(model)
            .await?
            .into_iter()
            .map(VersionRecord::try_from)
            .collect()
    }

    /// A data set, deleted or not.
    ///
    /// # Errors
    /// [`Error`] of the database.
    pub async fn dataset(&self, name: &str, version: i64) -> Result<Option<Dataset>> {
        Ok(self.store.dataset(name, version).await?)
    }

    /// A trigger that asked for a new version.
    ///
    /// # Errors
    /// [`Error`] of the database.
    pub async fn trigger(&self, id: &str) -> Result<Option<RetrainTrigger>> {
        Ok(self.store.trigger(id).await?)
    }

    /// The aliases of a model, or of all.
    ///
    /// # Errors
    /// [`Error`] of the database.
    pub async fn aliases(&self, model: Option<&str>) -> Result<Vec<Alias>> {
        Ok(self.store.aliases(model).await?)
    }

    /// The version that a reference means now.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] says what there is instead.
    pub async fn resolve(&self, reference: &Reference) -> Result<VersionRecord> {
        let model = Some(reference.model.as_str());
        let aliases = self.store.aliases(model).await?;
        let snapshot = Snapshot {
            versions: self.versions(model).await?,
            aliases,
            ..Snapshot::default()
        };
        snapshot.resolve(reference).cloned()
    }

    /// The files of a version and who signed it, checked against its digest, the keys and the
    /// policy.
    ///
    /// # Errors
    /// [`ErrorCode::ManifestCorrupt`], or what is wrong with the signatures.
    pub async fn inspect(
        &self,
        version: &VersionRecord,
    ) -> Result<(Vec<tidegate_store::VersionFile>, Verdict)> {
        let entry = self.entry(version).await?;
        let verdict = self.cache.trust(&entry)?;
        Ok((entry.files, verdict))
    }

    /// Reports which versions a server uses, in place of its last report. They are not deleted while
    /// it repeats the report every minute.
    ///
    /// # Errors
    /// [`Error`] of the database.
    pub async fn report_uses(&self, server: &str, versions: &[(String, i64)]) -> Result<()> {
        let mut write = self.store.write(&self.actor).await?;
        write.report_uses(server, versions, lease_ms()).await?;
        Ok(write.commit().await?)
    }

    /// What servers use now.
    ///
    /// # Errors
    /// [`Error`] of the database.
    pub async fn uses(&self) -> Result<Vec<Use>> {
        Ok(self.store.uses(lease_ms()).await?)
    }

    /// The database's record of a version's content.
    pub(crate) async fn entry(&self, version: &VersionRecord) -> Result<Entry> {
        let files = self.store.files(&version.model, version.number).await?;
        let signatures = self
            .store
            .signatures(&version.model, version.number)
            .await?;
        let others = self.store.version_numbers(&version.model).await?;
        Ok(Entry {
            version: version.clone(),
            files,
            signatures,
            others,
        })
    }

    /// The registry's own id, made when it is first asked for.
    async fn id(&self) -> Result<String> {
        if let Some(id) = self.store.property(REGISTRY_ID).await? {
            return Ok(id);
        }
        let mut write = self.store.write(&self.actor).await?;
        // Another process may have been faster.
        if let Some(id) = write.property(REGISTRY_ID).await? {
            return Ok(id);
        }
        let id = crate::digest::to_hex(&crate::keys::random::<16>()?);
        write.set_property(REGISTRY_ID, &id).await?;
        write.commit().await?;
        Ok(id)
    }

    /// Makes sure that the object store is this registry's own: another one's garbage collection
    /// would empty it.
    pub(crate) async fn claim_storage(&self) -> Result<()> {
        let id = self.id().await?;
        match self.storage.owner().await? {
            Some(owner) if owner == id => Ok(()),
            None => self.storage.set_owner(&id).await,
            Some(owner) => {
                let problem = format!(
                    "{} belongs to the registry {owner}, but the database to the registry {id}",
                    self.storage.shown()
                );
                Err(Error::new(ErrorCode::StorageMismatch, problem))
            }
        }
    }
}

/// See [`USE_LEASE`].
pub(crate) fn lease_ms() -> i64 {
    i64::try_from(USE_LEASE.as_millis()).unwrap_or(i64::MAX)
}
