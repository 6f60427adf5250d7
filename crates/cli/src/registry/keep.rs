//! `tidegate registry deprecate`, `delete`, `verify`, `gc`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use tidegate_registry::Registry;

use super::args::{Deprecate, Gc, One};
use super::resolve;
use crate::inspect::bytes;

pub(super) async fn deprecate(registry: &Registry, args: &Deprecate) -> Result<()> {
    let version = resolve(registry, &args.version).await?;
    registry
        .deprecate(&version, args.reason.as_deref().filter(|_| !args.undo))
        .await?;
    println!(
        "{} is {}",
        version.name(),
        if args.undo { "ready" } else { "deprecated" }
    );
    Ok(())
}

pub(super) async fn delete(registry: &Registry, args: &One) -> Result<()> {
    let version = resolve(registry, &args.version).await?;
    registry.delete(&version).await?;
    println!("{} is deleted", version.name());
    Ok(())
}

/// Reads everything again; the exit status says whether all is well.
pub(super) async fn verify(registry: &Registry) -> Result<ExitCode> {
    let report = registry.verify(&|_, _| {}).await?;
    registry.close().await;
    for problem in &report.problems {
        let versions = if problem.versions.is_empty() {
            "no version".to_owned()
        } else {
            problem.versions.join(", ")
        };
        println!(
            "FAILED   {versions}: {} [{}]",
            problem.error,
            problem.error.code.name()
        );
    }
    let problems = report.problems.len();
    println!(
        "verified {} versions, {} contents, {}: {problems} problems",
        report.versions,
        report.objects,
        bytes(report.bytes)
    );
    Ok(if problems == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

pub(super) async fn gc(registry: &Registry, args: &Gc) -> Result<()> {
    let grace = Duration::try_from_secs_f64(args.grace * 3600.0)
        .context("--grace is no number of hours")?;
    let done = registry.collect_garbage(grace).await?;
    let (objects, freed) = (done.objects, bytes(done.bytes.unsigned_abs()));
    println!(
        "removed {objects} contents ({freed}), {} cut-off uploads, {} stray files",
        done.uploads, done.strays
    );
    Ok(())
}
