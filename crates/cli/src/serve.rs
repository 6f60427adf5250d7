//! `tidegate serve`.

use std::fs::File;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tidegate_engines::{Engines, OnnxRuntimeStatus};
use tidegate_server::{Server, StopCause};
use tidegate_serving::{LoadReport, Metrics, Models, Serving};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::args::Serve;
use crate::config::{self, Config, EnginesConfig, LogConfig, LogFormatName};

/// Serves until a signal says stop.
pub(crate) fn run(args: Serve) -> Result<ExitCode> {
    let started = Instant::now();
    let config = config::load(&args, std::env::vars())?;
    if config.models.is_empty() {
        bail!("nothing to serve: give the path of an .onnx file, a bundle or a folder of them");
    }
    log_to_stderr(&config.log)?;
    let _lock = config.data.as_deref().map(lock).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(config, started))
}

async fn serve(config: Config, started: Instant) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let engines = engines(&config.engines);
    let metrics = Arc::new(Metrics::new());
    let models = Models::new(config.models, engines, metrics.clone());
    let server = Server::start(config.server, Arc::new(Serving::new(models, metrics))).await?;
    println!("REST     http://{}", server.http());
    println!("gRPC     {}", server.grpc());

    let report = tokio::select! {
        report = server.load_all() => report,
        name = signals.next() => {
            info!(signal = name, "stopped while loading");
            return Ok(ExitCode::SUCCESS);
        }
    };
    announce(&report, started);
    if report.ready.is_empty() {
        bail!("no model could be loaded");
    }
    let name = signals.next().await;
    info!(signal = name, "signal received");
    tokio::select! {
        cause = server.stop() => Ok(match cause {
            StopCause::Drained => ExitCode::SUCCESS,
            StopCause::TimedOut => ExitCode::FAILURE,
        }),
        name = signals.next() => {
            warn!(signal = name, "second signal: exiting at once");
            std::process::exit(1);
        }
    }
}

fn announce(report: &LoadReport, started: Instant) {
    for (name, reason) in &report.failed {
        println!("failed   {name}: {reason}");
    }
    let (ready, all) = (report.ready.len(), report.ready.len() + report.failed.len());
    let of = if report.failed.is_empty() { String::new() } else { format!(" of {all}") };
    let plural = if all == 1 { "model" } else { "models" };
    let seconds = started.elapsed().as_secs_f64();
    println!("ready    {ready}{of} {plural} in {seconds:.2} s: {}", report.ready.join(", "));
}

/// Finds the engines and says once what is lost where ONNX Runtime is not there.
pub(crate) fn engines(config: &EnginesConfig) -> Engines {
    let engines = Engines::discover(config.onnxruntime.as_deref(), config.default);
    match engines.onnxruntime() {
        OnnxRuntimeStatus::Loaded { library, version } => info!(library, version, "ONNX Runtime found"),
        OnnxRuntimeStatus::Missing { reason } => warn!(
            reason,
            "ONNX Runtime is not there: models run on the portable engine, which is slower and lacks some operators; \
             `cargo xtask setup` fetches it, or set TIDEGATE_ONNXRUNTIME to its library"
        ),
    }
    engines
}

pub(crate) fn log_to_stderr(config: &LogConfig) -> Result<()> {
    let filter = EnvFilter::try_new(&config.level).with_context(|| format!("log.level is {:?}", config.level))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
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
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
