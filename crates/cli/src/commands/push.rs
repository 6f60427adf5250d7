//! `tidegate push`.

mod origin;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tidegate_registry::{Bundle, Progress, PushOptions, Registry};
use tidegate_serving::CheckReport;

use crate::bundle_checks;
use crate::bundles::{self, BundleToCheck};
use crate::options::{Engine, RegistryLocation};
use crate::output::{eprint_line, print_line};
use crate::registry_access::{RegistryAccess, block_on};

/// Upload a model to the registry as a new version
#[derive(Debug, Args)]
pub(super) struct Push {
    /// What to push: an .onnx file, a bundle, an MLflow model, or a Triton model or repository
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// The name of the model [default: the name in the bundle, or of the file or folder]
    #[arg(long)]
    name: Option<String>,
    /// An alias to point at the new version
    #[arg(long)]
    alias: Option<String>,
    /// The commit of the training code
    #[arg(long, value_name = "ID")]
    commit: Option<String>,
    /// The training run, as an id or a URL
    #[arg(long, value_name = "RUN")]
    training_run: Option<String>,
    /// The training data, with its version if it has one
    #[arg(long, value_name = "NAME[@VERSION]")]
    dataset: Option<String>,
    /// The retraining trigger that asked for this version; it is closed
    #[arg(long, value_name = "ID")]
    trigger: Option<String>,
    /// Your own tag; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    tag: Vec<String>,
    /// Push without running the checks of the bundle
    #[arg(long)]
    no_check: bool,
    /// The engine that runs the checks
    #[arg(long)]
    engine: Option<Engine>,
    #[command(flatten)]
    location: RegistryLocation,
}

impl Push {
    pub(super) fn run(self) -> Result<ExitCode> {
        block_on(push(self)).map(|()| ExitCode::SUCCESS)
    }
}

async fn push(args: Push) -> Result<()> {
    let access = RegistryAccess::new(&args.location)?;
    let mut bundles = bundles::find(&args.path, args.name.as_deref())?;
    let registry = access.open().await?;
    let digest = origin::dataset_digest(&registry, args.dataset.as_deref()).await?;
    origin::check_trigger(&registry, args.trigger.as_deref()).await?;
    for one in &mut bundles {
        describe(&mut one.bundle, &args, digest.as_deref())?;
        origin::check(&registry, &one.bundle.manifest().lineage).await?;
    }
    // All checks come before the first push: a model that fails stops the push of all.
    if !args.no_check {
        check(bundles.clone(), &access).await?;
    }
    for one in &bundles {
        push_bundle(&registry, &one.bundle, args.alias.clone()).await?;
    }
    registry.close().await;
    Ok(())
}

/// Runs the checks, and fails if one does.
async fn check(bundles: Vec<BundleToCheck>, access: &RegistryAccess) -> Result<()> {
    let config = access.config.engines.clone();
    // The checks load the model and run its samples, which takes seconds.
    let checks = tokio::task::spawn_blocking(move || bundle_checks::run(&bundles, &config));
    let reports: Vec<CheckReport> = checks.await?;
    if let Some(failed) = reports.iter().find(|report| !report.passed()) {
        bundle_checks::print(failed);
        bail!(
            "{} is not pushed because a check failed (--no-check pushes it anyway)",
            failed.model
        );
    }
    Ok(())
}

async fn push_bundle(registry: &Registry, bundle: &Bundle, alias: Option<String>) -> Result<()> {
    let bar = bar();
    let options = PushOptions {
        alias,
        progress: bar.clone().map(progress),
    };
    let pushed = registry.push(bundle, &options).await;
    if let Some(bar) = bar {
        // Before an error is printed.
        bar.finish_and_clear();
    }
    let pushed = pushed?;
    print_line!("{} {}", pushed.version.name(), pushed.version.digest);
    // Standard output has one line for each version and nothing else, so that scripts can read it.
    if !pushed.created {
        eprint_line!("the registry already has a version with this content");
    }
    if pushed.resumed_bytes > 0 {
        eprint_line!(
            "resumed an interrupted push: {} bytes were already there",
            pushed.resumed_bytes
        );
    }
    Ok(())
}

/// Adds the origin of the version, as far as flags name it.
fn describe(bundle: &mut Bundle, args: &Push, digest: Option<&str>) -> Result<()> {
    let tags = args.tag.iter().map(|tag| parse_tag(tag));
    let tags = tags.collect::<Result<Vec<_>>>()?;
    let lineage_flags = [
        &args.commit,
        &args.training_run,
        &args.dataset,
        &args.trigger,
    ];
    // Without flags the manifest keeps its bytes: written anew, it would get another digest, and
    // the same folder would be pushed as another version.
    if tags.is_empty() && lineage_flags.iter().all(|flag| flag.is_none()) {
        return Ok(());
    }
    bundle.describe(|lineage, manifest| {
        manifest.tags.extend(tags);
        if let Some(commit) = &args.commit {
            lineage.commit.clone_from(commit);
        }
        if let Some(training_run) = &args.training_run {
            lineage.training_run.clone_from(training_run);
        }
        if let Some(dataset) = &args.dataset {
            let (name, version) = dataset.split_once('@').unwrap_or((dataset, ""));
            (lineage.dataset, lineage.dataset_version) = (name.to_owned(), version.to_owned());
            lineage.dataset_digest = digest.unwrap_or_default().to_owned();
        }
        if let Some(trigger) = &args.trigger {
            lineage.trigger.clone_from(trigger);
        }
    })?;
    Ok(())
}

fn parse_tag(tag: &str) -> Result<(String, String)> {
    let (key, value) = tag
        .split_once('=')
        .with_context(|| format!("--tag {tag}: write it as KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A progress bar, if standard error is a terminal.
fn bar() -> Option<ProgressBar> {
    // In the log of a CI job each update of the bar would be a line of its own.
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let style = ProgressStyle::with_template(
        "{msg:8} {bar:30} {bytes:>10} of {total_bytes}  {bytes_per_sec}  {eta}",
    );
    Some(ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
}

fn progress(bar: ProgressBar) -> Progress {
    Arc::new(move |stage, done, total| {
        // Stages have different totals, so each begins with an empty bar.
        if bar.message() != stage {
            bar.reset();
            bar.set_message(stage);
        }
        bar.set_length(total);
        bar.set_position(done);
    })
}
