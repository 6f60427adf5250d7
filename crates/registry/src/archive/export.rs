//! Writing versions into a file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use super::{CONTENTS, LIST, List, Listed, SCHEMA};
use crate::push::blocking;
use crate::{Digest, Error, ErrorCode, Registry, Result, VersionRecord};

/// zstd's own default: higher levels hardly make weights smaller.
const LEVEL: i32 = 3;
/// Blocks of `tar`.
const BLOCK: u64 = 512;

type Archive = zstd::Encoder<'static, BufWriter<File>>;

/// How to export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportOptions {
    /// Whether an existing file may be replaced.
    pub overwrite: bool,
}

impl Registry {
    /// Writes versions with their contents, signatures and aliases to a file, which appears when it
    /// is complete. Contents are verified on the way, and not encrypted in the file.
    ///
    /// # Errors
    /// [`Error`] says what cannot be read or written.
    pub async fn export(
        &self,
        versions: &[VersionRecord],
        file: &Path,
        options: ExportOptions,
    ) -> Result<()> {
        if !options.overwrite && file.exists() {
            return Err(Error::new(
                ErrorCode::FileUnusable,
                format!("{}: the file exists; use --force", file.display()),
            ));
        }
        let (list, contents) = self.list(versions).await?;
        let part = part_beside(file)?;
        let writer = BufWriter::new(part.reopen().map_err(|error| Error::file(file, &error))?);
        let mut archive =
            zstd::Encoder::new(writer, LEVEL).map_err(|error| Error::file(file, &error))?;
        // The list comes first: an import decides by it what to read of the rest.
        let text = serde_json::to_vec(&list).expect("plain data can be written");
        archive = write(archive, LIST.to_owned(), text.len() as u64, Some(text)).await?;
        for (digest, bytes) in contents {
            let bytes = u64::try_from(bytes).unwrap_or(0);
            archive = write(archive, format!("{CONTENTS}{digest}"), bytes, None).await?;
            archive = self
                .read_content(&digest.parse::<Digest>()?, archive)
                .await?;
            archive = pad(archive, bytes).await?;
        }
        let file = file.to_owned();
        blocking(move || finish(archive, part, &file).map_err(|error| Error::file(&file, &error)))
            .await
    }

    /// What the versions are made of, and the length of each content by its digest: versions that
    /// share a content have it in the file once.
    async fn list(&self, versions: &[VersionRecord]) -> Result<(List, BTreeMap<String, i64>)> {
        let mut list = List {
            schema: SCHEMA,
            versions: Vec::new(),
        };
        let mut contents = BTreeMap::new();
        for version in versions {
            let entry = self.entry(version).await?;
            self.cache.trust(&entry)?;
            let aliases = self.store.aliases(Some(&version.model)).await?.into_iter();
            let aliases = aliases
                .filter(|alias| alias.version == version.number)
                .map(|alias| alias.name)
                .collect();
            contents.extend(
                entry
                    .files
                    .iter()
                    .map(|file| (file.digest.clone(), file.bytes)),
            );
            let (version, files, signatures) = (entry.version, entry.files, entry.signatures);
            list.versions.push(Listed {
                version,
                files,
                signatures,
                aliases,
            });
        }
        Ok((list, contents))
    }
}

/// In the folder of the file that it becomes: a rename is atomic only within one file system.
fn part_beside(file: &Path) -> Result<NamedTempFile> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    tempfile::Builder::new()
        .prefix(".export-")
        .tempfile_in(folder)
        .map_err(|error| Error::file(file, &error))
}

fn finish(mut archive: Archive, part: NamedTempFile, file: &Path) -> std::io::Result<()> {
    // Two empty blocks end an archive.
    archive.write_all(&[0; 2 * BLOCK as usize])?;
    let writer = archive.finish()?;
    let written = writer.into_inner().map_err(|error| error.into_error())?;
    // On the disk before it appears under its name.
    written.sync_all()?;
    part.persist(file).map_err(|error| error.error)?;
    Ok(())
}

/// Begins an entry; its bytes follow, here or from the caller, who then pads them.
async fn write(
    mut archive: Archive,
    name: String,
    bytes: u64,
    content: Option<Vec<u8>>,
) -> Result<Archive> {
    blocking(move || {
        let mut header = tar::Header::new_ustar();
        let named = header.set_path(&name);
        header.set_size(bytes);
        header.set_mode(0o644);
        header.set_cksum();
        let written = named
            .and_then(|()| archive.write_all(header.as_bytes()))
            .and_then(|()| match &content {
                None => Ok(()),
                Some(content) => archive
                    .write_all(content)
                    .and_then(|()| archive.write_all(&padding(bytes))),
            });
        written.map(|()| archive).map_err(|error| unwritten(&error))
    })
    .await
}

async fn pad(mut archive: Archive, bytes: u64) -> Result<Archive> {
    blocking(move || {
        archive
            .write_all(&padding(bytes))
            .map(|()| archive)
            .map_err(|error| unwritten(&error))
    })
    .await
}

fn padding(bytes: u64) -> Vec<u8> {
    vec![0; (bytes.next_multiple_of(BLOCK) - bytes) as usize]
}

fn unwritten(error: &std::io::Error) -> Error {
    Error::new(
        ErrorCode::FileUnusable,
        format!("the export cannot be written: {error}"),
    )
}
