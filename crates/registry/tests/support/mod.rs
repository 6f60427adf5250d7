//! A registry in a temporary folder, and bundles for it.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::path::{Path, PathBuf};

use tidegate_registry::{
    Bundle, BundleLimits, PushOptions, Pushed, Reference, Registry, RegistryConfig, VersionRecord,
};

/// A data folder with a registry in it.
pub(crate) struct Fixture {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) config: RegistryConfig,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            config: RegistryConfig::default(),
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) async fn open(&self) -> Registry {
        Registry::open(&self.config, &self.data(), "tester")
            .await
            .unwrap()
    }

    /// A bundle of the model `fraud` whose artifact has this content.
    pub(crate) fn bundle(&self, content: &[u8]) -> Bundle {
        self.bundle_of("fraud", "", &[("model.onnx", content)])
    }

    pub(crate) fn bundle_of(&self, name: &str, manifest: &str, files: &[(&str, &[u8])]) -> Bundle {
        let folder = tempfile::tempdir_in(self.folder.path()).unwrap().keep();
        std::fs::write(
            folder.join("model.toml"),
            format!("name = \"{name}\"\n{manifest}"),
        )
        .unwrap();
        for (path, content) in files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        Bundle::open(&folder, None, &BundleLimits::default()).unwrap()
    }

    pub(crate) async fn push(&self, registry: &Registry, content: &[u8]) -> Pushed {
        registry
            .push(&self.bundle(content), &PushOptions::default())
            .await
            .unwrap()
    }

    /// Where the content of a file of the artifact is stored.
    pub(crate) fn stored(&self, content: &[u8]) -> PathBuf {
        let digest = tidegate_registry::Digest::of(content).hex();
        let folder = self.data().join("objects/objects").join(&digest[..2]);
        let entries = std::fs::read_dir(&folder)
            .unwrap()
            .flatten()
            .map(|entry| entry.path());
        let named = |path: &PathBuf| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(&digest)
        };
        entries
            .into_iter()
            .find(named)
            .unwrap_or_else(|| panic!("no {digest} in {}", folder.display()))
    }
}

pub(crate) async fn resolve(registry: &Registry, reference: &str) -> VersionRecord {
    registry
        .resolve(&reference.parse::<Reference>().unwrap())
        .await
        .unwrap()
}

/// Bytes that do not repeat, the same every time.
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = (0..bytes.div_ceil(8)).flat_map(|_| {
        // xorshift64*, Vigna 2016.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()
    });
    words.take(bytes).collect()
}

/// Every plain file below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path))
        } else {
            found.push(path)
        }
    }
    found
}
