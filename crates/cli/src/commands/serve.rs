//! `tidegate serve`.

mod options;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidegate_registry::RegistryConfig;
use tidegate_server::{Server, ServerComponents, ServerEnvironment, ServerSections, StopCause};
use tidegate_serving::{
    Fleet, FleetMetrics, LoadReport, MetricRegistry, Models, RegistryLink, Serving,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

pub(super) use self::options::Serve;
use crate::config::{self, Config};
use crate::environment::{default_data_folder, server_name};
use crate::output::counted;
use crate::{allocator, engines, logging};

/// Longest time to wait for the registry when the server removes itself from it.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

impl Serve {
    /// Serves until SIGTERM or SIGINT.
    pub(super) fn run(self) -> Result<ExitCode> {
        let started = Instant::now();
        let mut config = config::load(self.config.as_deref(), config::environment())?;
        self.override_config(&mut config);
        // Without paths, the registry is all there is to serve.
        let follows = config.fleet.follow.unwrap_or(config.models.is_empty());
        if config.models.is_empty() && !follows {
            bail!(
                "nothing to serve: give the path of an .onnx file, a bundle or a folder of them, \
                 or follow the registry"
            );
        }
        logging::start(&config.log)?;
        // Held until the process ends: two servers would overwrite each other's state files.
        let _lock = config.data.as_deref().map(lock).transpose()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        raise_file_limit(config.server.max_connections);
        let outcome = runtime.block_on(serve(config, follows, started));
        // Does not wait for a model that is still loading on a blocking thread.
        runtime.shutdown_background();
        outcome
    }
}

/// Raises the soft limit of open files to the hard one. Each connection is a file, and the usual
/// soft limit of 1024 protects programs that use `select`, which this one does not.
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
        warn!(%error, "cannot raise the limit of open files");
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

/// Prints a line for the person who started the server. Errors are ignored: they may have closed
/// standard output.
fn print_line(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

async fn serve(config: Config, follows: bool, started: Instant) -> Result<ExitCode> {
    // Before anything is loaded: a signal meanwhile stops the server in order.
    let mut signals = Signals::new()?;
    // As it is used, flags and variables included; secrets are left out when it is serialized.
    let effective = serde_json::to_value(&config)?;
    let engines = engines::discover(&config.engines);
    let registry = Arc::new(MetricRegistry::new());
    let models = Arc::new(Models::new(config.models, engines.clone(), &registry));
    let mut serving = Serving::new(models.clone());
    let fleet_metrics = FleetMetrics::new(&registry);
    let mut environment = ServerEnvironment {
        name: server_name(),
        state_folder: config.data.clone(),
        data_folder: config.data.clone(),
        registry_database: registry_database(&config.registry, config.data.as_deref()),
        allocator: Some(allocator::usage),
    };
    let mut fleet = None;
    if follows {
        let data = config.data.map_or_else(default_data_folder, Ok)?;
        let link = RegistryLink::new(config.registry, &data, server_name())?;
        environment.data_folder = Some(data);
        let new = Fleet::new(config.fleet, link, models, engines, fleet_metrics);
        serving = serving.with_fleet(new.clone());
        fleet = Some(new);
    }
    let has_console = config.console.enabled;
    let sections = ServerSections {
        server: config.server,
        console: config.console,
        slo: config.slo,
        alerts: config.alerts,
        cost: config.cost,
        traces: config.traces,
        replicas: config.replicas,
        gpu: config.gpu,
    };
    let components = ServerComponents::new(sections, environment, Arc::new(serving), registry)?;
    components.record_start(&effective).await;
    let server = Server::start(components).await?;
    // Before the models are loaded: with port 0 nobody could find the server meanwhile.
    print_addresses(&server, has_console);

    let report = tokio::select! {
        report = server.load_all() => report,
        name = signals.next() => {
            info!(signal = name, "stopped while loading");
            return Ok(stop(server, fleet).await);
        }
    };
    let available = fleet.as_ref().map_or(0, |fleet| fleet.index().len());
    announce(&report, follows, available, started);
    // It could only refuse requests. By ending, it shows the mistake to whatever started it.
    if report.ready.is_empty() && !follows {
        bail!("no model loaded");
    }
    let name = signals.next().await;
    info!(signal = name, "signal received");
    tokio::select! {
        code = stop(server, fleet) => Ok(code),
        name = signals.next() => {
            warn!(signal = name, "second signal: exiting without draining");
            std::process::exit(1);
        }
    }
}

fn print_addresses(server: &Server, has_console: bool) {
    print_line(format_args!("REST     http://{}", server.http()));
    print_line(format_args!("gRPC     {}", server.grpc()));
    if has_console {
        print_line(format_args!("console  http://{}/console", server.http()));
    }
}

/// Where the registry keeps its metadata; a file of the working directory where no folder is known.
fn registry_database(config: &RegistryConfig, data: Option<&Path>) -> String {
    match data.map_or_else(default_data_folder, |data| Ok(data.to_owned())) {
        Ok(data) => config.database(&data),
        Err(_) => "registry.db".to_owned(),
    }
}

/// Drains accepted requests, and removes the server from the registry.
async fn stop(server: Server, fleet: Option<Arc<Fleet>>) -> ExitCode {
    // First: until the last request is answered, the registry must not let anybody delete the
    // versions that are in use.
    let cause = server.stop().await;
    if let Some(fleet) = fleet {
        // If this fails, the registry forgets the versions of this server by itself after a while.
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, fleet.release_versions()).await;
    }
    match cause {
        StopCause::Drained => ExitCode::SUCCESS,
        // Requests were cut off, which whoever supervises the process should notice.
        StopCause::TimedOut => ExitCode::FAILURE,
    }
}

/// Prints what was loaded. `available` counts the versions of the registry.
fn announce(report: &LoadReport, follows: bool, available: usize, started: Instant) {
    for (name, reason) in &report.failed {
        print_line(format_args!("failed   {name}: {reason}"));
    }
    let (ready, all) = (report.ready.len(), report.ready.len() + report.failed.len());
    let names = report.ready.join(", ");
    let seconds = started.elapsed().as_secs_f64();
    match (ready, all) {
        (0, 0) if available == 0 => print_line(format_args!(
            "ready    the registry is empty: add a model with `tidegate push`"
        )),
        (0, 0) => print_line(format_args!(
            "ready    models of the registry are loaded by their first request"
        )),
        // Not ready, but it goes on: the registry may get a version that loads.
        (0, _) if follows => print_line(format_args!("ready    no model loaded yet")),
        (0, _) => {}
        _ if ready == all => {
            let models = counted(all as u64, "model");
            print_line(format_args!("ready    {models} in {seconds:.2} s: {names}"));
        }
        _ => print_line(format_args!(
            "ready    {ready} of {all} models in {seconds:.2} s: {names}"
        )),
    }
}

/// Locks the data folder for this process. The system releases the lock however the process ends.
fn lock(folder: &Path) -> Result<File> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let path = folder.join("lock");
    // Never removed: two servers could then hold locks on two files of this name.
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    if file.try_lock().is_err() {
        bail!("{} is in use by another server", folder.display());
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
