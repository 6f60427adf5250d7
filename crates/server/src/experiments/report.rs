//! What an experiment says, from what is known of its users.

use serde::{Deserialize, Serialize};
use tidegate_delivery::experiment::MetricSums;
use tidegate_delivery::experiment::analysis::{
    ArmState, Comparison, MetricVerdict, arm_state, compare, has_mismatch,
};
use tidegate_delivery::experiment::bandit::best_probabilities;
use tidegate_delivery::policy::Share;
use tidegate_delivery::sequential::{Arms, Counts};
use utoipa::ToSchema;

use super::definition::{ExperimentDefinition, MetricDefinition, Missing};
use super::users::{UserSums, UserTable};

/// What an experiment says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ExperimentReport {
    /// When it was made, in milliseconds since 1970.
    pub(super) at_ms: u64,
    /// What follows, in words.
    pub(super) conclusion: String,
    /// Whether the arms have not the users that their shares give them: then nothing else can be trusted.
    pub(super) has_mismatch: bool,
    /// Users who got several arms, as the shares were changed: they are left out.
    pub(super) users_in_several_arms: u64,
    /// The share of the users that is looked at; below 1 only of very many.
    pub(super) kept_share: f64,
    /// The control first.
    pub(super) arms: Vec<ArmReport>,
}

/// What is known of an arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ArmReport {
    /// Its version.
    pub(super) version: String,
    /// Its share of the users that take part.
    #[schema(value_type = String)]
    pub(super) share: Share,
    /// Its users.
    pub(super) users: u64,
    /// Their predictions that count.
    pub(super) predictions: u64,
    /// `harms`, `better`, `not_better` or `undecided`; none of the control.
    pub(super) state: Option<String>,
    /// The probability that it is the best, of a bandit.
    pub(super) best_probability: Option<f64>,
    /// The goal and the guardrails.
    pub(super) metrics: Vec<MetricReport>,
}

/// What is known of a metric of an arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct MetricReport {
    /// Its name.
    pub(super) name: String,
    /// Whether it only must not get worse.
    pub(super) is_guardrail: bool,
    /// The users of whom something is known.
    pub(super) users: u64,
    /// Their mean; none without users.
    pub(super) mean: Option<f64>,
    /// The difference to the control, once there are enough users.
    pub(super) difference: Option<DifferenceReport>,
}

/// The difference of an arm to the control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct DifferenceReport {
    /// In units of the metric.
    pub(super) estimate: f64,
    /// Where it lies at least, at all times together.
    pub(super) low: f64,
    /// Where it lies at most.
    pub(super) high: f64,
    /// `undecided`, `better`, `worse` or `equivalent`.
    #[schema(value_type = String)]
    pub(super) verdict: MetricVerdict,
    /// The share of the variance that the covariate has left; 1 without one.
    pub(super) kept_variance: f64,
}

impl ExperimentReport {
    /// What is known at a time, in milliseconds since 1970.
    pub(super) fn new(definition: &ExperimentDefinition, table: &UserTable, at_ms: u64) -> Self {
        let (by_arm, in_several) = match definition.bandit_floor {
            None => table.by_arm(definition.arms.len()),
            // A bandit moves users from arm to arm.
            Some(_) => (table.all_by_arm(definition.arms.len()), 0),
        };
        let mut report = Self {
            at_ms,
            conclusion: String::new(),
            has_mismatch: definition.bandit_floor.is_none() && is_mismatch(definition, &by_arm),
            users_in_several_arms: in_several,
            kept_share: table.kept_share(),
            arms: arms(definition, &by_arm),
        };
        report.conclusion = report.in_words(definition);
        report
    }

    /// The arms that a guardrail says do harm.
    pub(super) fn harmful(&self) -> Vec<&ArmReport> {
        let harms = state_name(ArmState::Harms);
        let arms = self.arms.iter();
        arms.filter(|arm| arm.state.as_deref() == Some(harms))
            .collect()
    }

    fn in_words(&self, definition: &ExperimentDefinition) -> String {
        if self.has_mismatch && self.harmful().is_empty() {
            return "the arms have not the users that their shares give them: find out where users are \
                    lost before anything else is believed"
                .to_owned();
        }
        let of = |state: ArmState| -> Vec<&str> {
            let name = state_name(state);
            let arms = self.arms.iter();
            let arms = arms.filter(|arm| arm.state.as_deref() == Some(name));
            arms.map(|arm| arm.version.as_str()).collect()
        };
        let goal = &definition.goal().name;
        let harmful = of(ArmState::Harms);
        if !harmful.is_empty() {
            return format!(
                "stop: a guardrail says that version {} does harm",
                harmful.join(", ")
            );
        }
        if definition.bandit_floor.is_some() {
            return self.bandit_in_words();
        }
        let better = of(ArmState::Better);
        if !better.is_empty() {
            let versions = better.join(", ");
            return format!("version {versions} is better in {goal:?} and harms no guardrail");
        }
        if of(ArmState::NotBetter).len() + 1 == self.arms.len() {
            return format!(
                "keep version {}: no arm is better in {goal:?}",
                self.arms[0].version
            );
        }
        let ahead: Vec<&str> = self
            .arms
            .iter()
            .filter(|arm| arm.is_ahead())
            .map(ArmReport::name)
            .collect();
        if !ahead.is_empty() {
            let versions = ahead.join(", ");
            return format!(
                "version {versions} is better in {goal:?}: go on until its guardrails are known to hold"
            );
        }
        "undecided: go on".to_owned()
    }

    fn bandit_in_words(&self) -> String {
        let arms = self.arms.iter();
        let best = arms.max_by(|one, other| {
            let probability = |arm: &ArmReport| arm.best_probability.unwrap_or(0.0);
            probability(one).total_cmp(&probability(other))
        });
        match best.and_then(|arm| Some((arm, arm.best_probability?))) {
            None => "undecided: go on".to_owned(),
            Some((arm, probability)) => {
                let (version, percent) = (&arm.version, 100.0 * probability);
                format!("version {version} is the best with a probability of {percent:.1}%")
            }
        }
    }
}

impl ArmReport {
    fn name(&self) -> &str {
        &self.version
    }

    /// Whether its goal is better than that of the control, whatever its guardrails say.
    fn is_ahead(&self) -> bool {
        let mut goals = self.metrics.iter().filter(|metric| !metric.is_guardrail);
        goals.any(|goal| {
            let difference = goal.difference.as_ref();
            difference.is_some_and(|difference| difference.verdict == MetricVerdict::Better)
        })
    }
}

fn is_mismatch(definition: &ExperimentDefinition, by_arm: &[Vec<&UserSums>]) -> bool {
    let counts: Vec<u64> = by_arm.iter().map(|users| users.len() as u64).collect();
    let shares: Vec<f64> = definition
        .arms
        .iter()
        .map(share)
        .map(Share::fraction)
        .collect();
    has_mismatch(&counts, &shares)
}

/// The share of an arm; a definition that was checked has one for each.
fn share(arm: &tidegate_delivery::policy::WrittenVersion) -> Share {
    arm.weight.unwrap_or_default()
}

fn arms(definition: &ExperimentDefinition, by_arm: &[Vec<&UserSums>]) -> Vec<ArmReport> {
    let probabilities = definition
        .bandit_floor
        .map(|_| best_probabilities(&goal_counts(definition, by_arm)));
    let mut reports = Vec::with_capacity(by_arm.len());
    for (place, users) in by_arm.iter().enumerate() {
        let arm = &definition.arms[place];
        let control = (place > 0).then(|| &by_arm[0]);
        let metrics = metrics(definition, users, control.map(Vec::as_slice));
        let predictions = users.iter().map(|user| u64::from(user.predictions));
        reports.push(ArmReport {
            version: arm.version.to_string(),
            share: share(arm),
            users: users.len() as u64,
            predictions: predictions.sum(),
            state: control.map(|_| state_name(state(&metrics)).to_owned()),
            best_probability: probabilities.as_ref().map(|all| all[place]),
            metrics,
        });
    }
    reports
}

/// The labels of the goal of each arm, and how many of them are above 0.
pub(super) fn goal_counts(
    definition: &ExperimentDefinition,
    by_arm: &[Vec<&UserSums>],
) -> Vec<Counts> {
    let goal = definition.goal();
    let places = definition.metric_places().into_iter();
    let place = places
        .filter(|(metric, _)| *metric == goal)
        .map(|(_, place)| place)
        .next();
    let mut counts = Vec::with_capacity(by_arm.len());
    for users in by_arm {
        let mut all = Counts::default();
        for user in users {
            let labels = user.labels.get(place.unwrap_or_default());
            let labels = labels.copied().unwrap_or_default();
            all.events += u64::from(labels.positive);
            all.requests += match goal.missing {
                Missing::Skip => u64::from(labels.labelled),
                Missing::Zero => u64::from(user.mature),
            };
        }
        counts.push(all);
    }
    counts
}

fn metrics(
    definition: &ExperimentDefinition,
    users: &[&UserSums],
    control: Option<&[&UserSums]>,
) -> Vec<MetricReport> {
    // Every interval of a metric holds at the same time as those of the other arms.
    let comparisons = (definition.arms.len() - 1).max(1) as f64;
    let alpha = definition.alpha / comparisons;
    let mut reports = Vec::new();
    for (metric, place) in definition.metric_places() {
        let before = mean_covariate(users.iter().chain(control.into_iter().flatten()));
        let own = sums(users, metric, place, before);
        // A bandit gives arms users by their labels, which intervals of the goal do not know.
        let is_compared = metric.guardrail || definition.bandit_floor.is_none();
        let difference = control.filter(|_| is_compared).and_then(|control| {
            let control = sums(control, metric, place, before);
            let arms = Arms::new(own, control);
            let found = compare(arms, metric.rule(), alpha, definition.expected_users as f64);
            found.map(DifferenceReport::new)
        });
        reports.push(MetricReport {
            name: metric.name.clone(),
            is_guardrail: metric.guardrail,
            users: own.users as u64,
            mean: (own.users > 0.0).then_some(own.mean),
            difference,
        });
    }
    reports
}

/// The mean covariate of those who have one: it stands for that of the others.
fn mean_covariate<'a>(users: impl Iterator<Item = &'a &'a UserSums>) -> f64 {
    let (mut count, mut sum) = (0.0, 0.0);
    for covariate in users.filter_map(|user| user.covariate) {
        count += 1.0;
        sum += covariate;
    }
    if count == 0.0 { 0.0 } else { sum / count }
}

fn sums(users: &[&UserSums], metric: &MetricDefinition, place: usize, before: f64) -> MetricSums {
    let mut sums = MetricSums::default();
    for user in users {
        if let Some(value) = user.value(metric, place) {
            sums.add(value, user.covariate.unwrap_or(before));
        }
    }
    sums
}

fn state(metrics: &[MetricReport]) -> ArmState {
    let mut goal = MetricVerdict::Undecided;
    let mut guardrails = Vec::new();
    for metric in metrics {
        let verdict = metric.difference.as_ref();
        let verdict = verdict.map_or(MetricVerdict::Undecided, |difference| difference.verdict);
        match metric.is_guardrail {
            true => guardrails.push(verdict),
            false => goal = verdict,
        }
    }
    arm_state(goal, &guardrails)
}

fn state_name(state: ArmState) -> &'static str {
    match state {
        ArmState::Harms => "harms",
        ArmState::Better => "better",
        ArmState::NotBetter => "not_better",
        ArmState::Undecided => "undecided",
    }
}

impl DifferenceReport {
    fn new(found: Comparison) -> Self {
        Self {
            estimate: found.effect.estimate,
            low: found.interval.low,
            high: found.interval.high,
            verdict: found.verdict,
            kept_variance: found.kept_variance,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::experiments::users::LabelSums;

    fn definition(change: serde_json::Value) -> ExperimentDefinition {
        let mut written = json!({
            "endpoint": "fraud",
            "unit": "header:x-user",
            "arms": [{"version": 1, "weight": "50%"}, {"version": 2, "weight": "50%"}],
            "metrics": [{"name": "conversion", "min_effect": 0.01}],
        });
        for (key, value) in change.as_object().unwrap() {
            written[key] = value.clone();
        }
        let read: ExperimentDefinition = serde_json::from_value(written).unwrap();
        read.checked().unwrap()
    }

    /// So many users in each arm, with their shares of conversions and of failed requests.
    fn table(arms: &[(u64, f64, f64)]) -> UserTable {
        let mut random = fastrand::Rng::with_seed(1);
        let mut table = UserTable::default();
        for (arm, (users, conversion, failed)) in arms.iter().enumerate() {
            for _ in 0..*users {
                let converts = u32::from(random.f64() < *conversion);
                let fails = u32::from(random.f64() < *failed);
                let sums = table.of(random.u64(..), arm as u8, 1).unwrap();
                (sums.predictions, sums.mature, sums.failed) = (1, 1, fails);
                sums.labels[0] = LabelSums {
                    labelled: 1,
                    positive: converts,
                    sum: f64::from(converts),
                };
            }
        }
        table
    }

    fn report(change: serde_json::Value, arms: &[(u64, f64, f64)]) -> ExperimentReport {
        ExperimentReport::new(&definition(change), &table(arms), 1)
    }

    #[test]
    fn a_better_arm_is_found_once_its_guardrail_holds() {
        let found = report(json!({}), &[(20_000, 0.1, 0.0), (20_000, 0.13, 0.0)]);
        assert_eq!(found.arms[1].state.as_deref(), Some("better"), "{found:?}");
        assert_eq!(
            found.conclusion,
            "version 2 is better in \"conversion\" and harms no guardrail"
        );
        let few = report(json!({}), &[(60, 0.1, 0.0), (60, 0.9, 0.0)]);
        assert_eq!(few.conclusion, "undecided: go on");
    }

    #[test]
    fn an_arm_that_fails_more_often_does_harm() {
        let found = report(json!({}), &[(20_000, 0.1, 0.0), (20_000, 0.2, 0.05)]);
        assert_eq!(found.harmful().len(), 1, "{found:?}");
        assert!(
            found.conclusion.starts_with("stop: "),
            "{}",
            found.conclusion
        );
    }

    #[test]
    fn lost_users_stop_every_conclusion() {
        let found = report(json!({}), &[(20_000, 0.1, 0.0), (15_000, 0.2, 0.0)]);
        assert!(found.has_mismatch);
        assert!(found.conclusion.contains("lost"), "{}", found.conclusion);
    }

    #[test]
    fn a_bandit_says_how_probable_the_best_arm_is() {
        let floor = json!({"bandit_floor": "5%"});
        let found = report(floor, &[(2000, 0.1, 0.0), (500, 0.2, 0.0)]);
        assert!(!found.has_mismatch && found.arms[1].metrics[0].difference.is_none());
        assert!(found.arms[1].best_probability > Some(0.99), "{found:?}");
    }
}
