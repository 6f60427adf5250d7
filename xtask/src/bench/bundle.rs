//! Copies of a bundle under other names and settings.

use std::path::Path;

use anyhow::{Context, Result};

/// Copies the bundle `source` to `folder/name`, with `settings` at the end of its manifest.
pub(super) fn copy(source: &Path, folder: &Path, name: &str, settings: &str) -> Result<()> {
    let target = folder.join(name);
    std::fs::create_dir_all(&target)?;
    for entry in
        std::fs::read_dir(source).with_context(|| format!("cannot read {}", source.display()))?
    {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), target.join(entry.file_name()))?;
        }
    }
    let manifest = std::fs::read_to_string(source.join("model.toml"))?;
    // Without a name in the manifest, the folder's is the model's. Tables below have names that
    // stay.
    let (top, tables) = manifest.split_at(manifest.find("\n[").unwrap_or(manifest.len()));
    let top = top
        .lines()
        .filter(|line| !line.starts_with("name ="))
        .collect::<Vec<_>>()
        .join("\n");
    std::fs::write(
        target.join("model.toml"),
        format!("{top}\n{tables}\n{settings}"),
    )?;
    Ok(())
}
