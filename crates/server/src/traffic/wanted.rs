//! From the configuration and the database to the policies that should be in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_delivery::assign::Assignment;
use tidegate_delivery::policy::TrafficPolicy;
use tidegate_serving::EndpointTraffic;
use tidegate_store::TrafficChange;
use tracing::warn;

use super::Traffic;

impl Traffic {
    /// Works out what should be in force. What did not change stays the same value.
    pub(super) fn want(&self) {
        let stored = self.state.lock().stored.clone();
        let mut wanted = BTreeMap::new();
        let mut unusable = BTreeMap::new();
        for (endpoint, policy) in &self.configured {
            let is_overridden = stored
                .get(endpoint)
                .is_some_and(|change| !change.policy.is_empty());
            if !is_overridden {
                self.want_configured(endpoint, policy, &mut wanted, &mut unusable);
            }
        }
        for change in stored.values().filter(|change| !change.policy.is_empty()) {
            match self.stored_traffic(change) {
                Ok(traffic) => drop(wanted.insert(change.endpoint.clone(), traffic)),
                Err(problem) => {
                    let endpoint = change.endpoint.as_str();
                    warn!(endpoint, problem, "a traffic policy cannot be used");
                    unusable.insert(endpoint.to_owned(), problem);
                }
            }
        }
        let mut state = self.state.lock();
        state.wanted = wanted;
        state.unusable = unusable;
    }

    fn want_configured(
        &self,
        endpoint: &str,
        policy: &TrafficPolicy,
        wanted: &mut BTreeMap<String, Arc<EndpointTraffic>>,
        unusable: &mut BTreeMap<String, String>,
    ) {
        if let Some(same) = self.wanted_before(endpoint, 0) {
            wanted.insert(endpoint.to_owned(), same);
            return;
        }
        let assignment = Assignment::new(endpoint, policy);
        match EndpointTraffic::new(endpoint, 0, policy.clone(), &assignment, self.replica) {
            Ok(traffic) => drop(wanted.insert(endpoint.to_owned(), traffic)),
            Err(error) => drop(unusable.insert(endpoint.to_owned(), error.to_string())),
        }
    }

    fn stored_traffic(&self, change: &TrafficChange) -> Result<Arc<EndpointTraffic>, String> {
        if let Some(same) = self.wanted_before(&change.endpoint, change.revision) {
            return Ok(same);
        }
        let policy = stored_policy(change)?;
        // Another server may have other issuers of tokens.
        EndpointTraffic::check(&policy, self.serving.gateway())
            .map_err(|error| error.to_string())?;
        let assignment = stored_assignment(change)?;
        let (endpoint, revision) = (change.endpoint.as_str(), change.revision);
        let traffic = EndpointTraffic::new(endpoint, revision, policy, &assignment, self.replica)
            .map_err(|error| error.to_string())?;
        let before = self.state.lock().wanted.get(endpoint).cloned();
        Ok(traffic.continuing(before.as_deref()))
    }

    fn wanted_before(&self, endpoint: &str, revision: i64) -> Option<Arc<EndpointTraffic>> {
        let state = self.state.lock();
        let before = state.wanted.get(endpoint)?;
        (before.revision() == revision).then(|| before.clone())
    }

    /// The policy of an endpoint after a change of the database: that of the configuration where there
    /// is none.
    pub(super) fn policy_after(
        &self,
        endpoint: &str,
        change: Option<&TrafficChange>,
    ) -> Option<TrafficPolicy> {
        let stored = change.filter(|change| !change.policy.is_empty());
        match stored {
            Some(change) => stored_policy(change).ok(),
            None => self.configured.get(endpoint).cloned(),
        }
    }
}

/// The policy that a change has set.
pub(super) fn stored_policy(change: &TrafficChange) -> Result<TrafficPolicy, String> {
    serde_json::from_str(&change.policy).map_err(|error| format!("it cannot be read: {error}"))
}

/// The keys of versions that a change has set.
pub(super) fn stored_assignment(change: &TrafficChange) -> Result<Assignment, String> {
    serde_json::from_str(&change.assignment)
        .map_err(|error| format!("its keys cannot be read: {error}"))
}
