//! The models of this process: found, loaded, swapped, unloaded.

mod state;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tidegate_engines::Engines;
use tracing::{error, info};

pub use self::state::{IndexEntry, ModelState};
use crate::scheduler::INLINE_RUN;
use crate::source::{self, FoundModel};
use crate::{ErrorCode, InferError, Metrics, Version};

/// What the request path reads without a lock: the loaded versions.
type Snapshot = BTreeMap<String, Arc<Model>>;

/// All models that this process knows.
pub struct Models {
    roots: Vec<PathBuf>,
    engines: Engines,
    metrics: Arc<Metrics>,
    inline_run: Duration,
    loaded: ArcSwap<Snapshot>,
    /// Held while a model loads or unloads: they take turns. The request path never takes it.
    turn: Mutex<()>,
    /// Where each model stands; held for lookups only.
    states: Mutex<BTreeMap<String, ModelState>>,
}

/// The loaded versions of a model, at least one.
pub struct Model {
    pub(crate) name: String,
    pub(crate) versions: BTreeMap<u64, Arc<Version>>,
    /// Other names of its versions.
    pub(crate) aliases: BTreeMap<String, u64>,
    /// The version that answers requests which name none; `None` while that one is not loaded.
    pub(crate) answering: Option<Arc<Version>>,
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

    /// Whether requests would see no difference.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same = |one: &Arc<Version>, two: &Arc<Version>| Arc::ptr_eq(one, two);
        let answering = match (&self.answering, &other.answering) {
            (Some(one), Some(two)) => same(one, two),
            (None, None) => true,
            _ => false,
        };
        let mut versions = self.versions.iter().zip(&other.versions);
        let count = self.versions.len() == other.versions.len();
        answering
            && count
            && self.aliases == other.aliases
            && versions.all(|(one, two)| one.0 == two.0 && same(one.1, two.1))
    }

    /// A version by its number or alias; without one, that which answers for the model.
    fn version(&self, wanted: Option<&str>) -> Option<&Arc<Version>> {
        let Some(wanted) = wanted else {
            return self.answering.as_ref();
        };
        let number = wanted
            .parse()
            .ok()
            .or_else(|| self.aliases.get(wanted).copied())?;
        self.versions.get(&number)
    }
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
        Self {
            roots,
            engines,
            metrics,
            inline_run: INLINE_RUN,
            loaded: ArcSwap::default(),
            turn: Mutex::default(),
            states: Mutex::default(),
        }
    }

    /// The same, but with runs up to `limit` on the thread that serves connections. For profilers:
    /// under one that makes everything slower, requests would else go another way than they do
    /// without it.
    #[must_use]
    pub fn with_inline_run(self, limit: Duration) -> Self {
        Self {
            inline_run: limit,
            ..self
        }
    }

    /// Finds and loads every model. Blocks.
    pub fn load_all(&self) -> LoadReport {
        let mut report = LoadReport::default();
        let _turn = self.turn.lock();
        for root in &self.roots {
            match source::find(root) {
                Err(problem) => {
                    let (root, problem) = (root.display().to_string(), problem.to_string());
                    self.states
                        .lock()
                        .insert(root.clone(), ModelState::Failed(problem.clone()));
                    report.failed.push((root, problem));
                }
                Ok(found) => {
                    for model in found {
                        let name = model.name.clone();
                        if report.ready.contains(&name) {
                            let reason =
                                format!("a model of this name was found before {}", root.display());
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

    /// Loads a model, or loads it anew from what is in its folder now; the loaded one answers until
    /// then, and goes on if this fails. Blocks.
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
                InferError::new(
                    ErrorCode::LoadFailed,
                    format!("\"{name}\" cannot be loaded: {reason}"),
                )
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
        let removed = states
            .contains_key(name)
            .then(|| self.withdraw(name))
            .ok_or_else(|| unknown_model(name))?;
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
        let loaded = versions
            .map_err(|problem| problem.to_string())
            .and_then(|plans| {
                let load = |plan: crate::VersionPlan| {
                    let number = plan.number;
                    let version = Version::load(
                        &name,
                        plan,
                        &self.engines,
                        &self.metrics,
                        self.inline_run,
                        &|_| {},
                    );
                    version
                        .map(|version| (number, Arc::new(version)))
                        .map_err(|problem| {
                            if number == 1 {
                                problem.to_string()
                            } else {
                                format!("version {number}: {problem}")
                            }
                        })
                };
                plans
                    .into_iter()
                    .map(load)
                    .collect::<Result<BTreeMap<_, _>, _>>()
            });
        let outcome = if loaded.is_ok() { "ok" } else { "failed" };
        self.metrics
            .loads
            .with_label_values(&[name.as_str(), outcome])
            .inc();
        match loaded {
            Ok(versions) => {
                let Some((_, newest)) = versions.last_key_value() else {
                    return Err("there is no version to serve".to_owned());
                };
                let answering = Some(newest.clone());
                let model = Model {
                    name: name.clone(),
                    versions,
                    aliases: BTreeMap::new(),
                    answering,
                };
                let kept: Vec<u64> = model.versions.keys().copied().collect();
                match self.publish(model) {
                    None => self.metrics.cold_starts.with_label_values(&[&name]).inc(),
                    Some(replaced) => {
                        let gone = replaced
                            .versions
                            .iter()
                            .filter(|(number, _)| !kept.contains(number));
                        gone.for_each(|(_, version)| self.metrics.forget(&name, version.number()));
                    }
                }
                self.states.lock().insert(name, ModelState::Ready);
                Ok(())
            }
            Err(reason) => {
                error!(model = name, reason, "model not loaded");
                let answers = self.loaded.load().contains_key(&name);
                let state = if answers {
                    ModelState::Stale
                } else {
                    ModelState::Failed
                };
                self.states.lock().insert(name, state(reason.clone()));
                Err(reason)
            }
        }
    }

    /// Lets a model answer with these versions; gives what answered before.
    pub(crate) fn publish(&self, model: Model) -> Option<Arc<Model>> {
        let model = Arc::new(model);
        let before = self.loaded.rcu(|loaded| {
            let mut snapshot = Snapshot::clone(loaded);
            snapshot.insert(model.name.clone(), model.clone());
            snapshot
        });
        before.get(&model.name).cloned()
    }

    /// Lets a model answer no longer; gives what answered before.
    pub(crate) fn withdraw(&self, name: &str) -> Option<Arc<Model>> {
        let before = self.loaded.rcu(|loaded| {
            let mut snapshot = Snapshot::clone(loaded);
            snapshot.remove(name);
            snapshot
        });
        before.get(name).cloned()
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

    /// A loaded version of a model, by number or alias; the one that answers for the model if none
    /// is named.
    ///
    /// # Errors
    /// As [`Models::model`], and [`ErrorCode::UnknownVersion`].
    pub fn version(&self, name: &str, version: Option<&str>) -> Result<Arc<Version>, InferError> {
        let loaded = self.loaded.load();
        let model = loaded.get(name).ok_or_else(|| self.absent(name))?;
        model
            .version(version)
            .cloned()
            .ok_or_else(|| match version {
                None => InferError::new(
                    ErrorCode::NotReady,
                    format!("the version that answers for \"{name}\" is not loaded"),
                ),
                Some(version) => unknown_version(name, version, model.versions.keys()),
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
                InferError::new(
                    ErrorCode::NotReady,
                    format!("model \"{name}\" cannot answer: {why}"),
                )
            }
        }
    }

    /// All loaded models, by name.
    pub fn all(&self) -> Vec<Arc<Model>> {
        self.loaded.load().values().cloned().collect()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.states.lock().is_empty()
    }

    /// Whether everything that was found answers, if only as it was loaded before.
    pub fn ready(&self) -> bool {
        let states = self.states.lock();
        !states
            .values()
            .any(|state| matches!(state, ModelState::Failed(_)))
    }

    /// As [`Models::index`], without looking for models that came into the folders since. Reads no
    /// file.
    pub fn known(&self) -> Vec<IndexEntry> {
        let mut index = Vec::new();
        let states = self.states.lock().clone();
        let loaded = self.loaded.load();
        for model in loaded.values() {
            for version in model.versions() {
                let (name, number) = (model.name.clone(), version.number());
                let Some(state) = states.get(&name).cloned() else {
                    continue;
                };
                let memory_bytes = Some(version.memory_bytes());
                let is_default = model
                    .answering
                    .as_ref()
                    .is_some_and(|answering| Arc::ptr_eq(answering, version));
                index.push(IndexEntry {
                    memory_bytes,
                    is_default,
                    ..IndexEntry::new(name, number, state)
                });
            }
        }
        for (name, state) in states
            .iter()
            .filter(|(name, _)| !loaded.contains_key(*name))
        {
            index.push(IndexEntry::new(name.clone(), "", state.clone()));
        }
        index.sort_by(|a, b| a.name.cmp(&b.name));
        index
    }

    /// Of what was found in folders, every version that is loaded, and every model that is not,
    /// with where it stands. Looks into the folders.
    pub fn index(&self) -> Vec<IndexEntry> {
        let mut index = self.known();
        for found in self
            .roots
            .iter()
            .filter_map(|root| source::find(root).ok())
            .flatten()
        {
            if !index.iter().any(|entry| entry.name == found.name) {
                let version = found
                    .versions
                    .ok()
                    .and_then(|plans| plans.last().map(|plan| plan.number.to_string()));
                let version = version.unwrap_or_default();
                index.push(IndexEntry::new(found.name, &version, ModelState::Absent));
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

pub(crate) fn unknown_model(name: &str) -> InferError {
    InferError::new(
        ErrorCode::UnknownModel,
        format!("there is no model \"{}\"", printable(name)),
    )
}

pub(crate) fn unknown_version<'a>(
    model: &str,
    wanted: &str,
    there: impl Iterator<Item = &'a u64>,
) -> InferError {
    let there: Vec<String> = there.map(u64::to_string).collect();
    let (model, wanted, there) = (printable(model), printable(wanted), there.join(", "));
    let message = format!("model \"{model}\" has no version \"{wanted}\" loaded, it has {there}");
    InferError::new(ErrorCode::UnknownVersion, message)
}

/// A name from outside, short enough and safe to show.
pub(crate) fn printable(name: &str) -> String {
    name.chars()
        .take(128)
        .flat_map(char::escape_default)
        .collect()
}
