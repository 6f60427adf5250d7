//! What can be wrong with a policy.

use std::fmt;

use thiserror::Error;

use super::version_name::VersionName;

/// A policy that is not valid, with everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Error)]
pub struct InvalidPolicy(pub Vec<PolicyProblem>);

/// One thing that is wrong with a policy. `place` is the policy or a rule.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum PolicyProblem {
    #[error("{place} has no versions")]
    NoVersions { place: String },
    #[error("{place} has {count} {what}, at most are {most}")]
    TooMany {
        place: String,
        what: &'static str,
        count: usize,
        most: usize,
    },
    #[error("{place} has version {version} twice")]
    DuplicateVersion { place: String, version: VersionName },
    #[error("{place}: version {version} has no weight; write \"0%\" if it gets no requests")]
    NoWeight { place: String, version: VersionName },
    #[error("{place}: the weights are {percent}% together, they must be 100%")]
    Sum { place: String, percent: f64 },
    #[error("rule {0} has no name")]
    NoRuleName(usize),
    #[error("there are two rules {0:?}")]
    DuplicateRule(String),
    #[error("{place}: a name or value is longer than {most} bytes")]
    TooLong { place: String, most: usize },
    #[error("{0} has no conditions; the policy's own versions answer what no rule takes")]
    NoConditions(String),
    #[error(
        "{place}: the condition on {attribute} needs exactly one of equals, one_of, prefix, at_least, below and present"
    )]
    Tests { place: String, attribute: String },
    #[error("{place}: one_of of the condition on {attribute} is empty, so nothing fulfils it")]
    NoValues { place: String, attribute: String },
    #[error("{place}: the condition on {attribute} compares with a number that is not finite")]
    NotFinite { place: String, attribute: String },
    #[error("an experiment has no name")]
    NoExperimentName,
    #[error("there are two experiments {0:?}")]
    DuplicateExperiment(String),
    #[error("{0} needs at least two arms: versions that are compared")]
    OneArm(String),
    #[error("{0}: users must be above 0% and, with skip, at most 100%")]
    Users(String),
    #[error("experiments {one:?} and {other:?} of the same group share users")]
    SharedUsers { one: String, other: String },
    #[error("the confidence of the cascade must be above 0 and at most 1")]
    Confidence,
    #[error("the agreement of the cascade must be above 0 and at most 1")]
    Agreement,
    #[error("the agreement of the cascade needs an audit: a share of answers that are checked")]
    NoAudit,
    #[error("there are two shadows of version {0}")]
    DuplicateShadow(VersionName),
    #[error("fallback {0} needs exactly one of version, endpoint and cached_max_age_ms")]
    Fallback(usize),
    #[error("fallback {0}: cached_max_age_ms must be 1 to 2592000000")]
    CachedAge(usize),
}

impl fmt::Display for InvalidPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{problem}")?;
        }
        Ok(())
    }
}
