//! The Cedar policies that decide besides roles, and the files that they follow.
//!
//! Policies that cannot be used leave those before in force.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::IntCounter;
use tidegate_cedar::{CedarPolicies, PoliciesError, PolicyStats, PolicyText};
use tidegate_gateway::{AuthConfig, Gateway, Policies};
use tidegate_observe::Event;
use tidegate_serving::{
    Exposition, Family, Labels, MetricEntry, MetricRegistry, MetricSource, Sample,
};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::access_control::MIN_REFRESH;
use crate::blocking::run_blocking;
use crate::clock::now_ms;
use crate::component::Component;
use crate::components::ComponentsError;
use crate::events::EventJournal;
use crate::followed_content::FollowedContent;

const POLICIES: Family<'static> = Family::gauge(
    "tidegate_policies",
    "Cedar policies in force; absent if none are configured",
);
const EVALUATED: Family<'static> = Family::counter(
    "tidegate_policy_evaluations_total",
    "Decisions that policies were evaluated for; the others came from the cache",
);
const FAILED: Family<'static> = Family::counter(
    "tidegate_policy_failures_total",
    "Questions that were denied because a policy could not be evaluated",
);

/// The policies of a server; nothing if none are configured.
pub(crate) struct AccessPolicies {
    followed: Option<FollowedPolicies>,
    failed_reloads: IntCounter,
    events: Arc<EventJournal>,
}

struct FollowedPolicies {
    path: PathBuf,
    gateway: Arc<Gateway>,
    every: Duration,
    shared: Arc<Shared>,
    content: Mutex<FollowedContent>,
    /// Why the files are not what is in force.
    problem: Mutex<Option<String>>,
}

/// What the metrics read.
#[derive(Default)]
struct Shared {
    stats: Arc<PolicyStats>,
    count: AtomicUsize,
}

impl AccessPolicies {
    /// Reads the policies that `config` names, and gives them to the gateway.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn new(
        config: &AuthConfig,
        gateway: &Arc<Gateway>,
        events: &Arc<EventJournal>,
        registry: &MetricRegistry,
    ) -> Result<Self, ComponentsError> {
        if config.policies.is_some() && !gateway.requires_policies() {
            return Err(ComponentsError::PoliciesWithoutAuth);
        }
        let every = Duration::from_millis(config.refresh_ms).max(MIN_REFRESH);
        let followed = match &config.policies {
            None => None,
            Some(path) => Some(FollowedPolicies::open(path, gateway, every)?),
        };
        registry.add_source(PolicyMetrics {
            shared: followed.as_ref().map(|followed| followed.shared.clone()),
        });
        Ok(Self {
            followed,
            failed_reloads: registry.counter(
                "tidegate_policy_reload_failures_total",
                "New content of the files of policies that could not be used",
            ),
            events: events.clone(),
        })
    }

    /// Looks once, and gives the event of a change.
    fn check(&self) -> Option<Event> {
        let followed = self.followed.as_ref()?;
        let taken = followed.check()?;
        Some(match taken {
            Ok(count) => {
                info!(policies = count, "new access policies are in force");
                Event::new("policies.changed", now_ms()).with("policies", count)
            }
            Err(problem) => {
                self.failed_reloads.inc();
                warn!(%problem, "new access policies cannot be used; the ones before stay in force");
                Event::new("policies.refused", now_ms()).with("problem", problem)
            }
        })
    }
}

impl FollowedPolicies {
    fn open(path: &Path, gateway: &Arc<Gateway>, every: Duration) -> Result<Self, PoliciesError> {
        let text = PolicyText::read(path)?;
        let followed = Self {
            path: path.to_owned(),
            gateway: gateway.clone(),
            every,
            shared: Arc::default(),
            content: Mutex::new(FollowedContent::of(text.digest())),
            problem: Mutex::default(),
        };
        followed.take(&text)?;
        Ok(followed)
    }

    /// How many policies were taken, or why none; `None` if nothing is new.
    fn check(&self) -> Option<Result<usize, String>> {
        let text = PolicyText::read(&self.path);
        let finding = text.as_ref().map(PolicyText::digest);
        let finding = finding.map_err(ToString::to_string);
        if !self.content.lock().is_new(finding) {
            return None;
        }
        let taken = text.and_then(|text| self.take(&text));
        let taken = taken.map_err(|error| error.to_string());
        *self.problem.lock() = taken.as_ref().err().cloned();
        Some(taken)
    }

    fn take(&self, text: &PolicyText) -> Result<usize, PoliciesError> {
        let policies = CedarPolicies::parse(text)?.counting(self.shared.stats.clone());
        policies.check_claims(|claim| self.gateway.keeps_claim(claim))?;
        for warning in policies.warnings() {
            warn!(%warning, "an access policy may not mean what it says");
        }
        let count = policies.len();
        self.shared.count.store(count, Ordering::Relaxed);
        self.gateway.set_policies(Policies::new(policies));
        Ok(count)
    }
}

async fn follow(policies: Arc<AccessPolicies>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let checking = policies.clone();
        match run_blocking(move || checking.check()).await {
            Ok(None) => {}
            Ok(Some(event)) => policies.events.record(event).await,
            Err(error) => warn!(%error, "the files of access policies cannot be checked"),
        }
    }
}

impl Component for AccessPolicies {
    fn name(&self) -> &'static str {
        "access policies"
    }

    fn start(self: Arc<Self>, background: &mut JoinSet<()>) {
        if let Some(followed) = &self.followed {
            let every = followed.every;
            background.spawn(follow(self, every));
        }
    }

    fn problems(&self) -> Vec<String> {
        let problem = self.followed.iter().find_map(|followed| {
            let problem = followed.problem.lock();
            problem.as_ref().map(|problem| {
                format!("new access policies cannot be used, and the ones before stay in force: {problem}")
            })
        });
        problem.into_iter().collect()
    }
}

struct PolicyMetrics {
    shared: Option<Arc<Shared>>,
}

impl MetricSource for PolicyMetrics {
    fn entries(&self) -> Vec<MetricEntry> {
        [POLICIES, EVALUATED, FAILED]
            .map(|family| MetricEntry::new(family, &[]))
            .into()
    }

    fn expose(&self, out: &mut dyn Exposition) {
        let Some(shared) = &self.shared else {
            return;
        };
        let values = [
            (POLICIES, shared.count.load(Ordering::Relaxed) as u64),
            (EVALUATED, shared.stats.evaluated()),
            (FAILED, shared.stats.failed()),
        ];
        for (family, value) in values {
            out.family(family);
            out.sample(Sample::plain(&Labels::default(), value as f64));
        }
    }
}
