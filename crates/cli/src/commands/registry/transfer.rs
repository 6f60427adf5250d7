//! `tidegate registry export` and `import`.

use anyhow::Result;
use tidegate_registry::{BundleLimits, ExportOptions, ImportOptions, Registry};

use super::args::{Export, Import};
use crate::output::print_line;
use crate::registry_access::resolve;

pub(super) async fn export(registry: &Registry, args: &Export) -> Result<()> {
    // All are resolved before the archive is begun, so that a wrong name leaves no file behind.
    let mut versions = Vec::new();
    for version in &args.versions {
        versions.push(resolve(registry, version).await?);
    }
    let options = ExportOptions {
        overwrite: args.force,
    };
    registry.export(&versions, &args.output, options).await?;
    for version in versions {
        print_line!("{} {}", version.name(), version.digest);
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
    for imported in registry.import(&args.file, &options).await? {
        let version = imported.pushed.version;
        let was = match version.name() == imported.name {
            true => String::new(),
            false => format!(" (was {})", imported.name),
        };
        let existed = match imported.pushed.created {
            true => "",
            false => " (existed already)",
        };
        print_line!("{} {}{was}{existed}", version.name(), version.digest);
    }
    Ok(())
}
