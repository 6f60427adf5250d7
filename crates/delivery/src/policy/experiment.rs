//! Experiments of a policy: which users take part, and which version each of them gets.

use serde::{Deserialize, Serialize};

use super::attribute::Attribute;
use super::problem::PolicyProblem;
use super::share::{PARTS, Share};
use super::split::Split;
use super::{MAX_EXPERIMENTS, MAX_TEXT, WrittenVersion};

/// Users who take part get the version of their arm, whatever the weights of the policy are. A rule that
/// applies goes before.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// Its name, unique in the server: the arms of users are drawn with it, so that they depend neither
    /// on other experiments nor on rollouts.
    pub name: String,
    /// What of a request says whose it is. Requests without it take no part.
    pub unit: Attribute,
    /// Experiments with the same group exclude each other: a user takes part in one of them at most.
    /// By default an experiment is a group of its own.
    pub group: Option<String>,
    /// The share of all users that other experiments of the group have taken before this one.
    pub skip: Share,
    /// The share of all users that takes part.
    pub users: Share,
    /// The versions, and their shares of the users that take part. The first is the control.
    pub arms: Split,
}

/// An experiment as it is written in TOML or JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenExperiment {
    /// Its name, unique in the server.
    pub name: String,
    /// `header:NAME`, `claim:NAME`, `tenant` or `principal`: whose request it is.
    pub unit: Attribute,
    /// A user takes part in one experiment of a group at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The share of all users that is left to other experiments of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<Share>,
    /// The share of all users that takes part; all by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Share>,
    /// The versions with their shares, 100 % together; the first is the control.
    pub arms: Vec<WrittenVersion>,
}

impl Experiment {
    /// The name that decides which users take part.
    pub fn group_name(&self) -> &str {
        self.group.as_deref().unwrap_or(&self.name)
    }

    /// The points of the group's users that take part.
    pub fn points(&self) -> std::ops::Range<u32> {
        let first = self.skip.parts();
        first..(first + self.users.parts()).min(PARTS)
    }

    fn overlaps(&self, other: &Self) -> bool {
        let (own, others) = (self.points(), other.points());
        self.group_name() == other.group_name() && own.start < others.end && others.start < own.end
    }
}

/// Checks the experiments of a policy, and reports everything that is wrong with them.
pub(super) fn check(
    written: &[WrittenExperiment],
    problems: &mut Vec<PolicyProblem>,
) -> Vec<Experiment> {
    if written.len() > MAX_EXPERIMENTS {
        problems.push(PolicyProblem::TooMany {
            place: "the policy".to_owned(),
            what: "experiments",
            count: written.len(),
            most: MAX_EXPERIMENTS,
        });
    }
    let mut experiments: Vec<Experiment> = Vec::with_capacity(written.len());
    for one in written {
        let experiment = check_one(one, problems);
        let others = experiments.iter();
        for other in others {
            if other.name == experiment.name {
                problems.push(PolicyProblem::DuplicateExperiment(other.name.clone()));
            } else if other.overlaps(&experiment) {
                problems.push(PolicyProblem::SharedUsers {
                    one: other.name.clone(),
                    other: experiment.name.clone(),
                });
            }
        }
        experiments.push(experiment);
    }
    experiments
}

fn check_one(written: &WrittenExperiment, problems: &mut Vec<PolicyProblem>) -> Experiment {
    let shown: String = written.name.chars().take(MAX_TEXT).collect();
    let place = format!("experiment {shown:?}");
    if written.name.is_empty() {
        problems.push(PolicyProblem::NoExperimentName);
    }
    let group = written.group.as_deref().unwrap_or_default();
    if written.name.len() > MAX_TEXT || group.len() > MAX_TEXT {
        let place = place.clone();
        problems.push(PolicyProblem::TooLong {
            place,
            most: MAX_TEXT,
        });
    }
    if written.arms.len() == 1 {
        problems.push(PolicyProblem::OneArm(place.clone()));
    }
    let (skip, users) = (
        written.skip.unwrap_or_default(),
        written.users.unwrap_or(Share::ALL),
    );
    if users == Share::NONE || skip.parts() + users.parts() > PARTS {
        problems.push(PolicyProblem::Users(place.clone()));
    }
    Experiment {
        name: written.name.clone(),
        unit: written.unit.clone(),
        group: written.group.clone(),
        skip,
        users,
        arms: Split::check(&written.arms, &place, problems),
    }
}
