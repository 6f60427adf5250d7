//! What an experiment says so far: which arm is better, by how much, and whether that can be trusted.
//!
//! The first arm is the control. It may be looked at all the time: intervals hold at all times together
//! ([`Effect::sequential_interval`]), and the chance that any of them is wrong in a metric is `alpha`: it
//! is divided by the number of comparisons (Bonferroni).

use serde::{Deserialize, Serialize};

use super::metric_sums::{Effect, MetricSums};
use super::{cuped, mismatch};
use crate::sequential::{Arms, Interval};

/// Users of an arm below which nothing is said: the intervals hold for many users.
pub const MIN_USERS: f64 = 100.0;
/// The chance to call shares wrong that are right.
const MISMATCH_ALPHA: f64 = 0.001;
/// Finds shares of users that are off by a few percent.
const MISMATCH_CONCENTRATION: f64 = 10_000.0;

/// Which values of a metric are good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Large ones.
    #[default]
    Increase,
    /// Small ones.
    Decrease,
}

/// How the values of a metric are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricRule {
    /// Which values are good.
    pub direction: Direction,
    /// Differences up to this do not matter, in units of the metric.
    pub min_effect: f64,
    /// Whether the metric must only not get worse by more than that.
    pub is_guardrail: bool,
    /// How far values can lie apart, where that is known: 1 for shares. Few users without a single event are
    /// no proof that there are none.
    pub range: Option<f64>,
}

/// What is known of a metric of an arm beside the control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricVerdict {
    /// Nothing yet.
    Undecided,
    /// Better than the control.
    Better,
    /// Worse than the control; for a guardrail, by more than does not matter.
    Worse,
    /// The difference is one that does not matter; for a guardrail, it is not worse by more than that.
    Equivalent,
}

impl MetricVerdict {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Undecided => "undecided",
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Equivalent => "equivalent",
        }
    }
}

/// A metric of an arm beside the control.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The difference, with less variance where something was known of users before.
    pub effect: Effect,
    /// Where it lies, at all times together.
    pub interval: Interval,
    /// The share of the variance that is left by what was known before; 1 if nothing was.
    pub kept_variance: f64,
    /// What that says.
    pub verdict: MetricVerdict,
}

/// Compares a metric. `alpha` is the chance of this comparison to be wrong at any time; the interval is
/// narrowest for `users_opt` users in both arms. `None` while there are fewer than [`MIN_USERS`] in an arm.
pub fn compare(
    arms: Arms<MetricSums>,
    rule: MetricRule,
    alpha: f64,
    users_opt: f64,
) -> Option<Comparison> {
    if arms.candidate.users < MIN_USERS || arms.control.users < MIN_USERS {
        return None;
    }
    let mut effect = cuped::effect(arms)?;
    effect.error = effect.error.max(least_error(arms, rule.range));
    if effect.error == 0.0 {
        // Equal values say nothing of how others would differ.
        return None;
    }
    let interval = effect.sequential_interval(alpha, users_opt);
    Some(Comparison {
        effect,
        interval,
        kept_variance: cuped::kept_variance(arms),
        verdict: verdict(interval, rule),
    })
}

/// The standard error of the difference if each arm had one more user with an event: values of so many
/// users without any are compatible with it.
fn least_error(arms: Arms<MetricSums>, range: Option<f64>) -> f64 {
    let variance = |users: f64| {
        let share = 1.0 / (users + 2.0);
        share * (1.0 - share) / users
    };
    let variance = variance(arms.candidate.users) + variance(arms.control.users);
    range.unwrap_or(0.0) * variance.sqrt()
}

fn verdict(interval: Interval, rule: MetricRule) -> MetricVerdict {
    // As if larger values were better.
    let (low, high) = match rule.direction {
        Direction::Increase => (interval.low, interval.high),
        Direction::Decrease => (-interval.high, -interval.low),
    };
    let margin = rule.min_effect;
    if rule.is_guardrail {
        return match () {
            () if high < -margin => MetricVerdict::Worse,
            () if low > -margin => MetricVerdict::Equivalent,
            () => MetricVerdict::Undecided,
        };
    }
    match () {
        () if low > 0.0 => MetricVerdict::Better,
        () if high < 0.0 => MetricVerdict::Worse,
        () if low >= -margin && high <= margin => MetricVerdict::Equivalent,
        () => MetricVerdict::Undecided,
    }
}

/// Whether users were lost in an arm: their numbers are not those of the shares. Then no comparison can be
/// trusted. It may be looked at all the time.
pub fn has_mismatch(users: &[u64], shares: &[f64]) -> bool {
    if users.len() < 2 {
        return false;
    }
    mismatch::log_e(users, shares, MISMATCH_CONCENTRATION) > (1.0 / MISMATCH_ALPHA).ln()
}

/// What to do with an arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArmState {
    /// A guardrail got worse.
    Harms,
    /// It is better than the control, and harms nothing.
    Better,
    /// It is worse than the control, or not better by anything that matters.
    NotBetter,
    /// That is not known yet.
    Undecided,
}

/// What an arm's metrics say together: that of the goal, and those of the guardrails. An arm is better only
/// once every guardrail is known to hold.
pub fn arm_state(goal: MetricVerdict, guardrails: &[MetricVerdict]) -> ArmState {
    if guardrails.contains(&MetricVerdict::Worse) {
        return ArmState::Harms;
    }
    let all_hold = guardrails
        .iter()
        .all(|verdict| *verdict == MetricVerdict::Equivalent);
    match goal {
        MetricVerdict::Better if all_hold => ArmState::Better,
        MetricVerdict::Worse | MetricVerdict::Equivalent => ArmState::NotBetter,
        MetricVerdict::Better | MetricVerdict::Undecided => ArmState::Undecided,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOAL: MetricRule = MetricRule {
        direction: Direction::Increase,
        min_effect: 0.02,
        is_guardrail: false,
        range: Some(1.0),
    };

    fn users(random: &mut fastrand::Rng, count: u32, share: f64) -> MetricSums {
        let mut sums = MetricSums::default();
        for _ in 0..count {
            sums.add(f64::from(u8::from(random.f64() < share)), 0.0);
        }
        sums
    }

    fn said(control: f64, candidate: f64, rule: MetricRule) -> MetricVerdict {
        let mut random = fastrand::Rng::with_seed(4);
        let arms = Arms::new(
            users(&mut random, 20_000, candidate),
            users(&mut random, 20_000, control),
        );
        compare(arms, rule, 0.05, 40_000.0).unwrap().verdict
    }

    #[test]
    fn a_clear_difference_is_found_in_its_direction() {
        assert_eq!(said(0.10, 0.15, GOAL), MetricVerdict::Better);
        assert_eq!(said(0.15, 0.10, GOAL), MetricVerdict::Worse);
        assert_eq!(said(0.10, 0.10, GOAL), MetricVerdict::Equivalent);
        let fewer = MetricRule {
            direction: Direction::Decrease,
            ..GOAL
        };
        assert_eq!(said(0.15, 0.10, fewer), MetricVerdict::Better);
    }

    #[test]
    fn a_few_users_without_an_event_prove_nothing() {
        let none = |users| {
            let mut sums = MetricSums::default();
            (0..users).for_each(|_| sums.add(0.0, 0.0));
            sums
        };
        let errors = MetricRule {
            direction: Direction::Decrease,
            min_effect: 0.01,
            is_guardrail: true,
            range: Some(1.0),
        };
        let said = |users, rule| {
            let arms = Arms::new(none(users), none(users));
            compare(arms, rule, 0.05, 10_000.0).map(|found| found.verdict)
        };
        assert_eq!(said(100, errors), Some(MetricVerdict::Undecided));
        assert_eq!(said(5000, errors), Some(MetricVerdict::Equivalent));
        let unknown = MetricRule {
            range: None,
            ..errors
        };
        assert_eq!(said(5000, unknown), None);
    }

    #[test]
    fn a_guardrail_may_get_worse_by_its_margin() {
        let guardrail = MetricRule {
            direction: Direction::Decrease,
            is_guardrail: true,
            ..GOAL
        };
        assert_eq!(said(0.10, 0.20, guardrail), MetricVerdict::Worse);
        assert_eq!(said(0.10, 0.10, guardrail), MetricVerdict::Equivalent);
        assert_eq!(said(0.20, 0.10, guardrail), MetricVerdict::Equivalent);
    }

    #[test]
    fn an_arm_that_harms_is_never_better() {
        use MetricVerdict::{Better, Equivalent, Undecided, Worse};
        assert_eq!(arm_state(Better, &[Equivalent, Worse]), ArmState::Harms);
        assert_eq!(arm_state(Better, &[Undecided]), ArmState::Undecided);
        assert_eq!(arm_state(Better, &[Equivalent]), ArmState::Better);
        assert_eq!(arm_state(Equivalent, &[]), ArmState::NotBetter);
    }

    #[test]
    fn equal_arms_are_told_apart_no_more_often_than_alpha_though_looked_at_all_the_time() {
        let mut random = fastrand::Rng::with_seed(8);
        let mut wrong = 0;
        for _ in 0..400 {
            let (mut candidate, mut control) = (MetricSums::default(), MetricSums::default());
            let mut is_wrong = false;
            for user in 0..4000 {
                candidate.add(f64::from(u8::from(random.f64() < 0.2)), 0.0);
                control.add(f64::from(u8::from(random.f64() < 0.2)), 0.0);
                if user % 20 == 0
                    && let Some(found) = compare(Arms::new(candidate, control), GOAL, 0.05, 4000.0)
                {
                    is_wrong |=
                        matches!(found.verdict, MetricVerdict::Better | MetricVerdict::Worse);
                }
            }
            wrong += u32::from(is_wrong);
        }
        assert!(wrong <= 20, "{wrong} of 400");
    }

    #[test]
    fn lost_users_are_a_mismatch() {
        assert!(!has_mismatch(&[5012, 4988], &[0.5, 0.5]));
        assert!(has_mismatch(&[5600, 4400], &[0.5, 0.5]));
        assert!(!has_mismatch(&[0, 0], &[0.5, 0.5]));
    }
}
