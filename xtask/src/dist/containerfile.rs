//! The build file of the container image.

use anyhow::Result;

use super::Release;
use crate::{root, setup};

/// `packaging/Containerfile` with the names of this release.
pub(super) fn containerfile(release: &Release) -> Result<String> {
    let template = std::fs::read_to_string(root().join("packaging/Containerfile"))?;
    let named = template.replace("@ARCHIVE@", &release.name());
    Ok(named.replace("@ONNXRUNTIME@", setup::ONNXRUNTIME))
}
