//! Answers and labels by group.

use serde::{Deserialize, Serialize};

use super::disparity::{Disparities, Rate};
use crate::accuracy::{CalibrationBins, Confidence, Estimate};

/// An answer of the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// Whether it is the positive class: what is granted, selected, flagged.
    pub positive: bool,
    /// The probability of the positive class, if the model gives one.
    pub score: Option<f64>,
    /// The true class, if it is known by now.
    pub label: Option<bool>,
}

/// Answers of each group. Can be merged and stored; of more than [`Groups::MAX_GROUPS`] groups the
/// last ones are counted together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Groups {
    groups: Vec<Group>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    pub(super) name: String,
    answered: u64,
    selected: u64,
    true_positives: u64,
    false_positives: u64,
    true_negatives: u64,
    false_negatives: u64,
    calibration: CalibrationBins,
}

/// The rates of one group. What has nothing to count is `None`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupRates {
    /// The group.
    pub group: String,
    /// How many answers it has.
    pub n: u64,
    /// How many of them have a label.
    pub labelled: u64,
    /// The share of positive answers.
    pub selection_rate: Option<Estimate>,
    /// Of the positives, the share that was answered as positive.
    pub true_positive_rate: Option<Estimate>,
    /// Of the negatives, the share that was answered as positive.
    pub false_positive_rate: Option<Estimate>,
    /// Of the positive answers, the share that is right.
    pub precision: Option<Estimate>,
    /// The share of right answers.
    pub accuracy: Option<Estimate>,
    /// The expected calibration error of its scores.
    pub calibration_error: Option<f64>,
    /// Whether it has enough rows to be compared.
    pub enough: bool,
}

impl Groups {
    /// The most groups that are told apart.
    pub const MAX_GROUPS: usize = 64;
    /// The name of the further ones.
    pub const FURTHER: &str = "(further groups)";

    /// Counts an answer.
    pub fn add(&mut self, group: &str, answer: Answer) {
        let group = self.group(group);
        increase(&mut group.answered, 1);
        increase(&mut group.selected, u64::from(answer.positive));
        let Some(label) = answer.label else { return };
        let outcome = match (answer.positive, label) {
            (true, true) => &mut group.true_positives,
            (true, false) => &mut group.false_positives,
            (false, false) => &mut group.true_negatives,
            (false, true) => &mut group.false_negatives,
        };
        increase(outcome, 1);
        if let Some(score) = answer.score {
            group.calibration.add(score, label);
        }
    }

    fn group(&mut self, name: &str) -> &mut Group {
        let known = self.groups.iter().position(|group| group.name == name);
        let place = known.unwrap_or(self.groups.len().min(Self::MAX_GROUPS));
        if place == self.groups.len() {
            let name = if place == Self::MAX_GROUPS {
                Self::FURTHER
            } else {
                name
            };
            self.groups.push(Group {
                name: name.to_owned(),
                ..Group::default()
            });
        }
        &mut self.groups[place]
    }

    /// Adds what another has.
    pub fn merge(&mut self, other: &Self) {
        for more in &other.groups {
            let group = self.group(&more.name);
            increase(&mut group.answered, more.answered);
            increase(&mut group.selected, more.selected);
            increase(&mut group.true_positives, more.true_positives);
            increase(&mut group.false_positives, more.false_positives);
            increase(&mut group.true_negatives, more.true_negatives);
            increase(&mut group.false_negatives, more.false_negatives);
            group.calibration.merge(&more.calibration);
        }
    }

    /// The rates of every group. Those with fewer than `least_rows` answers are marked.
    pub fn rates(&self, least_rows: u64, confidence: Confidence) -> Vec<GroupRates> {
        self.groups
            .iter()
            .map(|group| group.rates(least_rows, confidence))
            .collect()
    }

    /// How far the groups are apart. A group takes part in a comparison if at least `least_rows`
    /// rows count for it there: answers for the selection rate, positives for the true positive
    /// rate, and so on.
    pub fn disparities(&self, least_rows: u64, confidence: Confidence) -> Disparities {
        Disparities::between(&self.groups, least_rows, confidence)
    }
}

impl Group {
    /// How many of how many a rate is.
    pub(super) fn counts(&self, rate: Rate) -> [u64; 2] {
        let sum = u64::saturating_add;
        match rate {
            Rate::Selection => [self.selected, self.answered],
            Rate::TruePositive => [
                self.true_positives,
                sum(self.true_positives, self.false_negatives),
            ],
            Rate::FalsePositive => [
                self.false_positives,
                sum(self.false_positives, self.true_negatives),
            ],
            Rate::Precision => [
                self.true_positives,
                sum(self.true_positives, self.false_positives),
            ],
        }
    }

    fn rates(&self, least_rows: u64, confidence: Confidence) -> GroupRates {
        let rate = |rate: Rate| {
            let [hits, n] = self.counts(rate);
            Estimate::share(hits, n, confidence)
        };
        let right = self.true_positives.saturating_add(self.true_negatives);
        let wrong = self.false_positives.saturating_add(self.false_negatives);
        let labelled = right.saturating_add(wrong);
        GroupRates {
            group: self.name.clone(),
            n: self.answered,
            labelled,
            selection_rate: rate(Rate::Selection),
            true_positive_rate: rate(Rate::TruePositive),
            false_positive_rate: rate(Rate::FalsePositive),
            precision: rate(Rate::Precision),
            accuracy: Estimate::share(right, labelled, confidence),
            calibration_error: self.calibration.expected_error(),
            enough: self.answered >= least_rows,
        }
    }
}

fn increase(count: &mut u64, by: u64) {
    *count = count.saturating_add(by);
}
