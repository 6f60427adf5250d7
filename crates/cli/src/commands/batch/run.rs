//! `tidegate batch run` and `tidegate batch resume`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tidegate_batch::{Job, JobOutcome, JobSpec, JobStatus, Keep, Progress, RunOptions};

use super::args::{Resources, ResumeArgs, RunArgs};
use super::progress::{ProgressLine, seconds};
use super::{explain, jobs, load};
use crate::logging;
use crate::output::{eprint_line, print_json, print_line};
use crate::registry_access::RegistryAccess;

pub(super) fn run(args: RunArgs) -> Result<ExitCode> {
    logging::start_with_warnings()?;
    let access = RegistryAccess::new(&args.location)?;
    let mut inputs = Vec::with_capacity(args.input.len());
    for input in &args.input {
        inputs.push(absolute(input)?);
    }
    let spec = JobSpec {
        format: args.format.map(Into::into),
        keep: keep(&args.keep),
        columns: args.columns.clone(),
        unit_rows: args.unit_rows,
        ..JobSpec::new(reference(&args.model)?, inputs)
    };
    let version = load::load(&spec.reference, args.resources.engine.clone(), &access)?;
    if args.explain {
        let output = args.output.unwrap_or_default();
        let job = Job::plan(
            version,
            spec,
            std::path::absolute(output).unwrap_or_default(),
        )?;
        return explain::print(&job, &args.resources);
    }
    let Some(output) = &args.output else {
        bail!("--output is missing");
    };
    let output = std::path::absolute(output)?;
    let job = Job::plan(version, spec, output.clone())?;
    finish(&job, &output, &args.resources, &access)
}

pub(super) fn resume(args: ResumeArgs) -> Result<ExitCode> {
    logging::start_with_warnings()?;
    let access = RegistryAccess::new(&args.location)?;
    let output = jobs::find(&access, &args.job)?;
    let spec = JobStatus::read(output.clone())?.spec;
    // An alias may have moved since: the rows that are missing get the version of the others.
    let is_path = spec.reference.contains('/');
    let reference = if is_path {
        &spec.reference
    } else {
        &spec.version
    };
    let version = load::load(reference, args.resources.engine.clone(), &access)?;
    let job = Job::plan(version, spec, output.clone())?;
    finish(&job, &output, &args.resources, &access)
}

fn keep(names: &[String]) -> Keep {
    match names {
        [name] if name == "all" => Keep::All,
        names => Keep::Columns(names.to_vec()),
    }
}

/// Paths are written down as absolute ones: a resume may be typed in another folder.
fn absolute(path: &str) -> Result<String> {
    if path.contains("://") {
        return Ok(path.to_owned());
    }
    let path = std::path::absolute(path).with_context(|| format!("the path {path:?}"))?;
    Ok(path.to_string_lossy().into_owned())
}

fn reference(model: &str) -> Result<String> {
    match model.contains('/') || Path::new(model).exists() {
        true => absolute(model),
        false => Ok(model.to_owned()),
    }
}

/// The number of threads, unless somebody asks for another.
pub(super) fn threads(resources: &Resources) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    resources.threads.unwrap_or_else(cores).max(1)
}

fn finish(
    job: &Job,
    output: &Path,
    resources: &Resources,
    access: &RegistryAccess,
) -> Result<ExitCode> {
    let id = jobs::note(access, output)?;
    let progress = Arc::new(Progress::default());
    stop_on_signals(progress.clone())?;
    let options = RunOptions {
        threads: threads(resources),
        max_errors: resources.max_errors,
    };
    let began = Instant::now();
    let line = ProgressLine::start(progress.clone());
    let outcome = job.run(options, &progress);
    drop(line);
    let outcome = outcome.with_context(|| format!("job {id}"))?;
    if resources.json {
        print_json(&outcome_json(&id, output, &outcome))?;
    } else {
        print(&id, output, &outcome, progress.done(), began.elapsed());
    }
    Ok(ExitCode::SUCCESS)
}

fn outcome_json(id: &str, output: &Path, outcome: &JobOutcome) -> serde_json::Value {
    let manifest = &outcome.manifest;
    json!({
        "job": id,
        "output": output,
        "version": manifest.version,
        "digest": manifest.digest,
        "rows": manifest.rows,
        "scored_rows": manifest.scored_rows,
        "quarantined_rows": manifest.quarantined_rows,
        "units": manifest.units.len(),
        "units_run": outcome.units_run,
    })
}

fn print(id: &str, output: &Path, outcome: &JobOutcome, done: u64, took: Duration) {
    let manifest = &outcome.manifest;
    print_line!("job         {id}");
    print_line!("version     {} ({})", manifest.version, manifest.digest);
    print_line!("output      {}", output.display());
    print_line!("rows        {}", manifest.rows);
    print_line!("scored      {}", manifest.scored_rows);
    print_line!("quarantined {}", manifest.quarantined_rows);
    let (units, run) = (manifest.units.len(), outcome.units_run);
    print_line!("units       {units}, of which {run} ran now");
    if run > 0 {
        let rate = done as f64 / took.as_secs_f64().max(1e-9);
        eprint_line!("{} at {rate:.0} rows/s", seconds(took.as_secs_f64()));
    }
}

/// The first signal stops the job in order; the second one ends the process.
fn stop_on_signals(progress: Arc<Progress>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                if tokio::signal::ctrl_c().await.is_ok() {
                    progress.stop();
                }
                if tokio::signal::ctrl_c().await.is_ok() {
                    std::process::exit(130);
                }
            });
        })?;
    Ok(())
}
