//! `tidegate push`.

use std::io::IsTerminal;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use tidegate_registry::{Bundle, Progress, PushOptions};

use super::args::Push;
use super::source::{self, Found};
use super::{Place, check};

/// Checks bundles and makes versions of them.
pub(super) async fn run(args: Push) -> Result<()> {
    let place = Place::of(&args.location)?;
    let mut found = source::find(&args.path, args.name.as_deref())?;
    for one in &mut found {
        describe(&mut one.bundle, &args)?;
    }
    if !args.no_check {
        let engines = crate::serve::engines(&place.config.engines);
        let found: Vec<Found> = found.clone();
        let reports =
            tokio::task::spawn_blocking(move || check::reports(&found, &engines)).await??;
        if let Some(failed) = reports.iter().find(|report| !report.passed()) {
            check::print(failed);
            bail!(
                "{} is not pushed: it fails its checks (--no-check pushes it all the same)",
                failed.model
            );
        }
    }
    let registry = place.open().await?;
    for one in &found {
        let bar = bar();
        let options = PushOptions {
            alias: args.alias.clone(),
            progress: bar.clone().map(progress),
        };
        let pushed = registry.push(&one.bundle, &options).await;
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        let pushed = pushed?;
        println!("{} {}", pushed.version.name(), pushed.version.digest);
        if !pushed.created {
            eprintln!("the same content was there already");
        }
        if pushed.resumed_bytes > 0 {
            eprintln!(
                "{} bytes were there from a push that was cut off",
                pushed.resumed_bytes
            );
        }
    }
    registry.close().await;
    Ok(())
}

/// Adds what the flags say of where the version comes from.
fn describe(bundle: &mut Bundle, args: &Push) -> Result<()> {
    let tags = args.tag.iter().map(|tag| {
        let (key, value) = tag
            .split_once('=')
            .with_context(|| format!("--tag {tag}: write it as KEY=VALUE"))?;
        Ok((key.to_owned(), value.to_owned()))
    });
    let tags = tags.collect::<Result<Vec<_>>>()?;
    if tags.is_empty()
        && args.commit.is_none()
        && args.training_run.is_none()
        && args.dataset.is_none()
    {
        return Ok(());
    }
    bundle.describe(|lineage, manifest| {
        manifest.tags.extend(tags);
        lineage.commit = args
            .commit
            .clone()
            .unwrap_or_else(|| lineage.commit.clone());
        lineage.training_run = args
            .training_run
            .clone()
            .unwrap_or_else(|| lineage.training_run.clone());
        if let Some(dataset) = &args.dataset {
            let (name, version) = dataset.split_once('@').unwrap_or((dataset, ""));
            (lineage.dataset, lineage.dataset_version) = (name.to_owned(), version.to_owned());
        }
    })?;
    Ok(())
}

/// A bar where somebody watches.
fn bar() -> Option<ProgressBar> {
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
        if bar.message() != stage {
            bar.reset();
            bar.set_message(stage);
        }
        bar.set_length(total);
        bar.set_position(done);
    })
}
