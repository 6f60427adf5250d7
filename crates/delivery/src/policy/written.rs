//! A policy as it is written in TOML or JSON.

use serde::{Deserialize, Serialize};

use super::attribute::Attribute;
use super::cascade::Cascade;
use super::condition::{Condition, Test};
use super::experiment::{Experiment, WrittenExperiment};
use super::share::Share;
use super::split::Split;
use super::version_name::VersionName;
use super::{Rule, Shadow, TrafficPolicy};

/// The written form of a [`TrafficPolicy`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenPolicy {
    /// `header:NAME`, `claim:NAME`, `field:NAME`, `tenant` or `principal`: requests with the same value are
    /// answered by the same version. Requests without it are spread by weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Attribute>,
    /// The versions that answer requests to which no rule applies.
    pub versions: Vec<WrittenVersion>,
    /// The first rule that applies decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<WrittenRule>,
    /// Experiments on users: a rule that applies goes before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub experiments: Vec<WrittenExperiment>,
    /// A version that is asked first, and answers where it is confident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cascade: Option<Cascade>,
    /// Versions that get copies of requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<Shadow>,
    /// What answers when the chosen version cannot, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<Fallback>,
}

/// A version and its weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenVersion {
    /// A number or an alias.
    pub version: VersionName,
    /// Its share, e.g. `"0.5%"`. Only a version without others beside it can do without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Share>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenRule {
    /// Its name; unique in the policy.
    pub name: String,
    /// What a request must fulfil, all of it.
    pub when: Vec<WrittenCondition>,
    /// The versions that answer then.
    pub versions: Vec<WrittenVersion>,
}

/// A condition on one attribute, with exactly one test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenCondition {
    /// What is looked at.
    pub attribute: Attribute,
    /// Exactly this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<String>,
    /// One of these texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<String>>,
    /// A text that begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// A number of at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// A number below this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// Whether the request has it at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
}

/// One choice after the first. Exactly one of the keys is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// Another version of the same model, by number or alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionName>,
    /// Another endpoint, with its own policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The last answer to an equal request, if it is not older than this, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_max_age_ms: Option<u64>,
}

impl From<TrafficPolicy> for WrittenPolicy {
    fn from(policy: TrafficPolicy) -> Self {
        Self {
            sticky: policy.sticky,
            versions: written_versions(&policy.split),
            rules: policy.rules.into_iter().map(written_rule).collect(),
            experiments: policy
                .experiments
                .into_iter()
                .map(written_experiment)
                .collect(),
            cascade: policy.cascade,
            shadows: policy.shadows,
            fallbacks: policy.fallbacks,
        }
    }
}

fn written_rule(rule: Rule) -> WrittenRule {
    WrittenRule {
        versions: written_versions(&rule.split),
        name: rule.name,
        when: rule.when.into_iter().map(WrittenCondition::from).collect(),
    }
}

fn written_experiment(experiment: Experiment) -> WrittenExperiment {
    WrittenExperiment {
        arms: written_versions(&experiment.arms),
        name: experiment.name,
        unit: experiment.unit,
        group: experiment.group,
        skip: Some(experiment.skip).filter(|skip| *skip > Share::NONE),
        users: Some(experiment.users),
    }
}

fn written_versions(split: &Split) -> Vec<WrittenVersion> {
    let versions = split.versions().iter();
    versions
        .map(|weighted| WrittenVersion {
            version: weighted.version.clone(),
            weight: Some(weighted.weight),
        })
        .collect()
}

impl WrittenCondition {
    fn on(attribute: Attribute) -> Self {
        Self {
            attribute,
            equals: None,
            one_of: None,
            prefix: None,
            at_least: None,
            below: None,
            present: None,
        }
    }
}

impl From<Condition> for WrittenCondition {
    fn from(condition: Condition) -> Self {
        let mut written = Self::on(condition.attribute);
        match condition.test {
            Test::Equals(text) => written.equals = Some(text),
            Test::OneOf(texts) => written.one_of = Some(texts),
            Test::Prefix(prefix) => written.prefix = Some(prefix),
            Test::AtLeast(number) => written.at_least = Some(number),
            Test::Below(number) => written.below = Some(number),
            Test::Present(present) => written.present = Some(present),
        }
        written
    }
}
