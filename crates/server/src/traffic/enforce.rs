//! Puts policies in force: at the start at once, later once their versions are loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_delivery::policy::{Share, Split};
use tidegate_serving::{EndpointTraffic, ErrorCode, InferError, RequiredVersions, Version};
use tracing::info;

use super::Traffic;

/// How long a load is waited for before the next policy is looked at. The load itself goes on.
const LOAD_WAIT: Duration = Duration::from_millis(20);

impl Traffic {
    /// Puts every policy in force.
    pub(super) fn enforce_at_once(&self) {
        let wanted: Vec<_> = {
            let mut state = self.state.lock();
            state.waiting.clear();
            state.wanted.values().cloned().collect()
        };
        self.require_versions(&wanted);
        self.table().replace(wanted);
    }

    /// Puts the policies in force whose versions are loaded.
    pub(super) async fn enforce_loaded(&self) {
        let wanted: Vec<_> = self.state.lock().wanted.values().cloned().collect();
        let current = self.table().all();
        if wanted.len() == current.len() && wanted.iter().all(|one| self.is_in_force(one)) {
            self.require_versions(&wanted);
            self.state.lock().waiting.clear();
            return;
        }
        // Those that are in force stay loaded until others take their place.
        self.require_versions(wanted.iter().chain(&current));
        let mut next = Vec::with_capacity(wanted.len());
        let mut waiting = BTreeMap::new();
        for wanted in wanted {
            if self.is_in_force(&wanted) {
                next.push(wanted);
                continue;
            }
            let (endpoint, revision) = (wanted.endpoint().to_owned(), wanted.revision());
            match self.missing_version(&wanted).await {
                None => {
                    info!(endpoint, revision, "traffic policy in force");
                    next.push(wanted);
                }
                Some(why) => {
                    waiting.insert(endpoint.clone(), why);
                    let before = current.iter().find(|one| one.endpoint() == endpoint);
                    next.extend(before.cloned());
                }
            }
        }
        {
            let mut state = self.state.lock();
            if waiting.is_empty() {
                state.asked.clear();
            }
            state.waiting = waiting;
        }
        self.table().replace(next);
    }

    /// Why a version does not answer yet that the policy gives requests to.
    async fn missing_version(&self, traffic: &EndpointTraffic) -> Option<String> {
        for version in answering(traffic) {
            let found = match self.is_asked_for(traffic, version) {
                true => self.serving.version(traffic.endpoint(), Some(version)),
                false => self.ask_for(traffic, version).await,
            };
            match found {
                Ok(_) => {}
                Err(error) if error.code == ErrorCode::DeadlineExceeded => {
                    return Some(format!("version {version} is being loaded"));
                }
                Err(error) => return Some(format!("version {version}: {}", error.message)),
            }
        }
        self.cascade_problem(traffic)
    }

    /// Why the first version of a cascade cannot answer for those of the weights, all of which are loaded.
    fn cascade_problem(&self, traffic: &EndpointTraffic) -> Option<String> {
        let cascade = traffic.cascade()?;
        let problem = self.serving.cascade_problem(traffic, cascade)?;
        let first = &cascade.cascade().first;
        Some(format!("version {first} cannot be asked first: {problem}"))
    }

    /// Whether the load of a version was asked for. Once is enough, and each time counts as a request
    /// that met a cold version.
    fn is_asked_for(&self, traffic: &EndpointTraffic, version: &str) -> bool {
        let asked = (traffic.endpoint().to_owned(), version.to_owned());
        self.state.lock().asked.contains(&asked)
    }

    /// A version, whose load begins if it is not loaded: nobody else would ask for one of a lazy model.
    async fn ask_for(
        &self,
        traffic: &EndpointTraffic,
        version: &str,
    ) -> Result<Arc<Version>, InferError> {
        let endpoint = traffic.endpoint();
        if let Ok(loaded) = self.serving.version(endpoint, Some(version)) {
            return Ok(loaded);
        }
        let until = Instant::now() + LOAD_WAIT;
        let asking = self.serving.demand(endpoint, Some(version), Some(until));
        let found = asking.await;
        let has_begun = match &found {
            Ok(_) => true,
            Err(error) => error.code == ErrorCode::DeadlineExceeded,
        };
        if has_begun {
            let asked = (endpoint.to_owned(), version.to_owned());
            self.state.lock().asked.insert(asked);
        }
        found.map(|(version, _)| version)
    }

    fn require_versions<'a>(&self, policies: impl IntoIterator<Item = &'a Arc<EndpointTraffic>>) {
        let Some(fleet) = self.serving.fleet() else {
            return;
        };
        let mut required = RequiredVersions::new();
        for traffic in policies {
            let versions = required.entry(traffic.endpoint().to_owned()).or_default();
            versions.extend(traffic.versions());
        }
        fleet.require_versions(required);
    }
}

/// The versions that get requests by weight, by a rule or by an experiment.
fn answering(traffic: &EndpointTraffic) -> BTreeSet<&str> {
    let versions = traffic.policy().splits().flat_map(Split::versions);
    let first = traffic.policy().cascade();
    versions
        .filter(|weighted| weighted.weight > Share::NONE)
        .map(|weighted| weighted.version.as_str())
        .chain(first.map(|cascade| cascade.first.as_str()))
        .collect()
}
