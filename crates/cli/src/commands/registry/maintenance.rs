//! `tidegate registry deprecate`, `delete`, `verify`, `gc`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use tidegate_registry::{Registry, VersionRecord};

use super::args::{Deprecate, Gc, VersionArg};
use crate::output::{bytes, counted, eprint_line, print_line};
use crate::registry_access::resolve;

pub(super) async fn deprecate(registry: &Registry, args: &Deprecate) -> Result<()> {
    let version = resolve(registry, &args.version).await?;
    let reason = args.reason.as_deref().filter(|_| !args.undo);
    registry.deprecate(&version, reason).await?;
    let state = if args.undo { "ready" } else { "deprecated" };
    print_line!("{} is {state}", version.name());
    Ok(())
}

pub(super) async fn delete(registry: &Registry, args: &VersionArg) -> Result<()> {
    let version = resolve(registry, &args.version).await?;
    let aliases = rollback_aliases(registry, &version).await?;
    registry.delete(&version).await?;
    if !aliases.is_empty() {
        eprint_line!(
            "warning: a rollback of {} would have returned to {}; its files stay until the next \
             `tidegate registry gc`; to get the version back, push the bundle again",
            aliases.join(", "),
            version.name()
        );
    }
    print_line!("{} is deleted", version.name());
    Ok(())
}

/// The aliases whose rollback would go back to a version.
async fn rollback_aliases(registry: &Registry, version: &VersionRecord) -> Result<Vec<String>> {
    let model = version.model.parse()?;
    let mut names = Vec::new();
    for alias in registry.aliases(Some(&version.model)).await? {
        if registry.rollback_target(&model, &alias.name).await? == Some(version.number) {
            names.push(format!("{}@{}", alias.model, alias.name));
        }
    }
    Ok(names)
}

/// Reads all files again; fails if one is damaged.
pub(super) async fn verify(registry: &Registry) -> Result<ExitCode> {
    let report = registry.verify(&|_, _| {}).await?;
    registry.close().await;
    for problem in &report.problems {
        let versions = match problem.versions.is_empty() {
            true => "no version".to_owned(),
            false => problem.versions.join(", "),
        };
        let code = problem.error.code.name();
        print_line!("FAILED   {versions}: {} [{code}]", problem.error);
    }
    print_line!(
        "verified {}, {}, {}: {}",
        counted(report.versions as u64, "version"),
        counted(report.objects as u64, "file"),
        bytes(report.bytes),
        counted(report.problems.len() as u64, "problem")
    );
    Ok(match report.problems.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

pub(super) async fn gc(registry: &Registry, args: &Gc) -> Result<()> {
    let grace = Duration::try_from_secs_f64(args.grace * 3600.0)
        .context("--grace is not a number of hours")?;
    let removed = registry.collect_garbage(grace).await?;
    print_line!(
        "removed {} ({}), {}, {}",
        counted(removed.objects as u64, "file"),
        bytes(removed.bytes.unsigned_abs()),
        counted(removed.uploads as u64, "interrupted upload"),
        counted(removed.strays as u64, "stray file")
    );
    Ok(())
}
