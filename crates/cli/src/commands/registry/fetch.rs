//! `tidegate registry fetch`.

use anyhow::Result;
use serde_json::json;
use tidegate_registry::{Registry, VersionState};

use super::args::VersionArg;
use crate::output::{eprint_line, print_json_text, print_line};
use crate::registry_access::resolve;

/// Puts a version into the cache and prints its folder.
pub(super) async fn fetch(registry: &Registry, args: &VersionArg) -> Result<()> {
    let version = resolve(registry, &args.version).await?;
    let cached = registry.fetch(&version).await?;
    if args.json {
        let line = json!({
            "version": version.name(),
            "digest": version.digest.to_string(),
            "path": cached.path(),
        });
        print_json_text(&line.to_string());
    } else {
        print_line!("{}", cached.path().display());
    }
    if version.state == VersionState::Deprecated {
        // On standard error, because scripts read the folder from standard output.
        eprint_line!("{} is deprecated: {}", version.name(), version.reason);
    }
    Ok(())
}
