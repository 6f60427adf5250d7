//! What answers requests: the gateway, the models and their metrics.

use std::sync::{Arc, OnceLock};

use tidegate_gateway::{CachePolicy, Gateway};

use crate::endpoints::Chain;
use crate::sequences::SequenceTable;
use crate::version_finder::VersionFinder;
use crate::{
    AnswerCache, Capture, ConfiguredName, ErrorCode, Fallbacks, Fleet, IndexEntry, ModelState,
    Models, RequestMetrics, Target, TrafficTable, Version,
};

/// Everything that answers requests; shared by all front ends.
pub struct Serving {
    gateway: Arc<Gateway>,
    finder: VersionFinder,
    metrics: Arc<RequestMetrics>,
    /// `None` where nothing is cached, whatever versions ask for.
    cache: Option<Arc<AnswerCache>>,
    /// `None` if no endpoint is captured.
    pub(crate) capture: Option<Arc<Capture>>,
    /// `None` if no endpoint has fallbacks.
    fallbacks: Option<Arc<Fallbacks>>,
    /// What versions with states remember.
    sequences: Arc<SequenceTable>,
    /// Which versions answer requests that name none.
    traffic: TrafficTable,
    /// The models that the configuration names; empty until those of the start are loaded.
    configured: OnceLock<Vec<ConfiguredName>>,
}

impl Serving {
    /// Serves what `models` has loaded.
    pub fn new(models: impl Into<Arc<Models>>) -> Self {
        let models = models.into();
        Self {
            gateway: Arc::new(Gateway::open()),
            metrics: models.request_metrics().clone(),
            sequences: Arc::new(SequenceTable::new(models.clone())),
            traffic: TrafficTable::new(
                models.load_metrics().shadow_requests().clone(),
                models.load_metrics().cascades().clone(),
            ),
            finder: VersionFinder {
                models,
                fleet: None,
            },
            cache: None,
            capture: None,
            fallbacks: None,
            configured: OnceLock::new(),
        }
    }

    /// Serves what the fleet loads, too; it must load into the same models.
    #[must_use]
    pub fn with_fleet(self, fleet: Arc<Fleet>) -> Self {
        let finder = VersionFinder {
            fleet: Some(fleet),
            ..self.finder
        };
        Self { finder, ..self }
    }

    /// Asks this gateway who may do what; without it everybody may do everything.
    #[must_use]
    pub fn with_gateway(self, gateway: Arc<Gateway>) -> Self {
        Self { gateway, ..self }
    }

    /// Keeps answers in this cache.
    #[must_use]
    pub fn with_cache(self, cache: Arc<AnswerCache>) -> Self {
        Self {
            cache: Some(cache),
            ..self
        }
    }

    /// Captures predictions of these endpoints.
    #[must_use]
    pub fn with_capture(self, capture: Arc<Capture>) -> Self {
        Self {
            capture: Some(capture),
            ..self
        }
    }

    /// Lets these answer where an endpoint's own version cannot.
    #[must_use]
    pub fn with_fallbacks(self, fallbacks: Fallbacks) -> Self {
        Self {
            fallbacks: Some(Arc::new(fallbacks)),
            ..self
        }
    }

    /// Checks that all fallbacks can answer for their endpoints, as far as they are loaded. From now on,
    /// a model of a folder whose signature makes a fallback impossible is not loaded.
    ///
    /// # Errors
    /// Each fallback that cannot, and why.
    pub fn check_fallbacks(&self) -> Result<(), Vec<String>> {
        let Some(fallbacks) = &self.fallbacks else {
            return Ok(());
        };
        let problems = fallbacks.problems(&self.finder.models);
        self.finder.models.check_loads_with(fallbacks);
        match problems.is_empty() {
            true => Ok(()),
            false => Err(problems),
        }
    }

    /// Reports from now on which of these models do not exist, among the [problems](Self::problems).
    /// Those that do not exist now. To be called once the models of the start are loaded.
    pub fn watch_configured_names(&self, names: Vec<ConfiguredName>) -> Vec<String> {
        // A second call has nothing else to say: a configuration is read once.
        let _ = self.configured.set(names);
        self.unknown_names()
    }

    fn unknown_names(&self) -> Vec<String> {
        let names = self.configured.get().into_iter().flatten();
        let unknown = names.filter(|name| !self.exists(name));
        unknown.map(ConfiguredName::problem).collect()
    }

    /// Whether there is such a model, or version of it. A version of a model that does not exist is not
    /// told besides: the name of the model is.
    fn exists(&self, name: &ConfiguredName) -> bool {
        let Some(version) = &name.version else {
            return self.check_endpoint(&name.model).is_ok();
        };
        let answer = self.would_answer(&name.model, Some(version));
        answer
            .err()
            .is_none_or(|error| error.code != ErrorCode::UnknownVersion)
    }

    /// What answers a request if its endpoint's own version cannot; `None` for an endpoint without
    /// fallbacks, and for a request that asks for a version.
    pub(crate) fn fallbacks_of(&self, target: &Target) -> Option<(&Fallbacks, &Chain)> {
        let fallbacks = self.fallbacks.as_ref()?;
        let chain = fallbacks.chain(&target.endpoint)?;
        target.version.is_none().then_some((&**fallbacks, chain))
    }

    /// What versions with states remember.
    pub(crate) fn sequences(&self) -> &Arc<SequenceTable> {
        &self.sequences
    }

    /// The endpoints that are captured, if there are any.
    pub fn capture(&self) -> Option<&Arc<Capture>> {
        self.capture.as_ref()
    }

    /// The traffic policies.
    pub fn traffic(&self) -> &TrafficTable {
        &self.traffic
    }

    /// The cache; `None` where nothing is cached.
    pub fn cache(&self) -> Option<&Arc<AnswerCache>> {
        self.cache.as_ref()
    }

    /// The cache, and how it keeps the answers of an endpoint; `None` if it does not. The
    /// configuration of the endpoint goes before what the version asks for. A version that is random
    /// on purpose gives another answer each time.
    pub(crate) fn cache_policy(
        &self,
        endpoint: &str,
        version: &Version,
    ) -> Option<(&Arc<AnswerCache>, CachePolicy)> {
        let cache = self.cache.as_ref()?;
        let asked = || {
            cache
                .asked_policy()
                .filter(|_| version.plan().asks_for_cache())
        };
        let mut policy = cache.policy(endpoint).or_else(asked)?;
        if let Some(fallbacks) = &self.fallbacks {
            let chain = fallbacks.chain(endpoint);
            policy.keep_last = chain.and_then(Chain::cached_max_age);
        }
        version.is_deterministic().then_some((cache, policy))
    }

    /// Who may do what.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Finds the versions that answer.
    pub(crate) fn finder(&self) -> &VersionFinder {
        &self.finder
    }

    /// The models.
    pub fn models(&self) -> &Models {
        &self.finder.models
    }

    /// The models of the registry, if it is followed.
    pub fn fleet(&self) -> Option<&Arc<Fleet>> {
        self.finder.fleet.as_ref()
    }

    /// Every version that is loaded or could be, with its state; and models that have none.
    /// Reads folders.
    pub fn index(&self) -> Vec<IndexEntry> {
        self.merge_fleet_entries(self.finder.models.index())
    }

    /// As [`Serving::index`], without looking for models that came into the folders since. Reads no
    /// file.
    pub fn known(&self) -> Vec<IndexEntry> {
        self.merge_fleet_entries(self.finder.models.known())
    }

    fn merge_fleet_entries(&self, mut index: Vec<IndexEntry>) -> Vec<IndexEntry> {
        index.extend(self.finder.fleet.iter().flat_map(|fleet| fleet.index()));
        index.sort_by(|one, two| one.name.cmp(&two.name));
        index
    }

    /// Whether traffic should be sent here: every model that is served by name or pinned answers, and
    /// not everything was taken out of service.
    pub fn is_ready(&self) -> bool {
        let has_something = match &self.finder.fleet {
            None => self.finder.models.has_loaded(),
            Some(fleet) => {
                let has_unloaded = fleet.has_unloaded() || self.finder.models.has_unloaded();
                // What is not loaded yet is loaded by its first request.
                self.finder.models.has_loaded() || fleet.can_load() || !has_unloaded
            }
        };
        has_something
            && self.broken_graphs(true).is_empty()
            && self.finder.models.named_are_ready()
            && self
                .finder
                .fleet
                .as_ref()
                .is_none_or(|fleet| fleet.is_ready())
    }

    /// Problems that do not keep traffic away from this server.
    pub fn problems(&self) -> Vec<String> {
        let of_folders = self.finder.models.known().into_iter().filter_map(problem);
        let of_fleet = self.finder.fleet.iter().flat_map(|fleet| fleet.problems());
        let mut problems: Vec<String> = of_fleet.chain(of_folders).collect();
        // Each version of a model whose reload failed says the same.
        problems.dedup();
        problems.extend(self.finder.models.broken_contracts());
        let fallbacks = self.fallbacks.iter();
        problems.extend(fallbacks.flat_map(|fallbacks| fallbacks.problems(&self.finder.models)));
        problems.extend(self.unknown_names());
        problems.extend(self.broken_graphs(false));
        problems
    }

    /// Why graphs do not answer: one of their nodes does not, or does not fit any more.
    fn broken_graphs(&self, named_only: bool) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, number) in self.finder.models.graphs(named_only) {
            if let Err(error) = self.would_answer(&name, Some(&number)) {
                problems.push(format!(
                    "graph {name}:{number} cannot answer: {}",
                    error.message
                ));
            }
        }
        problems
    }

    /// The metrics of requests.
    pub fn metrics(&self) -> &Arc<RequestMetrics> {
        &self.metrics
    }
}

/// Why a model of a folder does not answer.
fn problem(entry: IndexEntry) -> Option<String> {
    let name = entry.name;
    match entry.state {
        ModelState::Failed(reason) => Some(format!("{name} is not served: {reason}")),
        ModelState::Stale(reason) => Some(format!("{name} still serves the old file: {reason}")),
        _ => None,
    }
}
