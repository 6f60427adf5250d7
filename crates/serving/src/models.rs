//! The models of this process: found in folders or handed over by the fleet, loaded, replaced,
//! unloaded.
//!
//! Requests read a snapshot of the loaded models, without a lock. A change makes a new snapshot and
//! swaps it in, so that each request sees the state before or after, and none in between.

mod graphs;
mod index;
mod model;
mod registry_version;
mod state;
mod unknown;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tidegate_engines::Engines;
use tracing::{error, info};

pub(crate) use self::graphs::MAX_GRAPH_DEPTH;
pub use self::model::Model;
pub(crate) use self::model::requested_number;
pub use self::state::{IndexEntry, ModelState};
use self::unknown::{default_not_loaded, still_loading};
pub(crate) use self::unknown::{printable, unknown_model, unknown_version};
use crate::load_trials::Trial;
use crate::scheduler::INLINE_RUN;
use crate::source::{self, FoundModel, GivenModel};
use crate::version::LoadMetrics;
use crate::{
    Breakers, ErrorCode, Fallbacks, InferError, LoadMarker, LoadTrials, MetricRegistry,
    RequestMetrics, Version, VersionPlan,
};

/// What the request path reads without a lock: the loaded versions.
type Snapshot = BTreeMap<String, Arc<Model>>;

/// All models of this process.
pub struct Models {
    roots: Vec<PathBuf>,
    engines: Engines,
    metrics: LoadMetrics,
    inline_run: Duration,
    /// Tries new contents in another process, where that is wanted.
    trials: Option<Arc<LoadTrials>>,
    loaded: ArcSwap<Snapshot>,
    /// Held while a model of a folder loads or unloads, which takes long: one after the other. The
    /// request path never takes it.
    loading: Mutex<()>,
    /// The state of each model that was found in a folder. Held for lookups only, so that requests
    /// for unknown models do not wait for loads.
    states: Mutex<BTreeMap<String, ModelState>>,
    /// Models that are served by name: a path of the command line or the configuration is the model,
    /// and not a folder of models. The paths themselves where nothing is found there.
    named: Mutex<BTreeSet<String>>,
    /// What loads must not make impossible, once the server has started.
    fallbacks: OnceLock<Arc<Fallbacks>>,
    /// Whether the load of the start has not ended: a name that is not known may still become one.
    is_starting: AtomicBool,
}

/// The result of loading all models.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// Names of models that are ready.
    pub ready: Vec<String>,
    /// Names of models that could not be loaded, with the reason.
    pub failed: Vec<(String, String)>,
}

impl Models {
    /// Models under these paths, none of them loaded yet. Registers the metrics of loads and
    /// requests.
    pub fn new(roots: Vec<PathBuf>, engines: Engines, registry: &MetricRegistry) -> Self {
        let requests = Arc::new(RequestMetrics::new(registry));
        Self {
            roots,
            engines,
            metrics: LoadMetrics::new(registry, requests),
            inline_run: INLINE_RUN,
            trials: None,
            loaded: ArcSwap::default(),
            loading: Mutex::default(),
            states: Mutex::default(),
            named: Mutex::default(),
            fallbacks: OnceLock::new(),
            is_starting: AtomicBool::new(false),
        }
    }

    /// Says whether the models of the start, those of the registry included, are still being loaded.
    /// Meanwhile a model that is not known counts as one that is not ready.
    pub fn set_starting(&self, is_starting: bool) {
        self.is_starting.store(is_starting, Ordering::Relaxed);
    }

    /// The metrics of requests to these models.
    pub fn request_metrics(&self) -> &Arc<RequestMetrics> {
        self.metrics.requests()
    }

    /// The circuit breakers of versions.
    pub fn breakers(&self) -> &Arc<Breakers> {
        self.metrics.breakers()
    }

    /// The metrics of loads.
    pub(crate) fn load_metrics(&self) -> &LoadMetrics {
        &self.metrics
    }

    /// Runs of up to `limit` stay on the thread that serves connections. For profilers: under one
    /// that slows everything down, requests would otherwise take another path than without it.
    #[must_use]
    pub fn with_inline_run(self, limit: Duration) -> Self {
        Self {
            inline_run: limit,
            ..self
        }
    }

    /// Contents that were never loaded are loaded by another process first.
    #[must_use]
    pub fn with_trials(self, trials: Option<Arc<LoadTrials>>) -> Self {
        Self { trials, ..self }
    }

    /// Tries a version in another process, if its content is new. Blocks.
    pub(crate) fn try_first(
        &self,
        model: &str,
        plan: &VersionPlan,
        trial: Trial,
    ) -> Result<(), String> {
        match &self.trials {
            Some(trials) => trials.try_first(model, plan, trial),
            None => Ok(()),
        }
    }

    /// What must live as long as the load of a version. Blocks.
    pub(crate) fn mark_load(&self, plan: &VersionPlan) -> Option<LoadMarker> {
        self.trials.as_ref().map(|trials| trials.mark(plan))
    }

    /// Finds and loads every model. Blocks.
    pub fn load_all(&self) -> LoadReport {
        let mut report = LoadReport::default();
        let _loading = self.loading.lock();
        let found = self.find_all(&mut report);
        let plans = plans_of(&found);
        // If the load of a single model ends the process, nobody else is hurt.
        let is_alone = plans.len() == 1 && !self.has_company();
        let trial = if is_alone { Trial::Skip } else { Trial::IfNew };
        std::thread::scope(|scope| {
            if let Some(trials) = &self.trials
                && !is_alone
            {
                trials.run_ahead(scope, plans);
            }
            // Graphs after the models that they run, so that types are checked at once.
            let (graphs, others) = graphs::apart(found);
            for (root, models) in others.into_iter().chain(graphs) {
                self.load_each(root, models, trial, &mut report);
            }
        });
        report
    }

    fn has_company(&self) -> bool {
        self.trials
            .as_ref()
            .is_some_and(|trials| trials.has_company())
    }

    fn find_all(&self, report: &mut LoadReport) -> Vec<(&Path, Vec<FoundModel>)> {
        let mut all = Vec::new();
        for root in &self.roots {
            match source::find(root) {
                Ok(found) => all.push((root.as_path(), found)),
                Err(problem) => {
                    let (root, problem) = (root.display().to_string(), problem.to_string());
                    // Under the path, as no model's name is known: the server must not seem ready.
                    self.set_state(&root, ModelState::Failed(problem.clone()));
                    self.named.lock().insert(root.clone());
                    report.failed.push((root, problem));
                }
            }
        }
        all
    }

    fn load_each(
        &self,
        root: &Path,
        found: Vec<FoundModel>,
        trial: Trial,
        report: &mut LoadReport,
    ) {
        let is_named = source::is_model(root);
        for model in found {
            let name = model.name.clone();
            if is_named {
                self.named.lock().insert(name.clone());
            }
            // The first path wins, as on a search path.
            if report.ready.contains(&name) {
                let reason = format!("a model of this name was found before {}", root.display());
                report.failed.push((name, reason));
                continue;
            }
            match self.load_found(model, trial) {
                Ok(()) => report.ready.push(name),
                Err(reason) => report.failed.push((name, reason)),
            }
        }
    }

    /// Loads a model, or reloads it from what is in its folder now. The loaded one answers until
    /// then, and stays if this fails. Blocks.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownModel`], or [`ErrorCode::LoadFailed`] with the reason.
    pub fn load(&self, name: &str) -> Result<(), InferError> {
        let _loading = self.loading.lock();
        let mut found = Vec::new();
        for root in &self.roots {
            if let Ok(models) = source::find(root) {
                // It may have been unreadable before.
                self.states.lock().remove(&root.display().to_string());
                found.extend(models);
            }
        }
        let model = found.into_iter().find(|model| model.name == name);
        let Some(model) = model else {
            self.forget_failed(name);
            return Err(unknown_model(name));
        };
        self.load_found(model, Trial::Retry).map_err(|reason| {
            InferError::new(
                ErrorCode::LoadFailed,
                format!("\"{name}\" cannot be loaded: {reason}"),
            )
        })
    }

    /// Forgets a model that could not be loaded and whose files are gone.
    fn forget_failed(&self, name: &str) {
        let mut states = self.states.lock();
        if matches!(states.get(name), Some(ModelState::Failed(_))) {
            states.remove(name);
        }
    }

    /// Forgets models that could not be loaded and are not found any more.
    fn forget_gone(&self, found: &[FoundModel]) {
        let named = self.named.lock().clone();
        self.states.lock().retain(|name, state| {
            !matches!(state, ModelState::Failed(_))
                || named.contains(name)
                || found.iter().any(|model| model.name == *name)
        });
    }

    /// As [`Models::load`], with a configuration or files that the request has in place of those of
    /// the folder. A later load without them takes the folder again. Blocks.
    ///
    /// # Errors
    /// [`ErrorCode::LoadFailed`] with the reason.
    pub fn load_given(&self, name: &str, given: &GivenModel) -> Result<(), InferError> {
        let _loading = self.loading.lock();
        source::given::find(name, &self.roots, given)
            .map_err(|problem| problem.to_string())
            .and_then(|model| self.load_found(model, Trial::Retry))
            .map_err(|reason| {
                InferError::new(
                    ErrorCode::LoadFailed,
                    format!("\"{}\" cannot be loaded: {reason}", printable(name)),
                )
            })
    }

    /// Takes a model out of service. Requests that have begun are answered.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownModel`].
    pub fn unload(&self, name: &str) -> Result<(), InferError> {
        let _loading = self.loading.lock();
        let mut states = self.states.lock();
        let state = states.get_mut(name).ok_or_else(|| unknown_model(name))?;
        let withdrawn = self.withdraw(name);
        for version in withdrawn.iter().flat_map(|model| model.versions()) {
            self.metrics.remove_version(name, version.number());
        }
        *state = ModelState::Unloaded;
        info!(model = name, "model unloaded");
        Ok(())
    }

    /// Loads what was found and swaps it in.
    fn load_found(&self, found: FoundModel, trial: Trial) -> Result<(), String> {
        let FoundModel { name, versions } = found;
        let loaded = versions
            .map_err(|problem| problem.to_string())
            .and_then(|plans| self.load_versions(&name, plans, trial))
            .and_then(|versions| self.checked(&name, versions));
        self.metrics.count_load(&name, loaded.is_ok());
        match loaded {
            Ok(model) => {
                self.replace(model);
                self.set_state(&name, ModelState::Ready);
                Ok(())
            }
            Err(reason) => {
                error!(model = name, reason, "load failed");
                let is_loaded = self.loaded.load().contains_key(&name);
                let state = if is_loaded {
                    ModelState::Stale
                } else {
                    ModelState::Failed
                };
                self.set_state(&name, state(reason.clone()));
                Err(reason)
            }
        }
    }

    /// From now on, no load may make one of these fallbacks impossible.
    pub(crate) fn check_loads_with(&self, fallbacks: &Arc<Fallbacks>) {
        // A second call has nothing else to say.
        let _ = self.fallbacks.set(fallbacks.clone());
    }

    /// The model of these versions, if it may be served.
    fn checked(&self, name: &str, versions: BTreeMap<u64, Arc<Version>>) -> Result<Model, String> {
        let model = Model::of_versions(name.to_owned(), versions);
        let model = model.ok_or("there is no version to serve")?;
        if let Some(fallbacks) = self.fallbacks.get() {
            fallbacks.check(self, &model)?;
        }
        Ok(model)
    }

    fn load_versions(
        &self,
        name: &str,
        plans: Vec<VersionPlan>,
        trial: Trial,
    ) -> Result<BTreeMap<u64, Arc<Version>>, String> {
        plans
            .into_iter()
            .map(|plan| self.load_version(name, plan, trial))
            .collect()
    }

    fn load_version(
        &self,
        name: &str,
        plan: VersionPlan,
        trial: Trial,
    ) -> Result<(u64, Arc<Version>), String> {
        let number = plan.number;
        self.try_first(name, &plan, trial)?;
        let _marker = self.mark_load(&plan);
        let version = Version::load(
            name,
            plan,
            &self.engines,
            &self.metrics,
            self.inline_run,
            &|_| {},
        );
        let version = version.map_err(|problem| problem.to_string());
        match version.and_then(|version| self.fitting(version)) {
            Ok(version) => Ok((number, Arc::new(version))),
            // Most models of folders have one version, of which nobody knows that it is number 1.
            Err(problem) if number == 1 => Err(problem),
            Err(problem) => Err(format!("version {number}: {problem}")),
        }
    }

    /// Publishes a model in place of its loaded versions, and removes the metrics of those that are
    /// gone.
    fn replace(&self, model: Model) {
        let name = model.name.clone();
        let numbers: Vec<u64> = model.versions.keys().copied().collect();
        let Some(replaced) = self.publish(model) else {
            self.metrics.count_cold_start(&name);
            return;
        };
        for (number, version) in &replaced.versions {
            if !numbers.contains(number) {
                self.metrics.remove_version(&name, version.number());
            }
        }
    }

    fn set_state(&self, name: &str, state: ModelState) {
        self.states.lock().insert(name.to_owned(), state);
    }

    /// Puts a model into the snapshot that requests read. Returns the one that it replaces.
    pub(crate) fn publish(&self, model: Model) -> Option<Arc<Model>> {
        let model = Arc::new(model);
        // The fleet publishes models too. `rcu` begins again on their snapshot, so that neither
        // undoes the change of the other.
        let before = self.loaded.rcu(|loaded| {
            let mut snapshot = Snapshot::clone(loaded);
            snapshot.insert(model.name.clone(), model.clone());
            snapshot
        });
        self.show_breakers(&model.name);
        before.get(&model.name).cloned()
    }

    /// Removes a model from the snapshot that requests read, and returns it.
    pub(crate) fn withdraw(&self, name: &str) -> Option<Arc<Model>> {
        let before = self.loaded.rcu(|loaded| {
            let mut snapshot = Snapshot::clone(loaded);
            snapshot.remove(name);
            snapshot
        });
        self.show_breakers(name);
        before.get(name).cloned()
    }

    fn show_breakers(&self, name: &str) {
        self.breakers()
            .show(name, || self.loaded.load().get(name).cloned());
    }

    /// Whether a model of this name was found in a folder.
    pub(crate) fn is_found(&self, name: &str) -> bool {
        self.states.lock().contains_key(name)
    }

    /// A loaded model.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownModel`], or [`ErrorCode::NotReady`] if it is known and not loaded.
    pub fn model(&self, name: &str) -> Result<Arc<Model>, InferError> {
        let loaded = self.loaded.load();
        loaded.get(name).cloned().ok_or_else(|| self.absent(name))
    }

    /// A loaded version of a model, by number or alias; the default version if none is requested.
    /// See [`Model`] for the rule.
    ///
    /// # Errors
    /// As [`Models::model`], and [`ErrorCode::UnknownVersion`].
    pub fn version(&self, name: &str, version: Option<&str>) -> Result<Arc<Version>, InferError> {
        let loaded = self.loaded.load();
        let model = loaded.get(name).ok_or_else(|| self.absent(name))?;
        model
            .resolve(version)
            .cloned()
            .ok_or_else(|| match version {
                None => default_not_loaded(name),
                Some(version) => unknown_version(name, version, model.versions.keys()),
            })
    }

    /// The error of a request for a model that is not loaded.
    fn absent(&self, name: &str) -> InferError {
        let Some(state) = self.states.lock().get(name).cloned() else {
            return match self.is_starting.load(Ordering::Relaxed) {
                true => still_loading(name),
                false => unknown_model(name),
            };
        };
        let why = match state {
            ModelState::Failed(reason) => format!("it could not be loaded: {reason}"),
            _ => "it is not loaded".to_owned(),
        };
        InferError::new(
            ErrorCode::NotReady,
            format!("model \"{name}\" cannot answer: {why}"),
        )
    }

    /// All loaded models, by name.
    pub fn all(&self) -> Vec<Arc<Model>> {
        self.loaded.load().values().cloned().collect()
    }

    /// Whether no model was found in a folder.
    pub fn is_empty(&self) -> bool {
        self.states.lock().is_empty()
    }

    /// Whether any model is loaded.
    pub(crate) fn has_loaded(&self) -> bool {
        !self.loaded.load().is_empty()
    }

    /// Whether every model that is served by name answers. One of a folder that cannot be loaded
    /// takes no traffic away from the others, for it never had any.
    pub(crate) fn named_are_ready(&self) -> bool {
        let states = self.states.lock();
        let named = self.named.lock();
        let mut failed = states
            .iter()
            .filter(|(_, state)| matches!(state, ModelState::Failed(_)));
        !failed.any(|(name, _)| named.contains(name))
    }

    /// Whether a model of a folder was taken out of service.
    pub(crate) fn has_unloaded(&self) -> bool {
        let states = self.states.lock();
        states.values().any(|state| *state == ModelState::Unloaded)
    }

    /// Versions whose requests run one by one because answers showed that their rows depend on each
    /// other.
    pub(crate) fn broken_contracts(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let loaded = self.loaded.load();
        for version in loaded.values().flat_map(|model| model.versions()) {
            if let Some(reason) = version.scheduler().limits().contract.broken() {
                let (model, number) = (version.model(), version.number());
                problems.push(format!(
                    "{model}:{number} runs requests one by one: {reason}"
                ));
            }
        }
        problems
    }

    /// Where models are searched.
    pub fn roots(&self) -> impl Iterator<Item = &Path> {
        self.roots.iter().map(PathBuf::as_path)
    }
}

/// The versions of all models that could be read, in the order of their loads.
fn plans_of(found: &[(&Path, Vec<FoundModel>)]) -> Vec<(String, VersionPlan)> {
    let mut plans = Vec::new();
    for model in found.iter().flat_map(|(_, models)| models) {
        for plan in model.versions.iter().flatten() {
            plans.push((model.name.clone(), plan.clone()));
        }
    }
    plans
}
