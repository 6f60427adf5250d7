//! The `[registry]` section of `tidegate.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::RequireSignature;

/// Where the registry is, and what it requires. Places that are not set are in the data folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// The database: `postgres://…`, or the path of a SQLite file. By default `registry.db` in the
    /// data folder.
    pub database: Option<String>,
    /// The object store: a folder, or `s3://bucket/prefix`, `gs://…`, `az://…`. By default
    /// `objects` in the data folder.
    pub storage: Option<String>,
    /// Options of the object store, such as `region` or `endpoint`. The usual environment
    /// variables, such as `AWS_ACCESS_KEY_ID`, are read too.
    pub storage_options: BTreeMap<String, String>,
    /// The folder of verified files that this machine uses. By default `cache` in the data folder.
    pub cache: Option<PathBuf>,
    /// Maximum bytes in the cache. The least recently used versions are removed first; those in use
    /// stay.
    pub cache_max_bytes: u64,
    /// The folder with the signing key (`signing.pem`), the trusted keys (`trusted/`) and the
    /// revoked ones (`revoked/`). By default `keys` in the data folder.
    pub keys: Option<PathBuf>,
    /// Whether versions must be signed by a trusted key.
    pub require_signature: RequireSignature,
    /// Encryption of the files in the object store; off unless a key is named.
    pub encryption: EncryptionConfig,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            database: None,
            storage: None,
            storage_options: BTreeMap::new(),
            cache: None,
            cache_max_bytes: 20 << 30,
            keys: None,
            require_signature: RequireSignature::default(),
            encryption: EncryptionConfig::default(),
        }
    }
}

/// The key that wraps the data keys of objects. One of `key_file`, `key_env` and `key_command`, or
/// none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncryptionConfig {
    /// A file with 64 hexadecimal digits.
    pub key_file: Option<PathBuf>,
    /// An environment variable with 64 hexadecimal digits.
    pub key_env: Option<String>,
    /// A command that wraps and unwraps data keys, for a key management service: it gets `wrap` or
    /// `unwrap` as its last argument and hexadecimal digits on standard input, and answers with
    /// hexadecimal digits.
    pub key_command: Vec<String>,
    /// The name of the key behind `key_command`.
    pub key_id: Option<String>,
    /// Files with earlier keys, which still unwrap what they wrapped.
    pub previous_keys: Vec<PathBuf>,
}

impl RegistryConfig {
    /// The database's URL or path.
    pub fn database(&self, data: &Path) -> String {
        self.database
            .clone()
            .unwrap_or_else(|| data.join("registry.db").display().to_string())
    }

    /// The object store's URL or path.
    pub fn storage(&self, data: &Path) -> String {
        self.storage
            .clone()
            .unwrap_or_else(|| data.join("objects").display().to_string())
    }

    /// The cache's folder.
    pub fn cache(&self, data: &Path) -> PathBuf {
        self.cache.clone().unwrap_or_else(|| data.join("cache"))
    }

    /// The folder of keys.
    pub fn keys(&self, data: &Path) -> PathBuf {
        self.keys.clone().unwrap_or_else(|| data.join("keys"))
    }
}
