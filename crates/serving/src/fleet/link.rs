//! The way to the registry, which may be gone for a while.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use tidegate_registry::{
    Cache, CachedVersion, Error, ErrorCode, Registry, RegistryConfig, Result, Snapshot,
    VersionRecord,
};
use tracing::warn;

/// A registry that is opened when it can be, and the local cache, which is always there.
#[derive(Debug)]
pub struct RegistryLink {
    config: RegistryConfig,
    data: PathBuf,
    server: String,
    cache: Cache,
    registry: ArcSwapOption<Registry>,
    /// Whether it could not be read when that was last tried.
    is_away: AtomicBool,
}

impl RegistryLink {
    /// A way to the registry that a configuration names, in the name of `server`, which no other
    /// server has. The registry is not contacted yet.
    ///
    /// # Errors
    /// If the local cache cannot be used.
    pub fn new(config: RegistryConfig, data: &Path, server: String) -> Result<Self> {
        let cache = Cache::open(&config, data)?;
        Ok(Self {
            config,
            data: data.to_owned(),
            server,
            cache,
            registry: ArcSwapOption::empty(),
            is_away: AtomicBool::new(false),
        })
    }

    /// Everything in the registry if anything changed since the change `seen`.
    pub(super) async fn changed_since(&self, seen: Option<i64>) -> Result<Option<Snapshot>> {
        let changed = self.read(seen).await;
        self.is_away.store(changed.is_err(), Ordering::Relaxed);
        changed
    }

    async fn read(&self, seen: Option<i64>) -> Result<Option<Snapshot>> {
        let registry = self.registry().await?;
        if seen == Some(registry.last_change().await?) {
            return Ok(None);
        }
        registry.snapshot().await.map(Some)
    }

    /// What the registry was when it was last seen from this machine.
    pub(super) fn last_seen(&self) -> Option<Snapshot> {
        self.cache.last_snapshot().unwrap_or_else(|error| {
            warn!(%error, "what the registry was before cannot be read");
            None
        })
    }

    /// A version's files, verified: from the registry or, if it cannot be reached, from the cache.
    pub(super) async fn fetch(&self, version: &VersionRecord) -> Result<CachedVersion> {
        // Where nothing answers at all, each question would wait for its answer.
        if self.is_away.load(Ordering::Relaxed)
            && let Some(there) = self.cache.load(version).await?
        {
            return Ok(there);
        }
        let fetched = match self.registry().await {
            Ok(registry) => registry.fetch(version).await,
            Err(error) => Err(error),
        };
        match fetched {
            Err(error) if is_unreachable(error.code) => {
                self.cache.load(version).await?.ok_or(error)
            }
            outcome => outcome,
        }
    }

    /// Says which versions this server uses.
    pub(super) async fn report_uses(&self, versions: &[(String, i64)]) -> Result<()> {
        self.registry()
            .await?
            .report_uses(&self.server, versions)
            .await
    }

    /// Leaves word in the registry that a version cannot be served here.
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
        let registry = Arc::new(Registry::open(&self.config, &self.data, &self.server).await?);
        self.registry.store(Some(registry.clone()));
        Ok(registry)
    }
}

/// Whether the error says that something cannot be reached now, and nothing of a version.
fn is_unreachable(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::DatabaseUnavailable
            | ErrorCode::DatabaseRefused
            | ErrorCode::StorageUnavailable
            | ErrorCode::StorageDenied
            | ErrorCode::StorageMissing
    )
}

/// The short form of an error for a state.
pub(super) fn reason(error: &Error) -> String {
    format!("{}: {error}", error.code.name())
}
