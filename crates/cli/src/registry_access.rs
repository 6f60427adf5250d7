//! The registry that a command works on.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tidegate_registry::{Registry, VersionRecord};

use crate::config::{self, Config};
use crate::environment::{actor, default_data_folder};
use crate::logging;
use crate::options::RegistryLocation;

/// Where the registry is, from flags, environment and configuration file.
pub(crate) struct RegistryAccess {
    pub(crate) config: Config,
    data: PathBuf,
}

impl RegistryAccess {
    pub(crate) fn new(location: &RegistryLocation) -> Result<Self> {
        let config = config::load(location.config.as_deref(), config::environment())?;
        let data = location.data.clone().or_else(|| config.data.clone());
        Ok(Self {
            config,
            data: data.map_or_else(default_data_folder, Ok)?,
        })
    }

    pub(crate) async fn open(&self) -> Result<Registry> {
        Ok(Registry::open(&self.config.registry, &self.data, &actor()).await?)
    }

    /// The database with the API keys.
    pub(crate) fn keys_database(&self) -> String {
        let own = self.config.auth.database.clone();
        own.unwrap_or_else(|| self.config.registry.database(&self.data))
    }

    /// The data folder.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// The database of the server's audit log.
    pub(crate) fn audit_database(&self) -> String {
        let own = self.config.audit.database.clone();
        own.unwrap_or_else(|| self.config.registry.database(&self.data))
    }

    /// The folder with the keys that sign versions.
    pub(crate) fn keys_folder(&self) -> PathBuf {
        self.config.registry.keys(&self.data)
    }
}

/// The version that a reference such as `fraud:7` or `fraud@champion` means.
pub(crate) async fn resolve(registry: &Registry, reference: &str) -> Result<VersionRecord> {
    Ok(registry.resolve(&reference.parse()?).await?)
}

/// Runs the work of a command that uses the registry.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    logging::start_with_warnings()?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
