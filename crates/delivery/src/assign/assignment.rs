//! The segments of a whole policy.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::segments::Segments;
use crate::policy::TrafficPolicy;

/// The segments of an endpoint's policy. Persist it with the policy: the next policy's segments
/// depend on these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// What the hash of keys is salted with: the endpoint.
    pub salt: String,
    /// For requests to which no rule applies.
    pub segments: Segments,
    /// For requests that a rule takes, by its name.
    pub rules: BTreeMap<String, Segments>,
}

impl Assignment {
    /// The segments of an endpoint's first policy.
    pub fn new(endpoint: &str, policy: &TrafficPolicy) -> Self {
        let rules = policy.rules().iter();
        Self {
            salt: endpoint.to_owned(),
            segments: Segments::new(policy.split()),
            rules: rules
                .map(|rule| (rule.name.clone(), Segments::new(&rule.split)))
                .collect(),
        }
    }

    /// The segments of the next policy. Rules are recognized by their names.
    #[must_use]
    pub fn change(&self, next: &TrafficPolicy) -> Self {
        let mut rules = BTreeMap::new();
        for rule in next.rules() {
            let segments = match self.rules.get(&rule.name) {
                Some(before) => before.change(&rule.split),
                None => Segments::new(&rule.split),
            };
            rules.insert(rule.name.clone(), segments);
        }
        Self {
            salt: self.salt.clone(),
            segments: self.segments.change(next.split()),
            rules,
        }
    }
}
