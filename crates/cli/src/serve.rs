//! `tidegate serve`.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidegate_engines::{Engines, OnnxRuntimeStatus};
use tidegate_observe::Objective;
use tidegate_server::{
    Alerting, Costs, Gpus, Objectives, Observers, Replicas, Server, StopCause, Traces,
};
use tidegate_serving::{Fleet, LoadReport, Metrics, Models, RegistryLink, Serving};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::args::Serve;
use crate::config::{self, Config, EnginesConfig, LogConfig, LogFormatName};
use crate::{allocator, registry};

/// Longest that telling the registry that this server ends may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serves until a signal says stop.
pub(crate) fn run(args: Serve) -> Result<ExitCode> {
    let started = Instant::now();
    // Variables that are no text are no settings of ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
    let config = config::load(&args, environment)?;
    let follows = config.fleet.follow.unwrap_or(config.models.is_empty());
    if config.models.is_empty() && !follows {
        bail!(
            "nothing to serve: give the path of an .onnx file, a bundle or a folder of them, or follow the registry"
        );
    }
    log_to_stderr(&config.log)?;
    let _lock = config.data.as_deref().map(lock).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    raise_file_limit(config.server.max_connections);
    let outcome = runtime.block_on(serve(config, follows, started));
    // A load that is still going on is not waited for.
    runtime.shutdown_background();
    outcome
}

/// Lets the process have as many open files as it may: each connection is one, and the usual limit
/// of 1024 is meant for programs that do not know about more.
fn raise_file_limit(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum
        && let Err(error) = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                ..limit
            },
        )
    {
        warn!(%error, "the limit of open files could not be raised");
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if files < connections as u64 {
        warn!(
            files,
            max_connections = connections,
            "the limit of open files is below server.max_connections"
        );
    }
}

/// Tells whoever started the server, if they still listen.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

async fn serve(config: Config, follows: bool, started: Instant) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let effective = serde_json::to_value(&config)?;
    let engines = engines(&config.engines);
    let metrics = Arc::new(Metrics::new());
    let replicas = replicas(&config, &metrics)?;
    let models = Arc::new(Models::new(config.models, engines.clone(), metrics.clone()));
    let mut serving = Serving::new(models.clone(), metrics.clone());
    let mut fleet = None;
    let slos = Objective::parse_all(&config.slo)?;
    let kept = config
        .data
        .as_ref()
        .map(|data| data.join("objectives.json"));
    let objectives = Objectives::new(
        slos,
        metrics.clone(),
        kept,
        config.replicas.group.as_deref(),
    );
    let alerting = Alerting::new(
        &config.alerts,
        metrics.clone(),
        config.data.as_deref(),
        follows,
    )?;
    alerting.note_start(&effective).await;
    let mut folder = config.data.clone();
    let kept = config.data.as_ref().map(|data| data.join("cost.json"));
    let costs = Costs::new(&config.cost, metrics.clone(), kept)?;
    let traces = Traces::start(&config.traces, &metrics)?;
    if follows {
        let data = config.data.map_or_else(registry::default_data, Ok)?;
        folder = Some(data.clone());
        let link = RegistryLink::new(config.registry, &data, server_name())?;
        let started = Fleet::new(config.fleet, link, models, engines, metrics);
        serving = serving.with_fleet(started.clone());
        fleet = Some(started);
    }
    let has_console = config.console.enabled;
    let observers = Observers {
        console: config.console,
        objectives,
        alerting,
        costs,
        traces,
        replicas,
        data: folder,
        allocator: Some(allocator::usage),
        gpus: Gpus::watch(&config.gpu),
    };
    let server = Server::start(config.server, Arc::new(serving), observers).await?;
    say(format_args!("REST     http://{}", server.http()));
    say(format_args!("gRPC     {}", server.grpc()));
    if has_console {
        say(format_args!("console  http://{}/console", server.http()));
    }

    let report = tokio::select! {
        report = server.load_all() => report,
        name = signals.next() => {
            info!(signal = name, "stopped while loading");
            return Ok(stop(server, fleet).await);
        }
    };
    let waiting = fleet.as_ref().map_or(0, |fleet| fleet.index().len());
    announce(&report, waiting, started);
    if report.ready.is_empty() && !follows {
        bail!("no model could be loaded");
    }
    let name = signals.next().await;
    info!(signal = name, "signal received");
    tokio::select! {
        code = stop(server, fleet) => Ok(code),
        name = signals.next() => {
            warn!(signal = name, "second signal: exiting at once");
            std::process::exit(1);
        }
    }
}

/// The server's place in its group, if it has one.
fn replicas(config: &Config, metrics: &Arc<Metrics>) -> Result<Option<Replicas>> {
    let data = config.data.clone().map_or_else(registry::default_data, Ok);
    let database = || {
        data.map_or_else(
            |_| "registry.db".to_owned(),
            |data| config.registry.database(&data),
        )
    };
    Ok(Replicas::new(
        &config.replicas,
        database,
        server_name(),
        metrics.clone(),
    )?)
}

/// What other servers know this one by: no other has it.
fn server_name() -> String {
    format!("{}:{}", registry::actor(), std::process::id())
}

/// Answers what was accepted, and says good-bye to the registry.
async fn stop(server: Server, fleet: Option<Arc<Fleet>>) -> ExitCode {
    let cause = server.stop().await;
    if let Some(fleet) = fleet {
        // The registry forgets by itself what it does not hear of.
        let _ = tokio::time::timeout(FAREWELL, fleet.release_versions()).await;
    }
    match cause {
        StopCause::Drained => ExitCode::SUCCESS,
        StopCause::TimedOut => ExitCode::FAILURE,
    }
}

fn announce(report: &LoadReport, waiting: usize, started: Instant) {
    for (name, reason) in &report.failed {
        say(format_args!("failed   {name}: {reason}"));
    }
    let (ready, all) = (report.ready.len(), report.ready.len() + report.failed.len());
    if all == 0 {
        return say(match waiting {
            0 => format_args!("ready    the registry is empty: `tidegate push` adds to it"),
            _ => format_args!("ready    nothing is loaded before it is asked for"),
        });
    }
    let of = if report.failed.is_empty() {
        String::new()
    } else {
        format!(" of {all}")
    };
    let plural = if all == 1 { "model" } else { "models" };
    let seconds = started.elapsed().as_secs_f64();
    say(format_args!(
        "ready    {ready}{of} {plural} in {seconds:.2} s: {}",
        report.ready.join(", ")
    ));
}

/// Finds the engines and says once what is lost where ONNX Runtime is not there.
pub(crate) fn engines(config: &EnginesConfig) -> Engines {
    let engines = Engines::discover(config.onnxruntime.as_deref(), config.default);
    match engines.onnxruntime() {
        OnnxRuntimeStatus::Loaded { library, version } => {
            info!(library, version, "ONNX Runtime found")
        }
        OnnxRuntimeStatus::Missing { reason } => warn!(
            reason,
            "ONNX Runtime is not there: models run on the portable engine, which is slower and lacks some operators; \
             `cargo xtask setup` fetches it, or set TIDEGATE_ONNXRUNTIME to its library"
        ),
    }
    engines
}

pub(crate) fn log_to_stderr(config: &LogConfig) -> Result<()> {
    let filter = EnvFilter::try_new(&config.level)
        .with_context(|| format!("log.level is {:?}", config.level))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match config.format {
        LogFormatName::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormatName::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Takes the data folder for this process; the lock goes with it, however it ends.
fn lock(folder: &Path) -> Result<File> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    if file.try_lock().is_err() {
        bail!("{} belongs to another server that runs", folder.display());
    }
    Ok(file)
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
