//! The traffic policy of an endpoint: which versions answer which requests.
//!
//! A policy is valid as a whole or does not exist: reading one checks it, and reports everything that
//! is wrong with it at once.
//!
//! ```
//! use tidegate_delivery::policy::TrafficPolicy;
//!
//! let policy: TrafficPolicy = toml::from_str(
//!     r#"
//!     sticky = "claim:sub"
//!
//!     [[versions]]
//!     version = 7
//!     weight = "99.5%"
//!
//!     [[versions]]
//!     version = 8
//!     weight = "0.5%"
//!
//!     [[rules]]
//!     name = "beta testers"
//!     when = [{ attribute = "header:x-beta", equals = "1" }]
//!     versions = [{ version = 8 }]
//!
//!     [[shadows]]
//!     version = 9
//!     share = "10%"
//!
//!     [[fallbacks]]
//!     version = 6
//!     "#,
//! )?;
//! assert_eq!(policy.rules()[0].name, "beta testers");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attribute;
mod cascade;
mod check;
mod condition;
mod diff;
mod experiment;
mod problem;
mod share;
mod split;
mod version_name;
mod written;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use attribute::{Attribute, InvalidAttribute};
pub use cascade::Cascade;
pub use condition::{Condition, Test};
pub use diff::diff;
pub use experiment::{Experiment, WrittenExperiment};
pub use problem::{InvalidPolicy, PolicyProblem};
pub use share::{InvalidShare, PARTS, Share};
pub use split::{Split, WeightedVersion};
pub use version_name::{InvalidVersionName, VersionName};
pub use written::{Fallback, WrittenCondition, WrittenPolicy, WrittenRule, WrittenVersion};

/// Versions of one split, at most.
pub const MAX_VERSIONS: usize = 32;
/// Rules of one policy, at most.
pub const MAX_RULES: usize = 64;
/// Conditions of one rule, at most.
pub const MAX_CONDITIONS: usize = 16;
/// Values of one condition, at most.
pub const MAX_VALUES: usize = 256;
/// Shadows of one policy, at most.
pub const MAX_SHADOWS: usize = 8;
/// Experiments of one policy, at most.
pub const MAX_EXPERIMENTS: usize = 16;
/// Fallbacks of one policy, at most.
pub const MAX_FALLBACKS: usize = 8;
/// The longest name or value in a policy, in bytes.
pub const MAX_TEXT: usize = 256;

/// The traffic policy of one endpoint. Valid once it exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "WrittenPolicy", into = "WrittenPolicy")]
pub struct TrafficPolicy {
    split: Split,
    sticky: Option<Attribute>,
    rules: Vec<Rule>,
    experiments: Vec<Experiment>,
    cascade: Option<Cascade>,
    shadows: Vec<Shadow>,
    fallbacks: Vec<Fallback>,
}

/// Requests that fulfil all conditions are split by the rule's own weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name in answers, logs and differences; unique in the policy.
    pub name: String,
    /// What a request must fulfil, all of it.
    pub when: Vec<Condition>,
    /// The versions that answer then.
    pub split: Split,
}

/// A version that gets copies of requests, and whose answers nobody sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// The version that gets the copies.
    pub version: VersionName,
    /// The share of requests that are copied.
    pub share: Share,
}

impl TrafficPolicy {
    /// The policy in which one version answers everything.
    pub fn only(version: VersionName) -> Self {
        Self {
            split: Split::only(version),
            sticky: None,
            rules: Vec::new(),
            experiments: Vec::new(),
            cascade: None,
            shadows: Vec::new(),
            fallbacks: Vec::new(),
        }
    }

    /// The versions that answer requests to which no rule applies.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// What of a request decides which version it gets, so that equal requests get the same one.
    pub fn sticky(&self) -> Option<&Attribute> {
        self.sticky.as_ref()
    }

    /// The rules, of which the first that applies is used.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The experiments that users take part in, to whose requests no rule applies.
    pub fn experiments(&self) -> &[Experiment] {
        &self.experiments
    }

    /// The version that is asked before those of the weights.
    pub fn cascade(&self) -> Option<&Cascade> {
        self.cascade.as_ref()
    }

    /// The versions that get copies of requests.
    pub fn shadows(&self) -> &[Shadow] {
        &self.shadows
    }

    /// What answers when the chosen version cannot, in this order.
    pub fn fallbacks(&self) -> &[Fallback] {
        &self.fallbacks
    }

    /// The versions that may answer requests: those of the weights, the rules, the experiments and the
    /// cascade, each once.
    pub fn answering(&self) -> BTreeSet<&VersionName> {
        let versions = self.splits().flat_map(Split::versions);
        let versions = versions.map(|weighted| &weighted.version);
        let first = self.cascade.iter().map(|cascade| &cascade.first);
        versions.chain(first).collect()
    }

    /// The weights of the policy, of its rules and of its experiments.
    pub fn splits(&self) -> impl Iterator<Item = &Split> {
        let rules = self.rules.iter().map(|rule| &rule.split);
        let experiments = self.experiments.iter().map(|experiment| &experiment.arms);
        std::iter::once(&self.split).chain(rules).chain(experiments)
    }

    /// What of requests it looks at, each once.
    pub fn attributes(&self) -> Vec<&Attribute> {
        let conditions = self.rules.iter().flat_map(|rule| &rule.when);
        let looked_at = conditions.map(|condition| &condition.attribute);
        let mut attributes = Vec::new();
        let units = self.experiments.iter().map(|experiment| &experiment.unit);
        for attribute in looked_at.chain(&self.sticky).chain(units) {
            if !attributes.contains(&attribute) {
                attributes.push(attribute);
            }
        }
        attributes
    }

    /// The same policy with other weights for the requests to which no rule applies: what a step of
    /// a rollout does.
    #[must_use]
    pub fn with_split(&self, split: Split) -> Self {
        let mut changed = self.clone();
        changed.split = split;
        changed
    }

    /// The same policy with other experiments.
    ///
    /// # Errors
    /// If there are too many of them, or two that share users or a name.
    pub fn with_experiments(
        &self,
        experiments: Vec<WrittenExperiment>,
    ) -> Result<Self, InvalidPolicy> {
        let mut written = WrittenPolicy::from(self.clone());
        written.experiments = experiments;
        Self::try_from(written)
    }

    /// The same policy with other shadows.
    ///
    /// # Errors
    /// If there are too many of them, or two of one version.
    pub fn with_shadows(&self, shadows: Vec<Shadow>) -> Result<Self, InvalidPolicy> {
        let mut written = WrittenPolicy::from(self.clone());
        written.shadows = shadows;
        Self::try_from(written)
    }
}

#[cfg(test)]
mod tests;
