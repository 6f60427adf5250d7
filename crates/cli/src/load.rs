//! `tidegate load`.

mod args;
mod progress;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tidegate_core::Signature;
use tidegate_load::{Arrivals, Mix, Pattern, Payload, Plan, Report, Target};

pub(crate) use self::args::Load;
use self::args::{Of, Requests, Rhythm, Server};
use crate::table;

/// How long to measure where nothing else says it.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);
const DEFAULT_CONCURRENCY: usize = 8;

/// Loads a server and reports how it fared.
pub(crate) fn run(args: &Load) -> Result<ExitCode> {
    let interrupt = interrupted()?;
    let target = target(&args.server, args.requests.path.is_some())?;
    let models = models(args, &target)?;
    let plan = plan(args, &target, &models)?;
    let mut report = Report::new(&plan, &what(args));
    let mut progress = progress::Line::new(args.results.quiet);
    report.runs = tidegate_load::run(&plan, &interrupt, &mut |now| progress.show(now))?;
    progress.clear();
    write(args, &report)?;
    Ok(ExitCode::SUCCESS)
}

/// Becomes true at Ctrl-C; a second one ends the process.
fn interrupted() -> Result<Arc<AtomicBool>> {
    let interrupt = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let seen = interrupt.clone();
    let wait = move || {
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if seen.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
            }
        });
    };
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(wait)?;
    Ok(interrupt)
}

fn target(server: &Server, is_raw: bool) -> Result<Target> {
    let protocol: tidegate_load::Protocol = server.protocol.into();
    if is_raw && protocol == tidegate_load::Protocol::Grpc {
        bail!("--path and --raw-body are for HTTP: leave out --protocol grpc");
    }
    let url = if protocol == tidegate_load::Protocol::Grpc { &server.grpc } else { &server.url };
    Ok(Target::new(protocol, url, &server.headers)?)
}

/// A model to ask, and rows to ask it if the user has some.
struct Model {
    name: String,
    weight: f64,
    signature: Signature,
    table: Option<tidegate_load::Inputs>,
}

fn models(args: &Load, target: &Target) -> Result<Vec<Model>> {
    let Requests { inputs, samples, .. } = &args.requests;
    for of in inputs.iter().chain(samples) {
        if let Some(unknown) = of.model.as_ref().filter(|model| args.models.iter().all(|it| it.model != **model)) {
            bail!("{}: model {unknown:?} is not among those to ask", of.path.display());
        }
    }
    let model = |it: &args::Weighted| {
        let signature = target.signature(&it.model)?;
        let path = path_for(&it.model, inputs).or(path_for(&it.model, samples).map(|folder| held_out(&folder)));
        let table = path.map(|path| table::read(&path, &signature)).transpose()?;
        Ok(Model { name: it.model.clone(), weight: it.weight, signature, table })
    };
    args.models.iter().map(model).collect()
}

fn path_for(model: &str, paths: &[Of]) -> Option<PathBuf> {
    let own = paths.iter().find(|of| of.model.as_deref() == Some(model));
    own.or_else(|| paths.iter().find(|of| of.model.is_none())).map(|of| of.path.clone())
}

fn held_out(folder: &Path) -> PathBuf {
    let inside = folder.join("heldout/inputs.csv");
    if inside.exists() { inside } else { folder.join("inputs.csv") }
}

fn plan(args: &Load, target: &Target, models: &[Model]) -> Result<Plan> {
    let pattern = pattern(&args.rhythm)?;
    let Rhythm { requests, warmup, max_outstanding, threads, .. } = args.rhythm;
    let is_bounded = requests.is_some() || matches!(pattern, Pattern::Open(Arrivals::Replay(_)));
    let threads = match pattern {
        Pattern::Closed { concurrency } => threads.min(concurrency),
        Pattern::Open(_) => threads,
    };
    Ok(Plan {
        target: target.clone(),
        mix: mix(args, target, models, args.requests.rows)?,
        pattern,
        duration: args.rhythm.duration.or((!is_bounded).then_some(DEFAULT_DURATION)),
        requests,
        warmup,
        timeout: args.server.timeout,
        deadline: args.server.deadline,
        threads,
        connections: args.server.connections,
        max_outstanding,
        seed: args.requests.seed,
    })
}

fn pattern(rhythm: &Rhythm) -> Result<Pattern> {
    let arrival = rhythm.arrival.into();
    if let Some(path) = &rhythm.replay {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let arrivals = tidegate_load::replay(&text, rhythm.speed).with_context(|| path.display().to_string())?;
        return Ok(Pattern::Open(arrivals));
    }
    if let Some(rate) = rhythm.rate {
        return Ok(Pattern::Open(Arrivals::Rates { rates: vec![rate], arrival }));
    }
    if !rhythm.steps.is_empty() {
        if rhythm.requests.is_some() {
            bail!("--steps take --duration each: --requests does not go with them");
        }
        return Ok(Pattern::Open(Arrivals::Rates { rates: rhythm.steps.clone(), arrival }));
    }
    Ok(Pattern::Closed { concurrency: rhythm.concurrency.unwrap_or(DEFAULT_CONCURRENCY) })
}

fn mix(args: &Load, target: &Target, models: &[Model], rows: usize) -> Result<Mix> {
    let Requests { raw_body, path, open_extent, seed, .. } = &args.requests;
    if let Some(path) = path {
        let read = |file: &PathBuf| std::fs::read(file).with_context(|| format!("cannot read {}", file.display()));
        let body = raw_body.as_ref().map(read).transpose()?;
        return Ok(Mix::default().with(path, 1.0, vec![Payload::raw(target, path, body.as_deref())]));
    }
    let mut mix = Mix::default();
    for Model { name, weight, signature, table } in models {
        let requests = match table {
            Some(table) => tidegate_load::cut(name, table, rows)?,
            None => tidegate_load::generate(name, signature, rows, *open_extent, *seed)?,
        };
        let payload = |inputs: &tidegate_load::Inputs| Payload::infer(target, name, inputs, args.server.deadline);
        mix = mix.with(name, *weight, requests.iter().map(payload).collect());
    }
    Ok(mix)
}

/// What is sent, in a few words.
fn what(args: &Load) -> String {
    if let Some(path) = &args.requests.path {
        return path.clone();
    }
    let names = args.models.iter().map(|it| match args.models.len() {
        1 => it.model.clone(),
        _ => format!("{} ({})", it.model, it.weight),
    });
    let rows = if args.requests.rows == 1 { "row" } else { "rows" };
    format!("{}, {} {rows} a request", names.collect::<Vec<_>>().join(", "), args.requests.rows)
}

fn write(args: &Load, report: &Report) -> Result<()> {
    let to_stdout = Path::new("-");
    let save = |path: &PathBuf, content: String| {
        if path == to_stdout {
            println!("{content}");
            return Ok(());
        }
        std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
    };
    if args.results.json.as_deref() != Some(to_stdout) {
        print!("{}", report.to_text());
    }
    if let Some(path) = &args.results.json {
        save(path, report.to_json())?;
    }
    Ok(())
}
