//! Trying a version in a process of its own before this process loads it.
//!
//! ```text
//! content ─► refused before? ─► tried before? ─► child: load, warm up, check ─► marker ─► load here
//!            (it ended the       (a file says     under limits of memory        (removed when the
//!             server twice)       so)             and time                       load has ended)
//! ```
//!
//! An engine is native code that runs what a file says. A file can make it abort, hang, or take all
//! memory, and nothing in the same process can prevent that. So a content that was never loaded is
//! loaded by a child first. What the child found is kept by the digest of the content, so that a
//! restart tries nothing again.
//!
//! A load can end the process all the same, after a trial that went well. A marker file exists
//! while a content loads; the next start counts those that were left. After two of them the content
//! is not loaded any more.

mod child;
mod content;
mod ledger;
mod parent;
mod turns;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_core::EngineChoice;
use tidegate_engines::Engines;
use tracing::{info, warn};

pub use self::child::run_child;
use self::content::ContentKey;
pub use self::ledger::LoadMarker;
use self::ledger::TrialLedger;
use self::parent::TrialChild;
use self::turns::LoadTurns;
use crate::{CheckReport, VersionPlan, memory_limit_bytes};

/// The first argument with which a program of ours runs [`run_child`].
pub const CHILD_COMMAND: &str = "check-load";
/// So many loads of a content may end the process before it is refused.
const MAX_CRASHES: u32 = 2;
/// The least memory that a trial gets, in bytes: a runtime and its threads need some hundred MB of
/// address space.
const MIN_MEMORY_BYTES: u64 = 1 << 30;

/// How versions are tried: the keys `engines.load_trial…`.
#[derive(Clone, Debug)]
pub struct TrialSettings {
    /// Where ONNX Runtime's library is, if it is configured.
    pub onnxruntime: Option<PathBuf>,
    /// The engine of models that do not choose one.
    pub default_engine: EngineChoice,
    /// The longest that a trial may take, in seconds.
    pub timeout_s: u64,
    /// The memory that a trial may take, in bytes. By default four fifths of the machine's, or of
    /// the control group's limit.
    pub memory_bytes: Option<u64>,
}

/// Tries versions in child processes, and remembers what came of it.
pub struct LoadTrials {
    settings: TrialSettings,
    /// What a verdict depends on besides the content: the versions of this program and its engines.
    environment: String,
    ledger: TrialLedger,
    /// Whether other models are served by this process than those of one path.
    has_company: bool,
    turns: Arc<LoadTurns>,
    /// One lock for each content that is being tried, so that it is tried once.
    running: Mutex<HashMap<ContentKey, Arc<Mutex<()>>>>,
}

/// Whether a version is tried before its load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trial {
    /// If nothing is known of its content.
    IfNew,
    /// Also if it failed before.
    Retry,
    /// Not at all.
    Skip,
}

/// What a child is to do.
#[derive(Debug, Serialize, Deserialize)]
struct TrialRequest {
    model: String,
    manifest: tidegate_core::Manifest,
    artifact: PathBuf,
    /// Triton's configuration, in protobuf.
    triton: Option<Vec<u8>>,
    is_from_registry: bool,
    task: TrialTask,
    onnxruntime: Option<PathBuf>,
    default_engine: EngineChoice,
    timeout_s: u64,
    memory_bytes: u64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum TrialTask {
    /// Load and warm up, as a server does.
    Load,
    /// All checks of a bundle.
    Check,
}

/// What a child found, if it lived to tell.
#[derive(Debug, Serialize, Deserialize)]
enum TrialAnswer {
    Loaded(Result<(), String>),
    Checked(CheckReport),
}

/// Why a content may not be loaded.
enum TrialFailure {
    /// The child says why it cannot be loaded, as this process would.
    Refused(String),
    /// The child ended in another way, or not in time.
    Ended(String),
    /// There is no child: nothing is known of the content.
    NotTried(std::io::Error),
}

impl LoadTrials {
    /// Trials whose results are kept in `folder`, or only in memory. `has_company` says whether the
    /// process serves anything besides the models of one path.
    pub fn new(
        settings: TrialSettings,
        engines: &Engines,
        folder: Option<PathBuf>,
        has_company: bool,
    ) -> Self {
        Self {
            environment: format!("{} {}", env!("CARGO_PKG_VERSION"), engines.versions()),
            settings,
            ledger: TrialLedger::new(folder),
            has_company,
            turns: Arc::default(),
            running: Mutex::default(),
        }
    }

    /// Whether a single model of a path is all that the process serves. If its load ends the
    /// process, nobody else is hurt, so it is not tried before.
    pub(crate) fn has_company(&self) -> bool {
        self.has_company
    }

    /// Tries a version if its content is new. Blocks.
    ///
    /// # Errors
    /// Why it must not be loaded.
    pub(crate) fn try_first(
        &self,
        model: &str,
        plan: &VersionPlan,
        trial: Trial,
    ) -> Result<(), String> {
        let Ok(key) = ContentKey::of(plan, &self.environment, &self.ledger) else {
            // It cannot be read: the load says why.
            return Ok(());
        };
        let crashes = self.ledger.crashes(&key);
        if crashes >= MAX_CRASHES {
            let marker = self.ledger.marker_name(&key);
            return Err(format!(
                "loading it crashed the server {crashes} times, so it is not loaded again; remove {marker} to try it"
            ));
        }
        if trial == Trial::Skip || plan.has_no_artifact() {
            return Ok(());
        }
        // A verdict from before a crash is worth nothing any more.
        let is_retry = trial == Trial::Retry || crashes > 0;
        self.verdict(model, plan, &key, is_retry, &mut None)
    }

    /// Says that a version is being loaded by this process, until the marker is dropped. A content
    /// whose load has ended a server loads alone, so that no other one is blamed for its crash. Blocks.
    pub(crate) fn mark(&self, plan: &VersionPlan) -> LoadMarker {
        let key = ContentKey::of(plan, &self.environment, &self.ledger);
        let Ok(key) = key else {
            return LoadMarker::none();
        };
        let crashes = self.ledger.crashes(&key);
        let turn = self.turns.wait(crashes > 0);
        self.ledger.mark(&key, crashes, turn)
    }

    /// Tries versions on as many threads as there are cores, in order, ahead of their loads.
    pub(crate) fn run_ahead<'scope>(
        self: &'scope Arc<Self>,
        scope: &'scope std::thread::Scope<'scope, '_>,
        plans: Vec<(String, VersionPlan)>,
    ) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // Each thread has a process for its trials. More of them than cores would only take memory.
        let threads = cores.min(plans.len());
        let (plans, next) = (Arc::new(plans), Arc::new(AtomicUsize::new(0)));
        for _ in 0..threads {
            let (plans, next) = (plans.clone(), next.clone());
            scope.spawn(move || {
                // One child for all of them: most of a trial is the start of a process.
                let mut child = None;
                while let Some((model, plan)) = plans.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if plan.has_no_artifact() {
                        continue; // No content of it runs here.
                    }
                    let key = ContentKey::of(plan, &self.environment, &self.ledger);
                    if let Ok(key) = key
                        && self.ledger.crashes(&key) == 0
                    {
                        // The load asks again, and finds what came of it.
                        let _ = self.verdict(model, plan, &key, false, &mut child);
                    }
                }
            });
        }
    }

    /// What came of trying a content; tries it if nothing is known.
    fn verdict(
        &self,
        model: &str,
        plan: &VersionPlan,
        key: &ContentKey,
        is_retry: bool,
        child: &mut Option<TrialChild>,
    ) -> Result<(), String> {
        let turn = self.running.lock().entry(key.clone()).or_default().clone();
        // Before the ledger is read: whoever waited for its turn finds the verdict of the trial
        // before.
        let _turn = turn.lock();
        let known = self.ledger.verdict(key);
        match known {
            Some(Ok(())) if self.ledger.crashes(key) == 0 => return Ok(()),
            Some(Err(reason)) if !is_retry => return Err(reason),
            _ => {}
        }
        let started = Instant::now();
        let outcome = self.try_to_load(model, plan, child);
        let trial_ms = started.elapsed().as_millis() as u64;
        match outcome {
            Ok(()) => {
                info!(model, trial_ms, "a separate process could load the model");
                self.ledger.record(key, Ok(()));
                Ok(())
            }
            Err(TrialFailure::Refused(reason)) => Err(reason),
            Err(TrialFailure::Ended(reason)) => {
                self.ledger.record(key, Err(&reason));
                Err(reason)
            }
            Err(TrialFailure::NotTried(error)) => {
                warn!(model, %error, "cannot start a process for the trial of the model: loading it without a trial");
                Ok(())
            }
        }
    }

    fn try_to_load(
        &self,
        model: &str,
        plan: &VersionPlan,
        child: &mut Option<TrialChild>,
    ) -> Result<(), TrialFailure> {
        let request = TrialRequest::new(model, plan, TrialTask::Load, &self.settings);
        match request.run(child)? {
            TrialAnswer::Loaded(outcome) => outcome.map_err(TrialFailure::Refused),
            TrialAnswer::Checked(_) => {
                Err(TrialFailure::Ended("it gave an unexpected answer".into()))
            }
        }
    }

    /// Removes the markers of loads that are still running: this process ends in order.
    pub fn forget_running_loads(&self) {
        self.ledger.forget_running_loads();
    }
}

/// Runs the checks of a version in a process of its own. If that process ends before it can tell,
/// the report says how, as the failed check `load`. `engines` are for a machine that starts no
/// process. Blocks.
pub fn check_in_child(
    model: &str,
    plan: &VersionPlan,
    settings: &TrialSettings,
    engines: impl FnOnce() -> Engines,
) -> CheckReport {
    if plan.has_no_artifact() {
        return crate::check(model, plan, &engines());
    }
    match TrialRequest::new(model, plan, TrialTask::Check, settings).run(&mut None) {
        Ok(TrialAnswer::Checked(report)) => report,
        Ok(TrialAnswer::Loaded(_)) | Err(TrialFailure::NotTried(_)) => {
            crate::check(model, plan, &engines())
        }
        Err(TrialFailure::Refused(reason) | TrialFailure::Ended(reason)) => {
            let mut report = CheckReport::new(model);
            report.run("load", || Err::<(), _>(reason));
            report
        }
    }
}

impl TrialRequest {
    fn new(model: &str, plan: &VersionPlan, task: TrialTask, settings: &TrialSettings) -> Self {
        let memory_bytes = settings
            .memory_bytes
            .or_else(|| memory_limit_bytes().map(|bytes| bytes / 5 * 4));
        Self {
            model: model.to_owned(),
            manifest: plan.manifest.clone(),
            artifact: plan.artifact.clone(),
            triton: plan.triton.as_ref().map(prost::Message::encode_to_vec),
            is_from_registry: plan.is_from_registry(),
            task,
            onnxruntime: settings.onnxruntime.clone(),
            default_engine: settings.default_engine.clone(),
            timeout_s: settings.timeout_s.max(1),
            memory_bytes: memory_bytes.unwrap_or(u64::MAX).max(MIN_MEMORY_BYTES),
        }
    }

    /// Asks a child, which is there for further questions if it lived through this one.
    fn run(&self, child: &mut Option<TrialChild>) -> Result<TrialAnswer, TrialFailure> {
        let is_reused = child.is_some();
        let started = Instant::now();
        let mut own = match child.take() {
            Some(child) => child,
            None => TrialChild::start().map_err(TrialFailure::NotTried)?,
        };
        if let Some(answer) = own.ask(self) {
            *child = Some(own);
            return Ok(answer);
        }
        let tried = "it was tried in a separate process, which";
        if started.elapsed() >= Duration::from_secs(self.timeout_s) {
            let seconds = self.timeout_s;
            let reason = format!("{tried} did not load it within {seconds} s");
            return Err(TrialFailure::Ended(reason));
        }
        if is_reused {
            // What was tried before may have left the process short of something.
            return self.run(child);
        }
        Err(TrialFailure::Ended(format!("{tried} {}", own.ending())))
    }
}
