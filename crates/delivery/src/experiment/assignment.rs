//! Which users take part in which experiment, and in which arm.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::assign::Salt;
use crate::policy::{PARTS, Share, VersionName};

/// Experiments that exclude each other: a user is part of one of them at most. Experiments of
/// different groups, and rollouts, are independent of each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct ExperimentGroup {
    name: String,
    members: Vec<Member>,
}

/// An experiment of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its name, unique in the server: its arms are drawn with it.
    pub experiment: String,
    /// The share of all users that takes part.
    pub users: Share,
    /// The versions, and their shares of the users that take part; 100 % together.
    pub arms: Vec<Arm>,
}

/// A version in an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// The version.
    pub version: VersionName,
    /// Its share.
    pub share: Share,
}

/// That a user was given an arm: what has to be logged with the time, once for each answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exposure<'a> {
    /// The experiment.
    pub experiment: &'a str,
    /// The place of the arm in the experiment.
    pub arm: usize,
    /// Its version.
    pub version: &'a VersionName,
    /// The share of the arm when it was drawn.
    pub share: Share,
}

/// A group whose shares do not fit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum InvalidGroup {
    #[error("the experiments of group {0:?} have more than 100% of the users together")]
    Users(String),
    #[error("the arms of experiment {0:?} must have 100% together")]
    Arms(String),
    #[error("group {group:?} has experiment {experiment:?} twice")]
    Duplicate { group: String, experiment: String },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    members: Vec<Member>,
}

impl ExperimentGroup {
    /// The experiment and the arm of a user; `None` if they take part in none. Users stay in their arm
    /// as long as the shares of it and of what is listed before it stay.
    pub fn expose(&self, user: &str) -> Option<Exposure<'_>> {
        let member = pick(
            &self.members,
            |member| member.users,
            Salt::of(&self.name).point(user),
        );
        let member = &self.members[member?];
        // Drawn anew, or the first arm of the second experiment would be those next to the first one.
        let point = Salt::of(&member.experiment).point(user);
        let arm = pick(&member.arms, |arm| arm.share, point)?;
        let (version, share) = (&member.arms[arm].version, member.arms[arm].share);
        Some(Exposure {
            experiment: &member.experiment,
            arm,
            version,
            share,
        })
    }
}

/// The one that owns a point, if they lie side by side.
fn pick<T>(items: &[T], share: impl Fn(&T) -> Share, point: u32) -> Option<usize> {
    let mut end = 0;
    items.iter().position(|item| {
        end += share(item).parts();
        point < end
    })
}

impl TryFrom<Written> for ExperimentGroup {
    type Error = InvalidGroup;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { name, members } = written;
        for (index, member) in members.iter().enumerate() {
            let experiment = member.experiment.clone();
            if members[..index]
                .iter()
                .any(|other| other.experiment == experiment)
            {
                return Err(InvalidGroup::Duplicate {
                    group: name,
                    experiment,
                });
            }
            if sum(member.arms.iter().map(|arm| arm.share)) != u64::from(PARTS) {
                return Err(InvalidGroup::Arms(experiment));
            }
        }
        if sum(members.iter().map(|member| member.users)) > u64::from(PARTS) {
            return Err(InvalidGroup::Users(name));
        }
        Ok(Self { name, members })
    }
}

fn sum(shares: impl Iterator<Item = Share>) -> u64 {
    shares.map(|share| u64::from(share.parts())).sum()
}

impl From<ExperimentGroup> for Written {
    fn from(group: ExperimentGroup) -> Self {
        Self {
            name: group.name,
            members: group.members,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str = r#"
        name = "checkout"
        members = [
            { experiment = "a", users = "20%", arms = [{ version = 1, share = "50%" }, { version = 2, share = "50%" }] },
            { experiment = "b", users = "40%", arms = [{ version = 1, share = "90%" }, { version = 3, share = "10%" }] },
        ]
    "#;

    #[test]
    fn users_are_in_one_experiment_at_most_with_the_shares_of_the_group() {
        let group: ExperimentGroup = toml::from_str(GROUP).unwrap();
        let mut counts = [[0; 2]; 3];
        for user in 0..20_000 {
            match group.expose(&format!("user-{user}")) {
                Some(exposure) => {
                    counts[usize::from(exposure.experiment == "b")][exposure.arm] += 1
                }
                None => counts[2][0] += 1,
            }
        }
        for (count, expected) in counts
            .as_flattened()
            .iter()
            .zip([2000, 2000, 7200, 800, 8000])
        {
            assert!(i32::abs(count - expected) < 350, "{counts:?}");
        }
    }

    #[test]
    fn arms_are_independent_of_other_experiments() {
        let other = GROUP
            .replace("checkout", "search")
            .replace("\"a\"", "\"c\"")
            .replace("20%", "60%");
        let (group, other): (ExperimentGroup, ExperimentGroup) = (
            toml::from_str(GROUP).unwrap(),
            toml::from_str(&other).unwrap(),
        );
        let mut both = [[0_i32; 2]; 2];
        for user in 0..40_000 {
            let user = format!("user-{user}");
            if let (Some(one), Some(other)) = (group.expose(&user), other.expose(&user))
                && one.experiment == "a"
                && other.experiment == "c"
            {
                both[one.arm][other.arm] += 1;
            }
        }
        // 1200 each, with a standard deviation of 34.
        assert!(
            both.as_flattened()
                .iter()
                .all(|count| (count - 1200).abs() < 170),
            "{both:?}"
        );
    }

    #[test]
    fn shares_that_do_not_fit_are_refused() {
        for (from, to, message) in [
            ("40%", "81%", "more than 100%"),
            ("90%", "80%", "experiment \"b\" must have 100%"),
            ("\"b\"", "\"a\"", "has experiment \"a\" twice"),
        ] {
            let error =
                toml::from_str::<ExperimentGroup>(&GROUP.replacen(from, to, 1)).unwrap_err();
            assert!(error.message().contains(message), "{error}");
        }
    }
}
