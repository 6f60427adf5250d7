//! Opening an object store by its URL.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path;

use super::Storage;
use super::waits::Waits;
use crate::{Error, ErrorCode, Result};

/// How long a request, with all its bytes, may take.
#[cfg(feature = "cloud")]
const REQUEST_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(120);
/// How long a connection may take.
#[cfg(feature = "cloud")]
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
/// How long no byte of an answer may come.
#[cfg(feature = "cloud")]
const READ_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);
/// How long a request is tried again.
#[cfg(feature = "cloud")]
const RETRY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

impl Storage {
    /// Opens a folder, which is created if it does not exist, or a bucket, which must exist.
    pub(crate) fn open(storage: &str, options: &BTreeMap<String, String>) -> Result<Self> {
        match storage.split_once("://") {
            None => Self::folder(PathBuf::from(storage), storage),
            Some(("file", path)) => Self::folder(PathBuf::from(path), storage),
            #[cfg(feature = "s3")]
            Some(("s3", _)) => cloud::s3(storage, options),
            #[cfg(feature = "gcs")]
            Some(("gs", _)) => cloud::gcs(storage, options),
            #[cfg(feature = "azure")]
            Some(("az", _)) => cloud::azure(storage, options),
            Some((scheme, _)) => {
                // A build without clouds has no other use for them.
                let _ = options;
                let problem = format!(
                    "registry.storage is {storage:?}: this build has no storage of kind {scheme:?}"
                );
                Err(Error::new(ErrorCode::InvalidConfig, problem))
            }
        }
    }

    fn folder(folder: PathBuf, shown: &str) -> Result<Self> {
        std::fs::create_dir_all(&folder).map_err(|error| Error::file(&folder, &error))?;
        let objects = LocalFileSystem::new_with_prefix(&folder)
            .map_err(|error| Error::new(ErrorCode::StorageUnavailable, error.to_string()))?;
        Ok(Self {
            // The database says that an object is there as soon as it is written: a power cut must
            // not make that false.
            objects: Arc::new(objects.with_fsync(true)),
            multipart: None,
            root: Path::default(),
            folder: Some(folder),
            shown: shown.to_owned(),
            waits: Waits::default(),
        })
    }
}

#[cfg(feature = "cloud")]
mod cloud {
    use object_store::{ClientOptions, RetryConfig};

    use super::*;

    /// Builds a bucket's store from the environment, the URL and the options, in this order.
    macro_rules! open {
        ($builder:ty, $storage:expr, $options:expr) => {{
            // One TLS for the whole binary; somebody else may have chosen it already.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let mut builder = <$builder>::from_env()
                .with_url($storage)
                .with_retry(retry());
            for (key, value) in $options {
                let known = key.parse().map_err(|_| unknown(key))?;
                builder = builder.with_config(known, value);
            }
            builder
        }};
    }

    macro_rules! storage {
        ($built:expr, $storage:expr) => {{
            let store = Arc::new($built.map_err(|error| invalid($storage, &error))?);
            let root = prefix($storage)?;
            let shown = $storage.to_owned();
            Ok(Storage {
                objects: store.clone(),
                multipart: Some(store),
                root,
                folder: None,
                shown,
                waits: Waits::default(),
            })
        }};
    }

    #[cfg(feature = "s3")]
    pub(super) fn s3(storage: &str, options: &BTreeMap<String, String>) -> Result<Storage> {
        use object_store::aws::{AmazonS3Builder, Checksum};
        let named = ["AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"];
        let mut endpoints = named
            .iter()
            .filter_map(|name| std::env::var(name).ok())
            .chain(options.get("endpoint").cloned());
        // An endpoint that is named as `http:` is meant: it needs no second option to allow it.
        let plain = endpoints.any(|endpoint| endpoint.starts_with("http:"));
        let builder =
            open!(AmazonS3Builder, storage, options).with_checksum_algorithm(Checksum::SHA256);
        let client = if plain {
            client().with_allow_http(true)
        } else {
            client()
        };
        storage!(builder.with_client_options(client).build(), storage)
    }

    #[cfg(feature = "gcs")]
    pub(super) fn gcs(storage: &str, options: &BTreeMap<String, String>) -> Result<Storage> {
        use object_store::gcp::GoogleCloudStorageBuilder;
        storage!(
            open!(GoogleCloudStorageBuilder, storage, options)
                .with_client_options(client())
                .build(),
            storage
        )
    }

    #[cfg(feature = "azure")]
    pub(super) fn azure(storage: &str, options: &BTreeMap<String, String>) -> Result<Storage> {
        use object_store::azure::MicrosoftAzureBuilder;
        storage!(
            open!(MicrosoftAzureBuilder, storage, options)
                .with_client_options(client())
                .build(),
            storage
        )
    }

    fn client() -> ClientOptions {
        ClientOptions::new()
            .with_timeout(REQUEST_TIMEOUT)
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_read_timeout(READ_TIMEOUT)
    }

    fn retry() -> RetryConfig {
        RetryConfig {
            // Few and short: a push or a load waits for them, and can be tried again as a whole.
            max_retries: 5,
            retry_timeout: RETRY_TIMEOUT,
            ..RetryConfig::default()
        }
    }

    fn prefix(storage: &str) -> Result<Path> {
        let rest = storage.split_once("://").map_or("", |(_, rest)| rest);
        let path = rest.split_once('/').map_or("", |(_, path)| path);
        Path::parse(path).map_err(|error| {
            Error::new(
                ErrorCode::InvalidConfig,
                format!("registry.storage is {storage:?}: {error}"),
            )
        })
    }

    fn unknown(key: &str) -> Error {
        Error::new(
            ErrorCode::InvalidConfig,
            format!("registry.storage_options has {key:?}, which this storage does not know"),
        )
    }

    fn invalid(storage: &str, error: &object_store::Error) -> Error {
        Error::new(
            ErrorCode::InvalidConfig,
            format!("registry.storage is {storage:?}: {error}"),
        )
    }
}
