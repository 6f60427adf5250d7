//! Cascades: a cheap version is asked first, and answers where it is confident.

use serde::{Deserialize, Serialize};

use super::MAX_TEXT;
use super::problem::PolicyProblem;
use super::share::Share;
use super::version_name::VersionName;

/// A version that is asked before those of the weights. Where it is not confident enough, or cannot
/// answer, the weights decide as without a cascade.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cascade {
    /// The version that is asked first.
    pub first: VersionName,
    /// Its output with the probabilities: of each class, or of the one class that there is.
    pub output: String,
    /// It answers if the largest probability of every row is at least this.
    pub confidence: f64,
    /// The share of its answers that a version of the weights checks, in the background.
    #[serde(default)]
    pub audit: Share,
    /// The share of the checked answers that must name the same class. Once it is clear that fewer do,
    /// the weights decide everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
}

impl Cascade {
    /// Reports everything that is wrong with it.
    pub(super) fn check(&self, problems: &mut Vec<PolicyProblem>) {
        let is_share = |value: f64| value > 0.0 && value <= 1.0;
        if !is_share(self.confidence) {
            problems.push(PolicyProblem::Confidence);
        }
        if self.agreement.is_some_and(|agreement| !is_share(agreement)) {
            problems.push(PolicyProblem::Agreement);
        }
        if self.agreement.is_some() && self.audit == Share::NONE {
            problems.push(PolicyProblem::NoAudit);
        }
        if self.output.is_empty() || self.output.len() > MAX_TEXT {
            let place = "cascade".to_owned();
            problems.push(PolicyProblem::TooLong {
                place,
                most: MAX_TEXT,
            });
        }
    }
}

impl std::fmt::Display for Cascade {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            first,
            output,
            confidence,
            audit,
            ..
        } = self;
        write!(
            formatter,
            "version {first} first, if {output} is at least {confidence}; {audit} are checked"
        )
    }
}
