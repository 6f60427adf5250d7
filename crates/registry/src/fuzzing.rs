//! Entry points for fuzzers: the code that reads bytes from outside, without the code around it.

use std::path::Path;

use crate::archive::unpack;
use crate::bundle::{self, BundleLimits, check_path};

/// Most bytes that an export may unpack here.
const MAX_BYTES: u64 = 1 << 20;

/// Unpacks an export into an empty folder, which must stay the only place that is written to.
pub fn export(bytes: &[u8], folder: &Path) {
    let file = folder.join("export");
    let place = folder.join("place");
    if std::fs::write(&file, bytes).is_err() || std::fs::create_dir_all(&place).is_err() {
        return;
    }
    let limits = BundleLimits {
        max_bytes: MAX_BYTES,
        ..BundleLimits::default()
    };
    let _ = unpack(&file, &place, &limits);
}

/// Reads a manifest, and the paths that it names.
pub fn manifest(text: &str) {
    if let Ok(manifest) = bundle::parse(text, "model.toml") {
        for path in manifest.named_files() {
            let _ = check_path(path, &BundleLimits::default());
        }
    }
}
