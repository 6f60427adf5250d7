//! `tidegate serve`.

mod configured_names;
mod data_folder;
mod first_key;
mod options;
mod remote_model;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidegate_engines::Engines;
use tidegate_redaction::Redactor;
use tidegate_redis::RedisClient;
use tidegate_registry::RegistryConfig;
use tidegate_remote::Remotes;
use tidegate_server::{Server, ServerComponents, ServerEnvironment, ServerSections, StopCause};
use tidegate_serving::{
    Fallbacks, Fleet, FleetMetrics, LoadReport, LoadTrials, MetricRegistry, Models, RegistryLink,
    Serving,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use self::configured_names::configured_names;
pub(super) use self::options::Serve;
use self::remote_model::RemoteBundles;
use crate::config::{self, Config};
use crate::environment::{default_data_folder, server_name};
use crate::output::{counted, named_problem, print_line};
use crate::{allocator, engines, logging};

/// Longest time to wait for the registry when the server removes itself from it.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

impl Serve {
    /// Serves until SIGTERM, SIGINT or SIGHUP.
    pub(super) fn run(self) -> Result<ExitCode> {
        let started = Instant::now();
        let mut config = config::load(self.config.as_deref(), config::environment())?;
        // Held until the process ends: a model is read again when it is loaded again.
        let remote = RemoteBundles::write(&self.remote)?;
        config.platform.read_variables(config::environment())?;
        self.override_config(&mut config);
        config.models.extend(remote.paths.iter().cloned());
        // Without paths, the registry is all there is to serve.
        let follows = config.fleet.follow.unwrap_or(config.models.is_empty());
        if config.models.is_empty() && !follows {
            bail!(
                "nothing to serve: give the path of an .onnx file, a bundle or a folder of them, \
                 or follow the registry"
            );
        }
        logging::start(&config.log, Redactor::new(&config.privacy)?)?;
        let data = config.data.clone().or_else(|| default_data_folder().ok());
        if let Some(data) = data {
            data_folder::narrow(&data);
        }
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

async fn serve(config: Config, follows: bool, started: Instant) -> Result<ExitCode> {
    // Before anything is loaded: a signal meanwhile stops the server in order.
    let mut signals = Signals::new()?;
    let first_key = first_key::Hint::new(&config);
    // As it is used, flags and variables included; secrets are left out when it is serialized.
    let effective = serde_json::to_value(&config)?;
    let configured = configured_names(&config);
    let remotes = Arc::new(Remotes::default());
    let engines = engines::discover(&config.engines, remotes.clone());
    let registry = Arc::new(MetricRegistry::new());
    let trials = load_trials(&config, follows, &engines);
    let models = Models::new(config.models, engines.clone(), &registry);
    models.breakers().configure(&config.endpoints)?;
    let models = Arc::new(models.with_trials(trials.clone()));
    let database = registry_database(&config.registry, config.data.as_deref());
    let redis = RedisClient::start(&config.redis)?;
    let shared = redis.as_ref();
    let gateway =
        tidegate_server::gateway(&config.auth, &config.tls, &config.limits, &database, shared)?;
    let mut serving = Serving::new(models.clone()).with_gateway(Arc::new(gateway));
    let cache = tidegate_server::answer_cache(&config.cache, &config.endpoints, shared)?;
    if let Some(fallbacks) = Fallbacks::new(&config.endpoints, &cache, &models)? {
        serving = serving.with_fallbacks(fallbacks);
    }
    serving = serving.with_cache(cache);
    let mut capture = config.capture;
    if let Some(captured) = capture.capture()? {
        serving = serving.with_capture(captured);
    }
    let captures = || Some(feature_folder(config.data.as_deref())?.join("captures"));
    capture.folder = capture.folder.or_else(captures);
    let fleet_metrics = FleetMetrics::new(&registry);
    let mut environment = ServerEnvironment {
        name: server_name(),
        state_folder: config.data.clone(),
        data_folder: config.data.clone(),
        feature_folder: feature_folder(config.data.as_deref()),
        registry_database: database,
        follows_registry: follows,
        remotes,
        redis,
        allocator: Some(allocator::usage),
        give_back: Some(allocator::give_back),
        log: Some(logging::CONTROL),
    };
    let mut fleet = None;
    let registry_place = registry_place(&config.registry, config.data.as_deref());
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
        endpoints: config.endpoints,
        platform: config.platform,
        tls: config.tls,
        auth: config.auth,
        limits: config.limits,
        cache: config.cache,
        capture,
        datasets: config.datasets,
        rollouts: config.rollouts,
        retrain: config.retrain,
        features: config.features,
        console: config.console,
        slo: config.slo,
        alerts: config.alerts,
        cost: config.cost,
        traces: config.traces,
        replicas: config.replicas,
        gpu: config.gpu,
        audit: config.audit,
        privacy: config.privacy,
    };
    let serving = Arc::new(serving);
    let components = ServerComponents::new(sections, environment, serving.clone(), registry)?;
    components.record_start(&effective).await;
    components.read_traffic().await;
    let server = Server::start(components).await?;
    // Before the models are loaded: with port 0 nobody could find the server meanwhile.
    print_addresses(&server, has_console);

    let report = tokio::select! {
        report = server.load_all() => report,
        name = signals.next() => {
            info!(signal = name, "stopped while loading");
            return Ok(stop(server, fleet, trials).await);
        }
    };
    if let Err(problems) = serving.check_fallbacks() {
        refuse_fallbacks(&problems, follows)?;
    }
    warn_of(&serving.watch_configured_names(configured));
    let followed = fleet
        .as_deref()
        .map(|fleet| (fleet, registry_place.as_str()));
    announce(&report, followed, started);
    // It could only refuse requests. By ending, it shows the mistake to whatever started it.
    if report.ready.is_empty() && !follows {
        bail!("no model loaded");
    }
    first_key.print_if_needed(&serving).await;
    let name = signals.next().await;
    info!(signal = name, "signal received");
    tokio::select! {
        code = stop(server, fleet, trials.clone()) => Ok(code),
        name = signals.next() => {
            warn!(signal = name, "second signal: exiting without draining");
            forget_running_loads(trials.as_deref());
            std::process::exit(1);
        }
    }
}

/// Ends a server whose fallbacks could never answer. One that follows the registry goes on without them:
/// a version of the registry must not keep every server from starting.
fn refuse_fallbacks(problems: &[String], follows: bool) -> Result<()> {
    if !follows {
        bail!("{}", problems.join("; "));
    }
    for problem in problems {
        warn!(problem, "a fallback is not used");
    }
    Ok(())
}

/// Says which models do not exist though the configuration names them. They may come later.
fn warn_of(unknown: &[String]) {
    for problem in unknown {
        warn!("{problem}");
        print_line!("warning  {problem}");
    }
}

/// Tries new models in processes of their own, if that is configured. What comes of it is kept in the
/// data folder.
fn load_trials(config: &Config, follows: bool, engines: &Engines) -> Option<Arc<LoadTrials>> {
    if !config.engines.load_trial {
        return None;
    }
    let data = config.data.clone().or_else(|| default_data_folder().ok());
    let folder = data.map(|data| data.join("loads"));
    let has_company = follows || config.models.len() > 1;
    let settings = config.engines.trial_settings();
    Some(Arc::new(LoadTrials::new(
        settings,
        engines,
        folder,
        has_company,
    )))
}

/// A load that is cut off by the end of the server is no crash.
fn forget_running_loads(trials: Option<&LoadTrials>) {
    if let Some(trials) = trials {
        trials.forget_running_loads();
    }
}

fn print_addresses(server: &Server, has_console: bool) {
    let (http, grpc) = match server.has_tls() {
        true => ("https", "grpcs://"),
        false => ("http", ""),
    };
    print_line!("REST     {http}://{}", server.http());
    print_line!("gRPC     {grpc}{}", server.grpc());
    if has_console {
        print_line!("console  {http}://{}/console", server.http());
    }
}

/// Where the registry keeps its metadata; a file of the working directory where no folder is known.
fn registry_database(config: &RegistryConfig, data: Option<&Path>) -> String {
    match data.map_or_else(default_data_folder, |data| Ok(data.to_owned())) {
        Ok(data) => config.database(&data),
        Err(_) => "registry.db".to_owned(),
    }
}

/// Where the embedded feature store is: where `tidegate features` looks for it, too.
pub(super) fn feature_folder(data: Option<&Path>) -> Option<PathBuf> {
    data.map(Path::to_owned)
        .or_else(|| default_data_folder().ok())
}

/// Where the registry is, for people. A URL may have a password.
fn registry_place(config: &RegistryConfig, data: Option<&Path>) -> String {
    match &config.database {
        Some(database) if database.contains("://") => "registry.database".to_owned(),
        _ => registry_database(config, data),
    }
}

/// Drains accepted requests, and removes the server from the registry.
async fn stop(
    server: Server,
    fleet: Option<Arc<Fleet>>,
    trials: Option<Arc<LoadTrials>>,
) -> ExitCode {
    // First: until the last request is answered, the registry must not let anybody delete the
    // versions that are in use.
    let cause = server.stop().await;
    if let Some(fleet) = fleet {
        // If this fails, the registry forgets the versions of this server by itself after a while.
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, fleet.release_versions()).await;
    }
    forget_running_loads(trials.as_deref());
    match cause {
        StopCause::Drained => ExitCode::SUCCESS,
        // Requests were cut off, which whoever supervises the process should notice.
        StopCause::TimedOut => ExitCode::FAILURE,
    }
}

/// Prints what was loaded.
fn announce(report: &LoadReport, fleet: Option<(&Fleet, &str)>, started: Instant) {
    for (name, reason) in &report.failed {
        print_line!("failed   {}", named_problem(name, reason));
    }
    for problem in fleet.iter().flat_map(|(fleet, _)| fleet.missing_models()) {
        print_line!("warning  {problem}");
    }
    let (ready, all) = (report.ready.len(), report.ready.len() + report.failed.len());
    let names = report.ready.join(", ");
    let seconds = started.elapsed().as_secs_f64();
    match (ready, all, fleet) {
        (0, 0, Some((fleet, place))) => print_line!("ready    {}", nothing_loaded(fleet, place)),
        // Not ready, but it goes on: the registry may get a version that loads.
        (0, _, Some(_)) => print_line!("ready    no model loaded yet"),
        (0, _, None) => {}
        _ if ready == all => {
            let models = counted(all as u64, "model");
            print_line!("ready    {models} in {seconds:.2} s: {names}");
        }
        _ => print_line!("ready    {ready} of {all} models in {seconds:.2} s: {names}"),
    }
}

/// Why nothing of the registry is loaded, though nothing failed.
fn nothing_loaded(fleet: &Fleet, place: &str) -> String {
    match (fleet.index().len(), fleet.registry_models()) {
        (0, 0) => {
            format!("the registry is empty: add a model to {place} with `tidegate push`")
        }
        (0, models) => format!(
            "no model is served: the registry in {place} has {}, but fleet.models or \
             fleet.versions selects none of them",
            counted(models as u64, "model")
        ),
        _ => "models of the registry are loaded by their first request".to_owned(),
    }
}

/// Locks the data folder for this process. The system releases the lock however the process ends.
fn lock(folder: &Path) -> Result<File> {
    data_folder::make(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let path = folder.join("lock");
    // Never removed: two servers could then hold locks on two files of this name.
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    if file.try_lock().is_err() {
        bail!("{} is in use by another server", folder.display());
    }
    Ok(file)
}

/// The signals that end the server in order.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// `None` where the server was started with SIGHUP ignored, as `nohup` does.
    hangup: Option<Signal>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let hangup = match is_hangup_ignored() {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = next_hangup(&mut self.hangup) => "SIGHUP",
        }
    }
}

async fn next_hangup(hangup: &mut Option<Signal>) {
    match hangup {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether the parent of this process chose that a terminal's end does not end it (proc(5), the
/// mask `SigIgn`; SIGHUP is its first bit).
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}
