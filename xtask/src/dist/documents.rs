//! What accompanies the binary: licences, man pages, shell completions, the SBOM.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::crates::Crate;
use super::file::PackedFile;
use super::licences;
use crate::{root, succeed};

/// Shells, with the path of their completions below `share/` on Debian.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "bash-completion/completions/tidegate"),
    ("zsh", "zsh/vendor-completions/_tidegate"),
    ("fish", "fish/vendor_completions.d/tidegate.fish"),
];

/// Files that go below `share/` or `usr/share/` of a package.
pub(super) struct Documents {
    /// Licences, changelog, README, SBOM; the names are those in `share/doc/tidegate`.
    pub(super) texts: Vec<PackedFile>,
    /// Pages of section 1, not compressed; the names are those in `share/man/man1`.
    pub(super) man_pages: Vec<PackedFile>,
    /// The paths are those below `share/`.
    pub(super) completions: Vec<PackedFile>,
}

impl Documents {
    /// Asks the binary for its pages and completions, and reads the rest from the checkout.
    pub(super) fn collect(binary: &Path, crates: &[Crate], sbom: &[u8]) -> Result<Self> {
        let mut texts = vec![
            PackedFile::readable("THIRD-PARTY-LICENSES", licences::third_party(crates)?),
            PackedFile::readable("tidegate.cdx.json", sbom),
        ];
        for name in ["LICENSE", "README.md", "CHANGELOG.md"] {
            let contents = std::fs::read(root().join(name));
            texts.push(PackedFile::readable(name, contents.context(name)?));
        }
        Ok(Self {
            texts,
            man_pages: man_pages(binary)?,
            completions: completions(binary)?,
        })
    }
}

fn man_pages(binary: &Path) -> Result<Vec<PackedFile>> {
    let folder = std::env::temp_dir().join(format!("tidegate-man-{}", std::process::id()));
    succeed(Command::new(binary).arg("man").arg(&folder))?;
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        pages.push(PackedFile::readable(name, std::fs::read(entry.path())?));
    }
    std::fs::remove_dir_all(&folder)?;
    // Folders are listed in any order; packages of the same commit are to be the same.
    pages.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(pages)
}

fn completions(binary: &Path) -> Result<Vec<PackedFile>> {
    let mut completions = Vec::new();
    for (shell, path) in COMPLETIONS {
        let output = Command::new(binary).args(["completions", shell]).output()?;
        if !output.status.success() {
            bail!(
                "{} completions {shell} ended with {}",
                binary.display(),
                output.status
            );
        }
        completions.push(PackedFile::readable(path, output.stdout));
    }
    Ok(completions)
}
