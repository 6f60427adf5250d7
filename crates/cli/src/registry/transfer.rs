//! `tidegate registry export` and `import`.

use anyhow::Result;
use tidegate_registry::{BundleLimits, ExportOptions, ImportOptions, Registry};

use super::args::{Export, Import};
use super::resolve;

pub(super) async fn export(registry: &Registry, args: &Export) -> Result<()> {
    let mut versions = Vec::new();
    for version in &args.versions {
        versions.push(resolve(registry, version).await?);
    }
    registry
        .export(
            &versions,
            &args.output,
            ExportOptions {
                overwrite: args.force,
            },
        )
        .await?;
    for version in versions {
        println!("{} {}", version.name(), version.digest);
    }
    Ok(())
}

pub(super) async fn import(registry: &Registry, args: &Import) -> Result<()> {
    let limits = BundleLimits {
        max_bytes: args.max_bytes,
        ..BundleLimits::default()
    };
    let options = ImportOptions {
        renumber: args.renumber,
        aliases: args.aliases,
        limits,
    };
    for one in registry.import(&args.file, &options).await? {
        let version = one.pushed.version;
        let was = if version.name() == one.name {
            String::new()
        } else {
            format!(" (was {})", one.name)
        };
        let there = if one.pushed.created {
            ""
        } else {
            " (was there already)"
        };
        println!("{} {}{was}{there}", version.name(), version.digest);
    }
    Ok(())
}
