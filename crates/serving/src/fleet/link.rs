//! The connection to the registry, which may be unreachable for a while.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use tidegate_registry::{
    Cache, CachedVersion, Error, ErrorCode, Registry, RegistryConfig, Result, Snapshot,
    VersionRecord,
};
use tracing::warn;

/// A registry that is opened when it can be reached, and the local cache, which always can be used.
#[derive(Debug)]
pub struct RegistryLink {
    config: RegistryConfig,
    data: PathBuf,
    /// This server's name in the registry.
    server: String,
    cache: Cache,
    registry: ArcSwapOption<Registry>,
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
        Ok(Self {
            config,
            data: data.to_owned(),
            server,
            cache,
            registry: ArcSwapOption::empty(),
            is_unreachable: AtomicBool::new(false),
        })
    }

    /// Everything in the registry, if anything has changed since the change `seen`.
    pub(super) async fn changed_since(&self, seen: Option<i64>) -> Result<Option<Snapshot>> {
        let changed = self.read(seen).await;
        self.is_unreachable
            .store(changed.is_err(), Ordering::Relaxed);
        changed
    }

    async fn read(&self, seen: Option<i64>) -> Result<Option<Snapshot>> {
        let registry = self.registry().await?;
        if seen == Some(registry.last_change().await?) {
            return Ok(None);
        }
        registry.snapshot().await.map(Some)
    }

    /// The registry's state when this machine last read it.
    pub(super) fn last_snapshot(&self) -> Option<Snapshot> {
        self.cache.last_snapshot().unwrap_or_else(|error| {
            warn!(%error, "cannot read the last snapshot of the registry in the local cache");
            None
        })
    }

    /// A version's files, verified: from the registry or, if it cannot be reached, from the cache.
    pub(super) async fn fetch(&self, version: &VersionRecord) -> Result<CachedVersion> {
        // Where nothing answers, every attempt would last until its timeout, and a start from the
        // cache would take minutes instead of seconds.
        if self.is_unreachable.load(Ordering::Relaxed)
            && let Some(cached) = self.cache.load(version).await?
        {
            return Ok(cached);
        }
        let fetched = match self.registry().await {
            Ok(registry) => registry.fetch(version).await,
            Err(error) => Err(error),
        };
        match fetched {
            // Only then: a version that fails a check must not be served from the cache instead.
            Err(error) if is_connection_problem(error.code) => {
                self.cache.load(version).await?.ok_or(error)
            }
            outcome => outcome,
        }
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
        let registry = Arc::new(Registry::open(&self.config, &self.data, &self.server).await?);
        self.registry.store(Some(registry.clone()));
        Ok(registry)
    }
}

/// Whether an error is about the connection to the registry, not about a version.
fn is_connection_problem(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::DatabaseUnavailable
            | ErrorCode::DatabaseRefused
            | ErrorCode::StorageUnavailable
            | ErrorCode::StorageDenied
            | ErrorCode::StorageMissing
    )
}

/// An error as the reason of a state: its code and its message.
pub(super) fn reason(error: &Error) -> String {
    format!("{}: {error}", error.code.name())
}
