//! `tidegate registry fetch`.

use anyhow::Result;
use serde_json::json;
use tidegate_registry::{Registry, VersionState};

use super::args::VersionArg;
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
        println!("{line}");
    } else {
        println!("{}", cached.path().display());
    }
    if version.state == VersionState::Deprecated {
        // On standard error, because scripts read the folder from standard output.
        eprintln!("{} is deprecated: {}", version.name(), version.reason);
    }
    Ok(())
}
