//! The connection to the registry, which may be unreachable for a while.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tidegate_registry::{
    Cache, CachedVersion, Error, ErrorCode, Position, Registry, RegistryConfig, Result, Snapshot,
    VersionRecord,
};
use tracing::warn;

use super::VersionNames;
use super::snapshot_saver::SnapshotSaver;

/// An object store that has not sent anything for so long is reported.
const SILENT_STORAGE: Duration = Duration::from_secs(3);

/// Which registry a server follows: another one in its place, or an empty database, must not take
/// out of service what is served.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FollowedRegistry {
    /// Its id; none before its first push.
    id: Option<String>,
    /// The database that it was in, without a password.
    database: String,
}

/// A registry that is opened when it can be reached, and the local cache, which always can be used.
#[derive(Debug)]
pub struct RegistryLink {
    config: RegistryConfig,
    data: PathBuf,
    /// This server's name in the registry.
    server: String,
    cache: Cache,
    registry: ArcSwapOption<Registry>,
    /// The registry that this server follows, once it has read one.
    followed: Mutex<Option<FollowedRegistry>>,
    /// What was read last.
    known: Mutex<Option<Arc<Snapshot>>>,
    saver: SnapshotSaver,
    /// Whether the last attempt to read it failed.
    is_unreachable: AtomicBool,
}

impl RegistryLink {
    /// A link to the registry of a configuration. `server` is this server's name there, which must
    /// be unique. The registry is not contacted yet.
    ///
    /// # Errors
    /// If the local cache cannot be used.
    pub fn new(config: RegistryConfig, data: &Path, server: String) -> Result<Self> {
        let cache = Cache::open(&config, data)?;
        let followed = last_snapshot(&cache).map(|snapshot| FollowedRegistry::of(&snapshot));
        Ok(Self {
            config,
            data: data.to_owned(),
            server,
            saver: SnapshotSaver::new(cache.clone()),
            cache,
            known: Mutex::default(),
            registry: ArcSwapOption::empty(),
            followed: Mutex::new(followed),
            is_unreachable: AtomicBool::new(false),
        })
    }

    /// Everything in the registry, if anything has changed since it stood at `seen`.
    pub(super) async fn changed_since(
        &self,
        seen: Option<&Position>,
    ) -> Result<Option<Arc<Snapshot>>> {
        let changed = self.read(seen).await;
        self.is_unreachable
            .store(changed.is_err(), Ordering::Relaxed);
        if changed.is_err() {
            // Its other connections may be as dead as the one that was asked. The next attempt
            // begins with new ones, and with the file that is there then.
            self.registry.store(None);
        }
        changed
    }

    async fn read(&self, seen: Option<&Position>) -> Result<Option<Arc<Snapshot>>> {
        let registry = self.registry().await?;
        let position = registry.position().await?;
        self.check_followed(&registry, &position)?;
        if seen == Some(&position) {
            return Ok(None);
        }
        if let Some(seen) = seen.filter(|seen| seen.change >= position.change) {
            warn!(
                seen = seen.change,
                change = position.change,
                "the registry went back to an older state"
            );
        }
        let known = self.known.lock().clone();
        let updated = match (seen, &known) {
            (Some(_), Some(known)) => registry.update(known, &position).await?,
            _ => None,
        };
        let snapshot = match updated {
            Some(updated) => updated,
            None => registry.snapshot().await?,
        };
        // Once more: another database may have taken its place between the two.
        self.check_followed(&registry, &snapshot.position)?;
        *self.followed.lock() = Some(FollowedRegistry::of(&snapshot));
        let snapshot = Arc::new(snapshot);
        if known.as_ref() != Some(&snapshot) {
            self.saver.save(snapshot.clone());
        }
        *self.known.lock() = Some(snapshot.clone());
        Ok(Some(snapshot))
    }

    /// Fails if this is not the registry that this server has followed until now.
    fn check_followed(&self, registry: &Registry, position: &Position) -> Result<()> {
        let followed = self.followed.lock().clone();
        let Some(FollowedRegistry {
            id: Some(id),
            database,
        }) = followed
        else {
            return Ok(());
        };
        // Whoever names another database in the configuration means it.
        if database != registry.database() || position.registry_id.as_ref() == Some(&id) {
            return Ok(());
        }
        let found = match &position.registry_id {
            Some(found) => format!("is the registry {found}"),
            None => "has no registry".to_owned(),
        };
        Err(Error::new(
            ErrorCode::OtherRegistry,
            format!("the database {database} {found}, this server follows the registry {id}"),
        ))
    }

    /// What names stood for when this server last ran.
    pub(super) fn last_names(&self) -> BTreeMap<String, VersionNames> {
        self.cache.last_names().unwrap_or_else(|error| {
            warn!(%error, "cannot read the last served versions from the local cache");
            BTreeMap::new()
        })
    }

    /// Remembers what names stand for, for the next start.
    pub(super) async fn save_names(&self, names: BTreeMap<String, VersionNames>) {
        let cache = self.cache.clone();
        let saving = tokio::task::spawn_blocking(move || cache.keep_names(&names));
        if let Ok(Err(error)) = saving.await {
            warn!(%error, "cannot save the served versions in the local cache");
        }
    }

    /// Saves what was read last, before the server ends.
    pub(super) async fn save_snapshot(&self) {
        self.saver.finish().await;
    }

    /// The registry's state when this machine last read it.
    pub(super) fn last_snapshot(&self) -> Option<Snapshot> {
        last_snapshot(&self.cache)
    }

    /// A version's files, verified, if they are in the cache. The object store is not asked.
    pub(super) async fn cached(&self, version: &VersionRecord) -> Result<Option<CachedVersion>> {
        // Where nothing answers, every attempt would last until its timeout, and a start from the
        // cache would take minutes instead of seconds.
        if self.is_unreachable.load(Ordering::Relaxed)
            && let Some(cached) = self.cache.load(version).await?
        {
            return Ok(Some(cached));
        }
        let found = match self.registry().await {
            Ok(registry) => registry.cached(version).await,
            Err(error) => Err(error),
        };
        self.or_from_cache(version, found).await
    }

    /// A version's files, verified: from the registry or, if it cannot be reached, from the cache.
    pub(super) async fn fetch(&self, version: &VersionRecord) -> Result<CachedVersion> {
        let fetched = match self.registry().await {
            Ok(registry) => registry.fetch(version).await.map(Some),
            Err(error) => Err(error),
        };
        let files = self.or_from_cache(version, fetched).await?;
        Ok(files.expect("a fetch gives the files or fails"))
    }

    async fn or_from_cache(
        &self,
        version: &VersionRecord,
        outcome: Result<Option<CachedVersion>>,
    ) -> Result<Option<CachedVersion>> {
        match outcome {
            // Only then: a version that fails a check must not be served from the cache instead.
            Err(error) if is_connection_problem(error.code) => {
                self.cache.load(version).await?.ok_or(error).map(Some)
            }
            outcome => outcome,
        }
    }

    /// Why the object store seems to hang, while somebody waits for it.
    pub(super) fn storage_problem(&self) -> Option<String> {
        let registry = self.registry.load();
        let (storage, silence) = registry.as_ref()?.storage_silence()?;
        (silence >= SILENT_STORAGE)
            .then(|| format!("{storage} has not answered for {} s", silence.as_secs()))
    }

    /// Reports which versions this server uses.
    pub(super) async fn report_uses(&self, versions: &[(String, i64)]) -> Result<()> {
        self.registry()
            .await?
            .report_uses(&self.server, versions)
            .await
    }

    /// Records in the registry that a version cannot be loaded here.
    pub(super) async fn report_failure(&self, version: &VersionRecord, reason: &str) -> Result<()> {
        self.registry()
            .await?
            .report_load_failure(version, &self.server, reason)
            .await
    }

    async fn registry(&self) -> Result<Arc<Registry>> {
        if let Some(registry) = self.registry.load_full() {
            return Ok(registry);
        }
        let registry = Arc::new(self.open().await?);
        // Before anybody else can use it.
        self.check_followed(&registry, &registry.position().await?)?;
        self.registry.store(Some(registry.clone()));
        Ok(registry)
    }

    async fn open(&self) -> Result<Registry> {
        let (config, data, server) = (&self.config, &self.data, &self.server);
        if self.is_in_followed_database() {
            return Registry::reopen(config, data, server).await;
        }
        Registry::open(config, data, server).await
    }

    /// Whether the configured database is the one that had the registry before.
    fn is_in_followed_database(&self) -> bool {
        let database = Registry::database_of(&self.config, &self.data);
        let followed = self.followed.lock();
        followed
            .as_ref()
            .is_some_and(|followed| followed.id.is_some() && followed.database == database)
    }
}

impl FollowedRegistry {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            id: snapshot.position.registry_id.clone(),
            database: snapshot.database.clone(),
        }
    }
}

fn last_snapshot(cache: &Cache) -> Option<Snapshot> {
    cache.last_snapshot().unwrap_or_else(|error| {
        warn!(%error, "cannot read the last snapshot of the registry in the local cache");
        None
    })
}

/// Whether an error is about the connection to the registry, not about a version.
fn is_connection_problem(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::DatabaseUnavailable
            | ErrorCode::DatabaseRefused
            | ErrorCode::OtherRegistry
            | ErrorCode::StorageUnavailable
            | ErrorCode::StorageDenied
            | ErrorCode::StorageMissing
    )
}

/// An error as the reason of a state: its code and its message.
pub(super) fn reason(error: &Error) -> String {
    format!("{}: {error}", error.code.name())
}
