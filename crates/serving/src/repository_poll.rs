//! Loading what changes in folders without being asked to.
//!
//! ```text
//!                 as before          another one           as last time
//! look ──► files ──────────► nothing ──────────► wait ───────────────► load
//! ```
//!
//! Files that are being copied differ from one look to the next. So a model is loaded only once two
//! looks found the same, and a model that lost its files is unloaded only once two looks missed it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tracing::{info, warn};

use crate::Models;

/// Folders of models are not deeper: `NAME/1/model.onnx/weights`.
const MAX_DEPTH: usize = 6;

/// What was found in the folders, from one look to the next.
#[derive(Debug)]
pub struct RepositoryPoll {
    models: BTreeMap<String, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The files as they were when they were loaded, or as the load failed.
    loaded: Option<u64>,
    /// The files as the last look found them; `None` if it missed them.
    last: Option<u64>,
}

impl RepositoryPoll {
    /// Begins with what is there. What answers is taken for loaded from it.
    pub fn new(models: &Models) -> Self {
        let found = found(models).unwrap_or_default();
        let models = found.into_iter().map(|(name, files)| {
            let seen = Seen {
                loaded: models.model(&name).is_ok().then_some(files),
                last: Some(files),
            };
            (name, seen)
        });
        Self {
            models: models.collect(),
        }
    }

    /// Looks once, and loads and unloads what has changed. Blocks.
    pub fn look(&mut self, models: &Models) {
        // A folder that cannot be read now says nothing of its models.
        let Some(mut found) = found(models) else {
            return;
        };
        for name in found.keys() {
            self.models.entry(name.clone()).or_default();
        }
        self.models.retain(|name, seen| {
            let files = found.remove(name);
            let is_settled = files == seen.last;
            seen.last = files;
            match files {
                Some(files) if is_settled && seen.loaded != Some(files) => {
                    seen.loaded = Some(files);
                    load(models, name);
                    true
                }
                None if is_settled => {
                    unload(models, name);
                    false
                }
                _ => true,
            }
        });
    }
}

fn load(models: &Models, name: &str) {
    info!(model = name, "its files have changed: it is loaded");
    // What went wrong is logged where it did, and shown in the index.
    let _ = models.load(name);
}

fn unload(models: &Models, name: &str) {
    info!(model = name, "its files are gone: it is unloaded");
    if let Err(error) = models.unload(name) {
        warn!(model = name, %error, "a model whose files are gone cannot be unloaded");
    }
}

/// The models in the folders, with a digest of their files; `None` if a folder cannot be read.
fn found(models: &Models) -> Option<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for root in models.roots() {
        if !root.exists() {
            return None;
        }
        for (name, path) in crate::source::places(root) {
            let mut digest = DefaultHasher::new();
            hash_files(&path, 0, &mut digest);
            // The first path wins, as at the start.
            found.entry(name).or_insert_with(|| digest.finish());
        }
    }
    Some(found)
}

/// What tells one state of files from another without reading them.
fn hash_files(path: &Path, depth: usize, digest: &mut DefaultHasher) {
    path.hash(digest);
    let Ok(file) = std::fs::metadata(path) else {
        return;
    };
    if !file.is_dir() {
        // Contents are not read: they can have gigabytes, and this runs every few seconds.
        (file.len(), file.ino(), file.mtime(), file.mtime_nsec()).hash(digest);
        return;
    }
    if depth < MAX_DEPTH {
        for entry in crate::source::entries(path).unwrap_or_default() {
            hash_files(&entry, depth + 1, digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use tidegate_engines::Engines;

    use super::*;
    use crate::MetricRegistry;

    fn digits() -> Vec<u8> {
        let path = "../../examples/models/digits/model.onnx";
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
    }

    struct Folder {
        root: tempfile::TempDir,
        models: Models,
    }

    impl Folder {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir_all(root.path().join("first/1")).unwrap();
            fs::write(root.path().join("first/1/model.onnx"), digits()).unwrap();
            let roots = vec![root.path().to_owned()];
            let models = Models::new(roots, Engines::portable_only(), &MetricRegistry::new());
            models.load_all();
            Self { root, models }
        }

        fn path(&self, file: &str) -> PathBuf {
            self.root.path().join(file)
        }

        fn versions(&self, model: &str) -> Vec<String> {
            let model = self.models.model(model).ok();
            let model = model.iter().flat_map(|model| model.versions());
            model.map(|version| version.number().to_owned()).collect()
        }
    }

    #[test]
    fn a_model_is_loaded_once_its_files_no_longer_change() {
        let folder = Folder::new();
        let mut poll = RepositoryPoll::new(&folder.models);
        let content = digits();
        fs::create_dir_all(folder.path("second/1")).unwrap();
        for part in [content.len() / 3, content.len() / 2, content.len()] {
            fs::write(folder.path("second/1/model.onnx"), &content[..part]).unwrap();
            poll.look(&folder.models);
            assert!(
                folder.versions("second").is_empty(),
                "it may be half a file"
            );
        }
        poll.look(&folder.models);
        assert_eq!(folder.versions("second"), ["1"]);
        assert_eq!(folder.versions("first"), ["1"]);
    }

    #[test]
    fn a_new_version_replaces_the_old_one_and_a_broken_one_does_not() {
        let folder = Folder::new();
        let mut poll = RepositoryPoll::new(&folder.models);
        fs::create_dir_all(folder.path("first/2")).unwrap();
        fs::write(folder.path("first/2/model.onnx"), digits()).unwrap();
        for _ in 0..2 {
            poll.look(&folder.models);
        }
        assert_eq!(folder.versions("first"), ["2"]);
        fs::write(folder.path("first/2/model.onnx"), "broken").unwrap();
        for _ in 0..3 {
            poll.look(&folder.models);
        }
        assert_eq!(
            folder.versions("first"),
            ["2"],
            "what was loaded before answers"
        );
    }

    #[test]
    fn a_model_whose_files_are_gone_is_unloaded() {
        let folder = Folder::new();
        let mut poll = RepositoryPoll::new(&folder.models);
        fs::rename(folder.path("first"), folder.path(".away")).unwrap();
        poll.look(&folder.models);
        assert_eq!(folder.versions("first"), ["1"]);
        poll.look(&folder.models);
        assert!(folder.versions("first").is_empty());
        fs::rename(folder.path(".away"), folder.path("first")).unwrap();
        for _ in 0..2 {
            poll.look(&folder.models);
        }
        assert_eq!(folder.versions("first"), ["1"]);
    }
}
