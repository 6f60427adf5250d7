//! `tidegate registry deprecate`, `delete`, `verify`, `gc`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use tidegate_registry::Registry;

use super::args::{Deprecate, Gc, VersionArg};
use crate::output::{bytes, counted};
use crate::registry_access::resolve;

pub(super) async fn deprecate(registry: &Registry, args: &Deprecate) -> Result<()> {
    let version = resolve(registry, &args.version).await?;
    let reason = args.reason.as_deref().filter(|_| !args.undo);
    registry.deprecate(&version, reason).await?;
    let state = if args.undo { "ready" } else { "deprecated" };
    println!("{} is {state}", version.name());
    Ok(())
}

pub(super) async fn delete(registry: &Registry, args: &VersionArg) -> Result<()> {
    let version = resolve(registry, &args.version).await?;
    registry.delete(&version).await?;
    println!("{} is deleted", version.name());
    Ok(())
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
        println!("FAILED   {versions}: {} [{code}]", problem.error);
    }
    println!(
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
    println!(
        "removed {} ({}), {}, {}",
        counted(removed.objects as u64, "file"),
        bytes(removed.bytes.unsigned_abs()),
        counted(removed.uploads as u64, "interrupted upload"),
        counted(removed.strays as u64, "stray file")
    );
    Ok(())
}
