//! Experiments in the form in which requests use them.

use std::borrow::Cow;
use std::ops::Range;

use super::compiled::index_of;
use super::point::{Salt, scale};
use crate::policy::{Attribute, Experiment, Share, VersionName};

/// The experiment that a request is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// The place of the experiment in the policy.
    pub experiment: usize,
    /// The place of the arm in the experiment.
    pub arm: usize,
    /// The user, as a hash of the experiment's own: the same user has another one in each experiment.
    pub user: u64,
}

/// An experiment whose arms are known to the router.
#[derive(Debug)]
pub(super) struct CompiledExperiment {
    unit: Attribute,
    group: Salt,
    own: Salt,
    /// The points of the group's users that take part.
    points: Range<u32>,
    arms: Vec<CompiledArm>,
}

#[derive(Debug)]
struct CompiledArm {
    /// The first point after it.
    end: u32,
    /// Its version's place in the router's list.
    version: usize,
    share: Share,
}

impl CompiledExperiment {
    /// Adds the versions of the arms to the list of the router.
    pub(super) fn new(experiment: &Experiment, versions: &mut Vec<VersionName>) -> Self {
        let mut end = 0;
        let mut arms = Vec::with_capacity(experiment.arms.versions().len());
        for weighted in experiment.arms.versions() {
            end += weighted.weight.parts();
            arms.push(CompiledArm {
                end,
                version: index_of(&weighted.version, versions),
                share: weighted.weight,
            });
        }
        Self {
            unit: experiment.unit.clone(),
            // The same name as a group and as an experiment must not give the same points.
            group: Salt::of(&format!("group {}", experiment.group_name())),
            own: Salt::of(&experiment.name),
            points: experiment.points(),
            arms,
        }
    }

    /// The arm of the user whose request it is; `None` if they take no part.
    pub(super) fn expose<'a>(
        &self,
        value: &impl Fn(&Attribute) -> Option<Cow<'a, str>>,
    ) -> Option<ExposedArm> {
        let key = value(&self.unit)?;
        if !self.points.contains(&self.group.point(&key)) {
            return None;
        }
        // Drawn anew, or the first arm of the second experiment would be those next to the first one.
        let user = self.own.hash(&key);
        let point = scale(user);
        let arm = self.arms.iter().position(|arm| point < arm.end)?;
        let CompiledArm { version, share, .. } = self.arms[arm];
        Some(ExposedArm {
            arm,
            user,
            version,
            share,
        })
    }
}

/// The arm of a user.
pub(super) struct ExposedArm {
    pub(super) arm: usize,
    pub(super) user: u64,
    pub(super) version: usize,
    pub(super) share: Share,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assign::{Assignment, Router};
    use crate::policy::TrafficPolicy;

    const POLICY: &str = r#"
        versions = [{ version = 1 }]
        [[experiments]]
        name = "a"
        unit = "header:x-user"
        group = "checkout"
        users = "20%"
        arms = [{ version = 1, weight = "50%" }, { version = 2, weight = "50%" }]
        [[experiments]]
        name = "b"
        unit = "header:x-user"
        group = "checkout"
        skip = "20%"
        users = "40%"
        arms = [{ version = 1, weight = "90%" }, { version = 3, weight = "10%" }]
    "#;

    fn router(policy: &str) -> Router {
        let policy: TrafficPolicy = toml::from_str(policy).unwrap();
        Router::new(&policy, &Assignment::new("fraud", &policy), 1).unwrap()
    }

    fn exposure(router: &Router, user: u32) -> Option<Exposure> {
        let choice = router.choose(|_| Some(Cow::Owned(format!("user-{user}"))));
        choice.exposure
    }

    #[test]
    fn users_are_in_one_experiment_at_most_with_the_shares_of_the_group() {
        let router = router(POLICY);
        let mut counts = [[0; 2]; 3];
        for user in 0..20_000 {
            match exposure(&router, user) {
                Some(exposure) => counts[exposure.experiment][exposure.arm] += 1,
                None => counts[2][0] += 1,
            }
        }
        let expected = [2000, 2000, 7200, 800, 8000, 0];
        for (count, expected) in counts.as_flattened().iter().zip(expected) {
            assert!(i32::abs(count - expected) < 350, "{counts:?}");
        }
    }

    #[test]
    fn arms_are_independent_of_other_experiments() {
        let other = POLICY
            .replace("checkout", "search")
            .replace("\"a\"", "\"c\"")
            .replace("\"20%\"", "\"60%\"");
        let (one, other) = (router(POLICY), router(&other));
        let mut both = [[0_i32; 2]; 2];
        for user in 0..40_000 {
            if let (Some(one), Some(other)) = (exposure(&one, user), exposure(&other, user))
                && (one.experiment, other.experiment) == (0, 0)
            {
                both[one.arm][other.arm] += 1;
            }
        }
        // 1200 each, with a standard deviation of 34.
        let counts = both.as_flattened().iter();
        assert!(
            counts.clone().all(|count| (count - 1200).abs() < 170),
            "{both:?}"
        );
    }

    #[test]
    fn a_request_without_a_user_goes_by_the_weights() {
        let router = router(POLICY);
        let choice = router.choose(|_| None);
        assert_eq!((choice.version, choice.exposure), (0, None));
    }

    #[test]
    fn experiments_that_do_not_fit_are_refused() {
        for (from, to, message) in [
            ("skip = \"20%\"", "skip = \"10%\"", "share users"),
            ("\"90%\"", "\"80%\"", "the weights are 90% together"),
            ("\"b\"", "\"a\"", "two experiments \"a\""),
            ("\"40%\"", "\"90%\"", "at most 100%"),
            ("\"20%\"", "\"0%\"", "above 0%"),
        ] {
            let changed = POLICY.replacen(from, to, 1);
            let error = toml::from_str::<TrafficPolicy>(&changed).unwrap_err();
            assert!(error.message().contains(message), "{error}");
        }
    }
}
