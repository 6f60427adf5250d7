//! Archives of `tar`, compressed, and the archive for any Linux.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};

use super::Release;
use super::file::{EXECUTABLE, PackedFile};
use crate::root;

/// One folder with `bin/`, `share/` and `lib/`, as they go below `/usr/local`.
pub(super) fn tar_gz(release: &Release) -> Result<Vec<u8>> {
    let unit = std::fs::read(root().join("packaging/tidegate.service"))?;
    let documents = &release.documents;
    let mut files = vec![
        PackedFile::executable("bin/tidegate", release.binary.contents.clone()),
        PackedFile::readable("lib/systemd/system/tidegate.service", unit),
    ];
    for text in &documents.texts {
        let path = format!("share/doc/tidegate/{}", text.path);
        files.push(PackedFile::readable(path, text.contents.clone()));
    }
    for page in &documents.man_pages {
        let path = format!("share/man/man1/{}", page.path);
        files.push(PackedFile::readable(path, page.contents.clone()));
    }
    for completion in &documents.completions {
        let path = format!("share/{}", completion.path);
        files.push(PackedFile::readable(path, completion.contents.clone()));
    }
    pack(&files, &format!("{}/", release.name()), release)
}

/// Packs files below a folder, with an entry for every folder on the way.
pub(super) fn pack(files: &[PackedFile], below: &str, release: &Release) -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut folders = BTreeSet::new();
    for file in files {
        let path = format!("{below}{}", file.path);
        for (end, _) in path.match_indices('/') {
            let folder = &path[..=end];
            if folders.insert(folder.to_owned()) {
                let mut header = header(EntryType::Directory, EXECUTABLE, 0, release);
                builder.append_data(&mut header, folder, std::io::empty())?;
            }
        }
        let size = file.contents.len() as u64;
        let mut header = header(EntryType::Regular, file.mode, size, release);
        builder.append_data(&mut header, &path, file.contents.as_slice())?;
    }
    gzip(&builder.into_inner()?, release)
}

fn header(kind: EntryType, mode: u32, size: u64, release: &Release) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(release.time_s);
    // Root's, whoever packs.
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Compresses without a time and a name in the header: equal contents give equal files.
pub(super) fn gzip(contents: &[u8], release: &Release) -> Result<Vec<u8>> {
    let level = Compression::new(release.compression);
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), level);
    encoder.write_all(contents)?;
    Ok(encoder.finish()?)
}
