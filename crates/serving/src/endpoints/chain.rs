//! What answers in place of an endpoint's own version, in which order.
//!
//! ```text
//! request ─► first choice: the endpoint's own version ─ fails, through no fault of the client ─┐
//!                                                                                             ▼
//!            answer ◄──────────── the next choice that can answer ◄──── version, endpoint, cached, constant
//! ```
//!
//! Invariant: whatever answers, the answer has the signature of the first choice, as that was last
//! loaded. A choice with another signature is passed over, and so is every choice while nobody knows
//! that signature: the first choice was not loaded since the start.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use prometheus::IntCounterVec;
use tidegate_core::Signature;

use super::compatible::difference;
use super::config::{EndpointConfig, EndpointError, FallbackConfig};
use super::constant::Constant;
use crate::{AnswerCache, ErrorCode, MetricRegistry, Model, Models, Target, Version};

/// The chains of all endpoints that have one.
pub struct Fallbacks {
    chains: HashMap<String, Chain>,
    metrics: FallbackMetrics,
}

/// What choices after the first have answered, and what they could not.
#[derive(Clone)]
pub(crate) struct FallbackMetrics {
    answers: IntCounterVec,
    failures: IntCounterVec,
}

/// The choices of one endpoint after its own version.
pub(crate) struct Chain {
    pub(crate) endpoint: String,
    attempt_timeout: Option<Duration>,
    pub(crate) choices: Vec<(Arc<str>, Choice)>,
    first: ArcSwapOption<FirstSignature>,
}

/// One choice after the first.
pub(crate) enum Choice {
    /// A version of this endpoint or of another one.
    Version(Target),
    /// The last answer to an equal request.
    Cached { max_age: Duration },
    /// An answer of the configuration.
    Constant(Constant),
}

/// The signature of the first choice, and the load that it is of.
struct FirstSignature {
    load_id: u64,
    signature: Arc<Signature>,
}

impl Fallbacks {
    /// The chains of a configuration, over these models; `None` if there are none.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(
        endpoints: &[EndpointConfig],
        cache: &AnswerCache,
        models: &Models,
    ) -> Result<Option<Self>, EndpointError> {
        let mut chains = HashMap::new();
        for endpoint in endpoints {
            endpoint.check_fallbacks()?;
            if endpoint.fallback.is_empty() {
                continue;
            }
            let chain = Chain::new(endpoint);
            let is_cached = cache.policy(&endpoint.name).is_some();
            if chain.cached_max_age().is_some() && !is_cached {
                return Err(EndpointError::NotCached(endpoint.name.clone()));
            }
            chains.insert(endpoint.name.clone(), chain);
        }
        let fallbacks = Self {
            chains,
            metrics: models.load_metrics().fallbacks().clone(),
        };
        Ok((!fallbacks.chains.is_empty()).then_some(fallbacks))
    }

    /// Whether an endpoint of a configuration falls back to last answers.
    pub fn use_last_answers(endpoints: &[EndpointConfig]) -> bool {
        let mut fallbacks = endpoints.iter().flat_map(|endpoint| &endpoint.fallback);
        fallbacks.any(|fallback| fallback.cached_max_age_ms.is_some())
    }

    /// The chain of an endpoint.
    pub(crate) fn chain(&self, endpoint: &str) -> Option<&Chain> {
        self.chains.get(endpoint)
    }

    /// What is wrong with the chains, as far as it shows in what is loaded.
    pub(crate) fn problems(&self, models: &Models) -> Vec<String> {
        let mut problems: Vec<String> = self
            .chains
            .values()
            .filter_map(|chain| chain.problem(models, None))
            .collect();
        problems.sort();
        problems
    }

    /// Checks the chains with a model that is about to replace its loaded versions.
    ///
    /// # Errors
    /// Which signatures differ.
    pub(crate) fn check(&self, models: &Models, new: &Model) -> Result<(), String> {
        let mut chains = self.chains.values().filter(|chain| chain.names(new.name()));
        match chains.find_map(|chain| chain.problem(models, Some(new))) {
            Some(problem) => Err(problem),
            None => Ok(()),
        }
    }

    /// Counts an answer of a choice after the first.
    pub(crate) fn count_answer(&self, endpoint: &str, choice: &str, reason: ErrorCode) {
        let labels = [endpoint, choice, reason.name()];
        self.metrics.answers.with_label_values(&labels).inc();
    }

    /// Counts a choice after the first that could not answer.
    pub(crate) fn count_failure(&self, endpoint: &str, choice: &str, reason: &str) {
        let labels = [endpoint, choice, reason];
        self.metrics.failures.with_label_values(&labels).inc();
    }
}

impl Chain {
    /// Whether a model answers for the endpoint, as the first choice or as another one.
    fn names(&self, model: &str) -> bool {
        let mut choices = self.choices.iter();
        self.endpoint == model
            || choices.any(
                |(_, choice)| matches!(choice, Choice::Version(target) if target.endpoint == model),
            )
    }
}

impl FallbackMetrics {
    pub(crate) fn new(registry: &MetricRegistry) -> Self {
        Self {
            answers: registry.counter_vec(
                "tidegate_fallbacks_total",
                "Answers that did not come from an endpoint's own version, by the choice that gave \
                 them and by why that version did not",
                &["endpoint", "fallback", "reason"],
            ),
            failures: registry.counter_vec(
                "tidegate_fallback_failures_total",
                "Choices after the first that could not answer either, by the reason",
                &["endpoint", "fallback", "reason"],
            ),
        }
    }
}

impl FirstSignature {
    /// Under a traffic policy, versions take turns; most have the same signature.
    fn is_outdated(&self, version: &Version) -> bool {
        self.load_id != version.load_id() && *self.signature != *version.signature()
    }
}

impl Chain {
    fn new(config: &EndpointConfig) -> Self {
        let timeout = Duration::from_millis(config.attempt_timeout_ms);
        Self {
            endpoint: config.name.clone(),
            attempt_timeout: (!timeout.is_zero()).then_some(timeout),
            choices: config
                .fallback
                .iter()
                .map(|fallback| choice(&config.name, fallback))
                .collect(),
            first: ArcSwapOption::empty(),
        }
    }

    /// Until when a choice may answer that begins now.
    pub(crate) fn attempt_deadline(&self) -> Option<Instant> {
        Some(Instant::now() + self.attempt_timeout?)
    }

    /// The oldest answer that it falls back to, if it does.
    pub(crate) fn cached_max_age(&self) -> Option<Duration> {
        let ages = self.choices.iter().filter_map(|(_, choice)| match choice {
            Choice::Cached { max_age } => Some(*max_age),
            _ => None,
        });
        ages.max()
    }

    /// Remembers the signature of the first choice.
    pub(crate) fn set_first(&self, version: &Version) {
        let load_id = version.load_id();
        let known = self.first.load();
        if known
            .as_ref()
            .is_none_or(|known| known.is_outdated(version))
        {
            self.first.store(Some(Arc::new(FirstSignature {
                load_id,
                signature: Arc::new(version.signature().clone()),
            })));
        }
    }

    /// The signature of the first choice, once that was loaded.
    pub(crate) fn signature(&self) -> Option<Arc<Signature>> {
        let first = self.first.load();
        first.as_ref().map(|first| first.signature.clone())
    }

    /// Why a choice does not fit the first one, with what is loaded, or with a model that will be.
    fn problem(&self, models: &Models, new: Option<&Model>) -> Option<String> {
        let own = Target {
            endpoint: self.endpoint.clone(),
            version: None,
        };
        let first = loaded(models, new, &own)?;
        if new.is_none() {
            self.set_first(&first);
        }
        self.choices.iter().find_map(|(name, choice)| {
            let problem = match choice {
                Choice::Version(target) => {
                    let other = loaded(models, new, target)?;
                    difference(first.signature(), other.signature())
                }
                Choice::Constant(constant) => constant.outputs(first.signature(), 1).err(),
                Choice::Cached { .. } => None,
            };
            let endpoint = &self.endpoint;
            let own = first.number();
            Some(format!(
                "endpoints \"{endpoint}\": the fallback {name} cannot answer for {endpoint}:{own}: {}",
                problem?
            ))
        })
    }
}

fn choice(endpoint: &str, config: &FallbackConfig) -> (Arc<str>, Choice) {
    if let Some(version) = &config.version {
        let target = Target {
            endpoint: endpoint.to_owned(),
            version: Some(version.clone()),
        };
        return (format!("version:{version}").into(), Choice::Version(target));
    }
    if let Some(other) = &config.endpoint {
        let target = Target {
            endpoint: other.clone(),
            version: None,
        };
        return (format!("endpoint:{other}").into(), Choice::Version(target));
    }
    match config.cached_max_age_ms {
        Some(max_age_ms) => {
            let max_age = Duration::from_millis(max_age_ms);
            ("cached".into(), Choice::Cached { max_age })
        }
        None => {
            let values = config.constant.clone().unwrap_or_default();
            ("constant".into(), Choice::Constant(Constant::new(values)))
        }
    }
}

/// The version of a target, in a model that is about to be published, or among those that are.
fn loaded(models: &Models, new: Option<&Model>, target: &Target) -> Option<Arc<Version>> {
    let version = target.version.as_deref();
    match new.filter(|new| new.name() == target.endpoint) {
        Some(new) => new.resolve(version).cloned(),
        None => models.version(&target.endpoint, version).ok(),
    }
}
