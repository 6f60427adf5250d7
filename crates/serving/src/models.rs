//! The models of this process: found, loaded, swapped, unloaded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tidegate_engines::Engines;
use tracing::{error, info};

use crate::source::{self, FoundModel};
use crate::{ErrorCode, InferError, Metrics, Version};

/// What the request path reads without a lock: the loaded versions.
type Snapshot = BTreeMap<String, Arc<Model>>;

/// All models that this process knows.
pub struct Models {
    roots: Vec<PathBuf>,
    engines: Engines,
    metrics: Arc<Metrics>,
    loaded: ArcSwap<Snapshot>,
    /// Held while a model loads or unloads: they take turns. The request path never takes it.
    turn: Mutex<()>,
    /// Where each model stands; held for lookups only.
    states: Mutex<BTreeMap<String, ModelState>>,
}

/// The loaded versions of a model, at least one.
pub struct Model {
    name: String,
    versions: BTreeMap<u64, Arc<Version>>,
    newest: Arc<Version>,
}

impl Model {
    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The loaded versions, ascending.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.versions.values()
    }

    /// The version that answers requests which name none.
    pub fn newest(&self) -> &Arc<Version> {
        &self.newest
    }
}

/// Where a model stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// It answers.
    Ready,
    /// It was taken out of service.
    Unloaded,
    /// It was found and never loaded.
    NotLoaded,
    /// It could not be loaded, for this reason.
    Failed(String),
    /// It answers as it was loaded before; a newer load failed, for this reason.
    Stale(String),
}

/// A line of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The model's name.
    pub name: String,
    /// The version's number; empty where none is known.
    pub version: String,
    /// Where it stands.
    pub state: ModelState,
}

/// What came of loading everything.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// Names of models that answer.
    pub ready: Vec<String>,
    /// Names of models that do not, with the reason.
    pub failed: Vec<(String, String)>,
}

impl Models {
    /// Models under these paths, none of them loaded yet.
    pub fn new(roots: Vec<PathBuf>, engines: Engines, metrics: Arc<Metrics>) -> Self {
        Self { roots, engines, metrics, loaded: ArcSwap::default(), turn: Mutex::default(), states: Mutex::default() }
    }

    /// Finds and loads every model. Blocks.
    pub fn load_all(&self) -> LoadReport {
        let mut report = LoadReport::default();
        let _turn = self.turn.lock();
        for root in &self.roots {
            match source::find(root) {
                Err(problem) => {
                    let (root, problem) = (root.display().to_string(), problem.to_string());
                    self.states.lock().insert(root.clone(), ModelState::Failed(problem.clone()));
                    report.failed.push((root, problem));
                }
                Ok(found) => {
                    for model in found {
                        let name = model.name.clone();
                        if report.ready.contains(&name) {
                            let reason = format!("a model of this name was found before {}", root.display());
                            report.failed.push((name, reason));
                            continue;
                        }
                        match self.load_found(model) {
                            Ok(()) => report.ready.push(name),
                            Err(reason) => report.failed.push((name, reason)),
                        }
                    }
                }
            }
        }
        report
    }

    /// Loads a model, or loads it anew from what is in its folder now; the loaded one answers until then, and goes on
    /// if this fails. Blocks.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownModel`], or [`ErrorCode::LoadFailed`] with the reason.
    pub fn load(&self, name: &str) -> Result<(), InferError> {
        let _turn = self.turn.lock();
        let mut found = Vec::new();
        for root in &self.roots {
            if let Ok(models) = source::find(root) {
                // It may have been unreadable before.
                self.states.lock().remove(&root.display().to_string());
                found.extend(models);
            }
        }
        match found.into_iter().find(|model| model.name == name) {
            Some(model) => self.load_found(model).map_err(|reason| {
                InferError::new(ErrorCode::LoadFailed, format!("\"{name}\" cannot be loaded: {reason}"))
            }),
            None => Err(unknown_model(name)),
        }
    }

    /// Takes a model out of service. Requests that have begun are answered.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownModel`].
    pub fn unload(&self, name: &str) -> Result<(), InferError> {
        let _turn = self.turn.lock();
        let mut states = self.states.lock();
        let mut snapshot = Snapshot::clone(&self.loaded.load());
        let removed = snapshot.remove(name);
        if removed.is_none() && !states.contains_key(name) {
            return Err(unknown_model(name));
        }
        self.loaded.store(Arc::new(snapshot));
        for version in removed.iter().flat_map(|model| model.versions()) {
            self.metrics.forget(name, version.number());
        }
        states.insert(name.to_owned(), ModelState::Unloaded);
        info!(model = name, "model unloaded");
        Ok(())
    }

    /// Loads what was found and swaps it in; else the reason.
    fn load_found(&self, found: FoundModel) -> Result<(), String> {
        let FoundModel { name, versions } = found;
        let loaded = versions.map_err(|problem| problem.to_string()).and_then(|plans| {
            let load = |plan: crate::VersionPlan| {
                let number = plan.number;
                let version = Version::load(&name, plan, &self.engines, &self.metrics);
                version.map(|version| (number, Arc::new(version))).map_err(|problem| {
                    if number == 1 { problem.to_string() } else { format!("version {number}: {problem}") }
                })
            };
            plans.into_iter().map(load).collect::<Result<BTreeMap<_, _>, _>>()
        });
        let outcome = if loaded.is_ok() { "ok" } else { "failed" };
        self.metrics.loads.with_label_values(&[name.as_str(), outcome]).inc();
        match loaded {
            Ok(versions) => {
                let Some((_, newest)) = versions.last_key_value() else {
                    return Err("there is no version to serve".to_owned());
                };
                let model = Model { name: name.clone(), newest: newest.clone(), versions };
                let mut snapshot = Snapshot::clone(&self.loaded.load());
                let kept: Vec<u64> = model.versions.keys().copied().collect();
                let replaced = snapshot.insert(name.clone(), Arc::new(model));
                self.loaded.store(Arc::new(snapshot));
                match replaced {
                    None => self.metrics.cold_starts.with_label_values(&[&name]).inc(),
                    Some(replaced) => {
                        let gone = replaced.versions.iter().filter(|(number, _)| !kept.contains(number));
                        gone.for_each(|(_, version)| self.metrics.forget(&name, version.number()));
                    }
                }
                self.states.lock().insert(name, ModelState::Ready);
                Ok(())
            }
            Err(reason) => {
                error!(model = name, reason, "model not loaded");
                let answers = self.loaded.load().contains_key(&name);
                let state = if answers { ModelState::Stale } else { ModelState::Failed };
                self.states.lock().insert(name, state(reason.clone()));
                Err(reason)
            }
        }
    }

    /// A loaded model.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownModel`], or [`ErrorCode::NotReady`] if it is known and not loaded.
    pub fn model(&self, name: &str) -> Result<Arc<Model>, InferError> {
        let loaded = self.loaded.load();
        loaded.get(name).cloned().ok_or_else(|| self.absent(name))
    }

    /// A loaded version of a model; the newest one if none is named.
    ///
    /// # Errors
    /// As [`Models::model`], and [`ErrorCode::UnknownVersion`].
    pub fn version(&self, name: &str, version: Option<&str>) -> Result<Arc<Version>, InferError> {
        let loaded = self.loaded.load();
        let model = loaded.get(name).ok_or_else(|| self.absent(name))?;
        let Some(wanted) = version else { return Ok(model.newest.clone()) };
        let found = wanted.parse().ok().and_then(|number: u64| model.versions.get(&number));
        found.cloned().ok_or_else(|| {
            let ready: Vec<String> = model.versions.keys().map(u64::to_string).collect();
            let message = format!(
                "model \"{}\" has no version \"{}\" loaded, it has {}",
                printable(name),
                printable(wanted),
                ready.join(", ")
            );
            InferError::new(ErrorCode::UnknownVersion, message)
        })
    }

    fn absent(&self, name: &str) -> InferError {
        let state = self.states.lock().get(name).cloned();
        match state {
            None => unknown_model(name),
            Some(state) => {
                let why = match state {
                    ModelState::Failed(reason) => format!("it could not be loaded: {reason}"),
                    _ => "it is not loaded".to_owned(),
                };
                InferError::new(ErrorCode::NotReady, format!("model \"{name}\" cannot answer: {why}"))
            }
        }
    }

    /// All loaded models, by name.
    pub fn all(&self) -> Vec<Arc<Model>> {
        self.loaded.load().values().cloned().collect()
    }

    /// Whether everything that was found answers, if only as it was loaded before.
    pub fn ready(&self) -> bool {
        let states = self.states.lock();
        !states.is_empty() && !states.values().any(|state| matches!(state, ModelState::Failed(_)))
    }

    /// Every version that is loaded, and every model that is not, with where it stands.
    pub fn index(&self) -> Vec<IndexEntry> {
        let mut index = Vec::new();
        let states = self.states.lock().clone();
        let loaded = self.loaded.load();
        for model in loaded.values() {
            for version in model.versions() {
                let (name, version) = (model.name.clone(), version.number().to_owned());
                let state = states.get(&name).cloned().unwrap_or(ModelState::Ready);
                index.push(IndexEntry { name, version, state });
            }
        }
        for (name, state) in states.iter().filter(|(name, _)| !loaded.contains_key(*name)) {
            index.push(IndexEntry { name: name.clone(), version: String::new(), state: state.clone() });
        }
        for found in self.roots.iter().filter_map(|root| source::find(root).ok()).flatten() {
            if !index.iter().any(|entry| entry.name == found.name) {
                let version = found.versions.ok().and_then(|plans| plans.last().map(|plan| plan.number.to_string()));
                let version = version.unwrap_or_default();
                index.push(IndexEntry { name: found.name, version, state: ModelState::NotLoaded });
            }
        }
        index.sort_by(|a, b| a.name.cmp(&b.name));
        index
    }

    /// Where models are looked for.
    pub fn roots(&self) -> impl Iterator<Item = &Path> {
        self.roots.iter().map(PathBuf::as_path)
    }
}

fn unknown_model(name: &str) -> InferError {
    InferError::new(ErrorCode::UnknownModel, format!("there is no model \"{}\"", printable(name)))
}

/// A name from outside, short enough and safe to show.
fn printable(name: &str) -> String {
    name.chars().take(128).flat_map(char::escape_default).collect()
}
