//! Bundles to push: a manifest and files, read from an untrusted folder.

mod content;
mod folder;
mod limits;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tidegate_core::{Lineage, Manifest, ModelName};

pub(crate) use folder::walk;
pub use limits::BundleLimits;
pub(crate) use limits::{check_files, check_path};

use crate::digest::hash_file;
use crate::{Digest, Error, ErrorCode, Result};

/// The manifest's place in a bundle.
pub(crate) const MANIFEST: &str = "model.toml";

/// A bundle that may be pushed: every path is safe, and every file that the manifest names exists.
#[derive(Clone, Debug)]
pub struct Bundle {
    name: ModelName,
    manifest: Manifest,
    files: Vec<BundleFile>,
}

/// One file of a bundle.
#[derive(Clone, Debug)]
pub struct BundleFile {
    /// Relative to the bundle, with `/` between folders.
    pub path: String,
    /// Where its content comes from.
    pub source: Source,
}

/// Where the content of a file comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file of this machine.
    File(PathBuf),
    /// Bytes that were made here.
    Bytes(Vec<u8>),
}

impl BundleFile {
    /// A file of this machine, at a place in the bundle.
    pub fn new(path: impl Into<String>, file: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            source: Source::File(file.into()),
        }
    }

    /// Bytes, at a place in the bundle.
    pub fn made(path: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self {
            path: path.into(),
            source: Source::Bytes(bytes),
        }
    }
}

impl Bundle {
    /// Reads the folder of a bundle, or a bare artifact, for which it makes a manifest. `name`
    /// overrides the manifest's.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidBundle`], [`ErrorCode::UnsafePath`] or [`ErrorCode::TooLarge`] say what
    /// is wrong with it.
    pub fn open(path: &Path, name: Option<&str>, limits: &BundleLimits) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(|error| Error::file(path, &error))?;
        if metadata.is_file() {
            return Self::bare(path, name, limits);
        }
        let files = folder::walk(path, limits)?;
        let Some(manifest) = files.iter().find(|file| file.path == MANIFEST) else {
            let artifact = path.join("model.onnx");
            if artifact.is_file() {
                return Self::bare(&artifact, Some(name.unwrap_or(&folder_name(path))), limits);
            }
            let problem = format!(
                "{}: there is no {MANIFEST} and no model.onnx",
                path.display()
            );
            return Err(Error::new(ErrorCode::InvalidBundle, problem));
        };
        let text = folder::read_manifest(manifest, limits)?;
        let mut manifest = parse(&text, &path.join(MANIFEST).display().to_string())?;
        let own = if manifest.name.is_empty() {
            folder_name(path)
        } else {
            manifest.name.clone()
        };
        manifest.name = name.map_or(own, str::to_owned);
        Self::new(manifest, files, limits)
    }

    /// A bundle out of parts; a manifest is made of `manifest` unless `files` has one.
    ///
    /// # Errors
    /// As [`Bundle::open`].
    pub fn new(
        manifest: Manifest,
        mut files: Vec<BundleFile>,
        limits: &BundleLimits,
    ) -> Result<Self> {
        let name: ModelName = manifest.name.parse().map_err(|error| {
            Error::new(
                ErrorCode::InvalidBundle,
                format!("{error} (use --name to set another name)"),
            )
        })?;
        if !files.iter().any(|file| file.path == MANIFEST) {
            files.push(BundleFile::made(MANIFEST, to_toml(&manifest)?.into_bytes()));
        }
        files.sort_by(|one, two| one.path.cmp(&two.path));
        let bundle = Self {
            name,
            manifest,
            files,
        };
        bundle.check(limits)?;
        Ok(bundle)
    }

    /// The model that it is a version of.
    pub fn name(&self) -> &ModelName {
        &self.name
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its files, by path.
    pub fn files(&self) -> &[BundleFile] {
        &self.files
    }

    /// Changes the lineage in the manifest, and writes the manifest again.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidBundle`] if it can no longer be written.
    pub fn describe(&mut self, change: impl FnOnce(&mut Lineage, &mut Manifest)) -> Result<()> {
        let mut lineage = std::mem::take(&mut self.manifest.lineage);
        change(&mut lineage, &mut self.manifest);
        self.manifest.lineage = lineage;
        let text = to_toml(&self.manifest)?;
        if let Some(file) = self.files.iter_mut().find(|file| file.path == MANIFEST) {
            file.source = Source::Bytes(text.into_bytes());
        }
        Ok(())
    }

    /// Reads the files whose digest is in the manifest, and checks them. Blocks.
    ///
    /// # Errors
    /// [`ErrorCode::FileMismatch`] names the first one that differs.
    pub fn check_digests(&self) -> Result<()> {
        let mut found = Vec::new();
        for file in &self.files {
            if !self.is_fixed(&file.path) {
                continue;
            }
            let (bytes, digest) = match &file.source {
                Source::Bytes(bytes) => (bytes.len() as u64, Digest::of(bytes)),
                Source::File(path) => hash_file(path, &|_| {})?,
            };
            found.push((file.path.clone(), bytes, digest));
        }
        self.check_fixed(&found)
    }

    fn is_fixed(&self, path: &str) -> bool {
        self.manifest.files.iter().any(|fixed| fixed.path == path)
    }

    /// Checks the digests of its files against those in the manifest.
    pub(crate) fn check_fixed(&self, found: &[(String, u64, Digest)]) -> Result<()> {
        for fixed in &self.manifest.files {
            let wanted: Digest = fixed.sha256.parse()?;
            let Some((_, bytes, digest)) = found.iter().find(|(path, ..)| *path == fixed.path)
            else {
                continue;
            };
            // The length first: two lengths tell a reader more than two digests.
            if let Some(wanted) = fixed.bytes.filter(|wanted| wanted != bytes) {
                let problem = format!("has {bytes} bytes instead of {wanted}");
                return Err(mismatch(&fixed.path, &problem));
            }
            if *digest != wanted {
                let problem = format!("has the digest {digest} instead of {wanted}");
                return Err(mismatch(&fixed.path, &problem));
            }
        }
        Ok(())
    }

    fn bare(artifact: &Path, name: Option<&str>, limits: &BundleLimits) -> Result<Self> {
        let file = artifact
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let stem = artifact
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        let name = name.map_or(stem, str::to_owned);
        let manifest = Manifest {
            name,
            artifact: file.clone(),
            ..Manifest::default()
        };
        Self::new(manifest, vec![BundleFile::new(file, artifact)], limits)
    }

    fn check(&self, limits: &BundleLimits) -> Result<()> {
        let mut sizes = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let bytes = match &file.source {
                Source::Bytes(bytes) => bytes.len() as u64,
                Source::File(path) => std::fs::metadata(path)
                    .map_err(|error| Error::file(path, &error))?
                    .len(),
            };
            sizes.push((file.path.as_str(), bytes));
        }
        check_files(sizes.into_iter(), limits)?;
        let present: BTreeSet<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        for named in self.manifest.named_files() {
            check_path(named, limits)?;
            if !present.contains(named) {
                let problem = format!(
                    "file \"{}\" is named in {MANIFEST} but not in the bundle",
                    named.escape_default()
                );
                return Err(Error::new(ErrorCode::InvalidBundle, problem));
            }
        }
        Ok(())
    }
}

/// Reads a manifest's text; `place` is for messages.
pub(crate) fn parse(text: &str, place: &str) -> Result<Manifest> {
    let manifest: Manifest = toml::from_str(text).map_err(|error| {
        let start = error.span().map(|span| span.start);
        invalid_manifest(place, &Manifest::problem(text, start, error.message()))
    })?;
    if manifest.schema != Manifest::SCHEMA {
        let problem = format!(
            "schema {} is not known, this build reads {}",
            manifest.schema,
            Manifest::SCHEMA
        );
        return Err(invalid_manifest(place, &problem));
    }
    Ok(manifest)
}

fn invalid_manifest(place: &str, problem: &str) -> Error {
    Error::new(ErrorCode::InvalidBundle, format!("{place}: {problem}"))
}

fn mismatch(path: &str, problem: &str) -> Error {
    let message = format!("file \"{path}\" {problem}, as {MANIFEST} fixes it");
    Error::new(ErrorCode::FileMismatch, message)
}

fn to_toml(manifest: &Manifest) -> Result<String> {
    toml::to_string_pretty(manifest).map_err(|error| {
        Error::new(
            ErrorCode::InvalidBundle,
            format!("{MANIFEST} cannot be written: {error}"),
        )
    })
}

pub(crate) fn folder_name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    whole
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
