//! Reading versions from an untrusted file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::{CONTENTS, LIST, List, Listed, MAX_LIST_BYTES, SCHEMA};
use crate::bundle::{self, BundleFile, BundleLimits, MANIFEST, check_files};
use crate::cache::Entry;
use crate::digest::Hasher;
use crate::push::{Original, blocking, digest_of};
use crate::{Bundle, Error, ErrorCode, PushOptions, Pushed, Registry, Result, Verdict};

/// How to import.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Gives versions whose number is taken the next free one. A signature names the number, so
    /// that they lose theirs and are signed again, if there is a key.
    pub renumber: bool,
    /// Moves the aliases that the export has to the imported versions.
    pub aliases: bool,
    /// The limits of each version, and of all contents together.
    pub limits: BundleLimits,
}

/// One version that was imported.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// What the export calls it, such as `fraud:7`.
    pub name: String,
    /// The result of its push.
    pub pushed: Pushed,
}

impl Registry {
    /// Adds the versions of an export. Numbers and signatures stay; everything is checked before
    /// anything is added.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArchive`] if the file is not an export or was changed,
    /// [`ErrorCode::NumberTaken`] if a number belongs to other content, what is wrong with a
    /// signature, or what a bundle may not be.
    pub async fn import(&self, file: &Path, options: &ImportOptions) -> Result<Vec<Imported>> {
        let folder = self.cache.work_folder()?;
        let (path, limits, place) = (
            file.to_owned(),
            options.limits.clone(),
            folder.path().to_owned(),
        );
        let listed = blocking(move || unpack(&path, &place, &limits)).await?;
        // All of them before the first is added: one bad signature, and nothing is added.
        for one in &listed {
            self.check(one)?;
        }
        let mut imported = Vec::new();
        for one in listed {
            imported.push(self.take_over(one, folder.path(), options).await?);
        }
        Ok(imported)
    }

    /// Checks a version of the list against its digest and its signatures.
    fn check(&self, listed: &Listed) -> Result<()> {
        let entry = Entry {
            version: listed.version.clone(),
            files: listed.files.clone(),
            signatures: listed.signatures.clone(),
            others: Vec::new(),
        };
        match self.cache.trust(&entry) {
            Ok(Verdict::Unsigned(why)) => {
                tracing::warn!(
                    version = listed.version.name(),
                    why,
                    "imported without a trusted signature"
                )
            }
            Ok(_) => {}
            // It will be signed again here, and refused later if it is not.
            Err(error)
                if error.code == ErrorCode::Unsigned && self.cache.keys()?.signer().is_some() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn take_over(
        &self,
        listed: Listed,
        folder: &Path,
        options: &ImportOptions,
    ) -> Result<Imported> {
        let name = listed.version.name();
        let files: Vec<BundleFile> = listed
            .files
            .iter()
            .map(|file| BundleFile::new(&file.path, content(folder, &file.digest)))
            .collect();
        let Some(manifest) = listed.files.iter().find(|file| file.path == MANIFEST) else {
            return Err(invalid(&format!("{name} has no {MANIFEST}")));
        };
        let path = content(folder, &manifest.digest);
        let text = std::fs::read_to_string(&path).map_err(|error| Error::file(&path, &error))?;
        let mut manifest = bundle::parse(&text, &format!("{MANIFEST} of {name}"))?;
        // A push with `--name` leaves the manifest as it was, and the list has the real name.
        manifest.name = listed.version.model.clone();
        let bundle = Bundle::new(manifest, files, &options.limits)?;
        let aliases = if options.aliases {
            listed.aliases
        } else {
            Vec::new()
        };
        let push = PushOptions {
            alias: aliases.first().cloned(),
            ..PushOptions::default()
        };
        let original = Original {
            number: Some(listed.version.number),
            signatures: listed.signatures,
        };
        let pushed = match self.push_as(&bundle, &push, &original).await {
            // Without the signatures, which name the old number.
            Err(error) if error.code == ErrorCode::NumberTaken && options.renumber => {
                self.push(&bundle, &push).await?
            }
            outcome => outcome?,
        };
        for alias in aliases.iter().skip(1) {
            self.set_alias(alias, &pushed.version).await?;
        }
        Ok(Imported { name, pushed })
    }
}

/// Reads the list and the contents that it names, each checked against its digest, into a folder.
/// No more is written than the list declares, and the list may declare no more than the limits
/// allow.
pub(crate) fn unpack(file: &Path, folder: &Path, limits: &BundleLimits) -> Result<Vec<Listed>> {
    let opened = File::open(file).map_err(|error| Error::file(file, &error))?;
    let decoder =
        zstd::Decoder::with_buffer(BufReader::new(opened)).map_err(|error| broken(&error))?;
    let mut archive = tar::Archive::new(decoder);
    // Raw: long names and extended headers, which would be read into memory whatever their size,
    // are refused as unknown.
    let mut entries = archive.entries().map_err(|error| broken(&error))?.raw(true);
    let first = entries.next().ok_or_else(|| invalid("it is empty"))?;
    let mut first = first.map_err(|error| broken(&error))?;
    let list = read_list(&mut first, limits)?;
    let mut missing: BTreeMap<String, u64> = declared(&list);
    for entry in entries {
        let mut entry = entry.map_err(|error| broken(&error))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let digest = name.strip_prefix(CONTENTS).unwrap_or_default();
        let plain = entry.header().entry_type().is_file();
        // Removed from the list once seen: a second entry of the same name is refused.
        let Some(bytes) = missing
            .remove(digest)
            .filter(|bytes| plain && *bytes == entry.size())
        else {
            let shown: String = name.chars().take(120).collect();
            return Err(invalid(&format!(
                "its list does not have the entry \"{}\"",
                shown.escape_default()
            )));
        };
        unpack_content(&mut entry, &content(folder, digest), digest, bytes)?;
    }
    match missing.keys().next() {
        Some(digest) => Err(invalid(&format!("the content sha256:{digest} is missing"))),
        None => Ok(list.versions),
    }
}

fn read_list(entry: &mut tar::Entry<'_, impl Read>, limits: &BundleLimits) -> Result<List> {
    if entry.path_bytes().as_ref() != LIST.as_bytes() {
        return Err(invalid(&format!("it does not begin with {LIST}")));
    }
    if entry.size() > MAX_LIST_BYTES {
        return Err(Error::new(
            ErrorCode::TooLarge,
            format!("{LIST} has {} bytes", entry.size()),
        ));
    }
    let mut text = Vec::new();
    entry
        .take(MAX_LIST_BYTES)
        .read_to_end(&mut text)
        .map_err(|error| broken(&error))?;
    let list: List =
        serde_json::from_slice(&text).map_err(|error| invalid(&format!("{LIST}: {error}")))?;
    if list.schema != SCHEMA {
        return Err(invalid(&format!(
            "its schema is {}, this build reads {SCHEMA}",
            list.schema
        )));
    }
    for listed in &list.versions {
        check_listed(listed, limits)?;
    }
    // The sizes come from outside: their sum must not wrap around to a small one.
    let total = declared(&list)
        .values()
        .fold(0u64, |total, bytes| total.saturating_add(*bytes));
    if total > limits.max_bytes {
        return Err(Error::new(
            ErrorCode::TooLarge,
            format!(
                "the contents have {total} bytes, the maximum is {}",
                limits.max_bytes
            ),
        ));
    }
    Ok(list)
}

/// Checks a version of the list on its own: nothing of the list was verified before.
fn check_listed(listed: &Listed, limits: &BundleLimits) -> Result<()> {
    let version = &listed.version;
    if version.number < 1 || version.model.parse::<tidegate_core::ModelName>().is_err() {
        return Err(invalid("it names an invalid version"));
    }
    if listed
        .files
        .iter()
        .any(|file| file.bytes < 0 || file.digest.parse::<crate::Digest>().is_err())
    {
        return Err(invalid(&format!("{} has an invalid file", version.name())));
    }
    let sizes = listed
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.bytes.unsigned_abs()));
    check_files(sizes, limits)?;
    if digest_of(&listed.files) != version.digest {
        return Err(Error::new(
            ErrorCode::ManifestCorrupt,
            format!("the files of {} are not {}", version.name(), version.digest),
        ));
    }
    Ok(())
}

fn declared(list: &List) -> BTreeMap<String, u64> {
    let files = list.versions.iter().flat_map(|listed| &listed.files);
    files
        .map(|file| (file.digest.clone(), file.bytes.unsigned_abs()))
        .collect()
}

fn unpack_content(from: &mut impl Read, path: &Path, digest: &str, bytes: u64) -> Result<()> {
    // Never over another file: entry names come from outside.
    let mut file = File::create_new(path).map_err(|error| Error::file(path, &error))?;
    let (mut hasher, mut left, mut piece) = (Hasher::default(), bytes, vec![0; 1 << 20]);
    while left > 0 {
        // No byte beyond the declared length, whatever the archive has.
        let most = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = from
            .read(&mut piece[..most])
            .map_err(|error| broken(&error))?;
        if read == 0 {
            return Err(invalid(&format!("the content sha256:{digest} is cut off")));
        }
        hasher.update(&piece[..read]);
        file.write_all(&piece[..read])
            .map_err(|error| Error::file(path, &error))?;
        left -= read as u64;
    }
    if hasher.finish().hex() != digest {
        return Err(Error::new(
            ErrorCode::ObjectCorrupt,
            format!("the content sha256:{digest} was changed in the export"),
        ));
    }
    Ok(())
}

fn content(folder: &Path, digest: &str) -> PathBuf {
    folder.join(digest)
}

fn broken(error: &std::io::Error) -> Error {
    invalid(&error.to_string())
}

fn invalid(problem: &str) -> Error {
    Error::new(
        ErrorCode::InvalidArchive,
        format!("the file is not an export of a registry, or was changed: {problem}"),
    )
}
