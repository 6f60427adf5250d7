//! Which classes were answered for which.

use serde::{Deserialize, Serialize};

use super::estimate::{Confidence, Estimate};
use crate::moments::Moments;

/// Counts of answered and true classes. Classes are numbered as they come; of more than
/// [`Confusion::MAX_CLASSES`] the last ones are counted together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawConfusion", into = "RawConfusion")]
pub struct Confusion {
    classes: Vec<String>,
    /// Answered class by true class: `counts[answered][actual]`.
    counts: Vec<Vec<u64>>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfusion {
    classes: Vec<String>,
    counts: Vec<Vec<u64>>,
}

/// The accuracy for one class. What has nothing to count is `None`: there is no precision of a
/// class that was never answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassAccuracy {
    /// The class.
    pub class: String,
    /// How many have it as their true class.
    pub support: u64,
    /// Of those answered with it, the share that is of it.
    pub precision: Option<Estimate>,
    /// Of those that are of it, the share that was answered with it.
    pub recall: Option<Estimate>,
    /// Of those that are not of it, the share that was not answered with it.
    pub specificity: Option<Estimate>,
    /// The harmonic mean of precision and recall.
    pub f1: Option<Estimate>,
}

/// What an answer costs: `costs[answered][actual]`, in the order of `classes`. Classes that are not
/// named cost nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostMatrix {
    /// The classes.
    pub classes: Vec<String>,
    /// A row for each answered class, with a cost for each true class.
    pub costs: Vec<Vec<f64>>,
}

impl Confusion {
    /// The most classes that are told apart.
    pub const MAX_CLASSES: usize = 256;
    /// The name of the further ones.
    pub const FURTHER: &str = "(further classes)";

    /// Counts an answer.
    pub fn add(&mut self, answered: &str, actual: &str) {
        self.add_many(answered, actual, 1);
    }

    fn add_many(&mut self, answered: &str, actual: &str, times: u64) {
        let (answered, actual) = (self.number_of(answered), self.number_of(actual));
        let count = &mut self.counts[answered][actual];
        *count = count.saturating_add(times);
    }

    fn number_of(&mut self, class: &str) -> usize {
        let known = self.classes.iter().position(|known| known == class);
        match known {
            Some(number) => number,
            None if self.classes.len() > Self::MAX_CLASSES => Self::MAX_CLASSES,
            None => {
                let full = self.classes.len() == Self::MAX_CLASSES;
                self.classes
                    .push(if full { Self::FURTHER } else { class }.to_owned());
                self.counts.iter_mut().for_each(|row| row.push(0));
                self.counts.push(vec![0; self.classes.len()]);
                self.classes.len() - 1
            }
        }
    }

    /// Adds what another has.
    pub fn merge(&mut self, other: &Self) {
        for (answered, row) in other.classes.iter().zip(&other.counts) {
            for (actual, &count) in other.classes.iter().zip(row) {
                self.add_many(answered, actual, count);
            }
        }
    }

    /// The classes, in the order of [`Confusion::counts`].
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Rows of answered classes, with a count for each true class.
    pub fn counts(&self) -> &[Vec<u64>] {
        &self.counts
    }

    /// How many answers were counted.
    pub fn n(&self) -> u64 {
        self.counts
            .iter()
            .flatten()
            .fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// The share of right answers.
    pub fn accuracy(&self, confidence: Confidence) -> Option<Estimate> {
        let right = |number: usize| self.counts[number][number];
        let hits = (0..self.classes.len())
            .map(right)
            .fold(0, u64::saturating_add);
        Estimate::share(hits, self.n(), confidence)
    }

    /// The accuracy for every class.
    pub fn by_class(&self, confidence: Confidence) -> Vec<ClassAccuracy> {
        (0..self.classes.len())
            .map(|number| self.class(number, confidence))
            .collect()
    }

    fn class(&self, number: usize, confidence: Confidence) -> ClassAccuracy {
        let total = |counts: &mut dyn Iterator<Item = u64>| counts.fold(0, u64::saturating_add);
        let right = self.counts[number][number];
        let answered = total(&mut self.counts[number].iter().copied());
        let support = total(&mut self.counts.iter().map(|row| row[number]));
        let either = (answered - right).saturating_add(support);
        let negatives = self.n().saturating_sub(support);
        let rejected = negatives.saturating_sub(answered - right);
        // F1 is 2 j / (1 + j) of the share j of right ones among those that are of the class or
        // were answered with it: so its interval is that of a share.
        let f1 = Estimate::share(right, either, confidence);
        ClassAccuracy {
            class: self.classes[number].clone(),
            support,
            precision: Estimate::share(right, answered, confidence),
            recall: Estimate::share(right, support, confidence),
            specificity: Estimate::share(rejected, negatives, confidence),
            f1: f1.and_then(|share| share.map(|share| 2.0 * share / (1.0 + share))),
        }
    }

    /// The mean precision, recall and F1 over the classes that have one: the macro average.
    pub fn macro_average(&self) -> [Option<f64>; 3] {
        let classes = self.by_class(Confidence::default());
        [
            mean(classes.iter().filter_map(|class| class.precision)),
            mean(classes.iter().filter_map(|class| class.recall)),
            mean(classes.iter().filter_map(|class| class.f1)),
        ]
    }

    /// The mean cost of an answer.
    pub fn cost(&self, matrix: &CostMatrix, confidence: Confidence) -> Option<Estimate> {
        let mut costs = Moments::default();
        for (answered, row) in self.classes.iter().zip(&self.counts) {
            for (actual, &count) in self.classes.iter().zip(row) {
                costs.merge(&Moments::repeated(matrix.cost(answered, actual), count));
            }
        }
        Estimate::mean(&costs, confidence)
    }
}

fn mean(estimates: impl Iterator<Item = Estimate>) -> Option<f64> {
    estimates
        .map(|estimate| estimate.value)
        .collect::<Moments>()
        .mean()
}

impl CostMatrix {
    /// What an answer costs.
    pub fn cost(&self, answered: &str, actual: &str) -> f64 {
        let number = |class: &str| self.classes.iter().position(|known| known == class);
        let costs = number(answered).and_then(|answered| self.costs.get(answered));
        let cost = costs
            .zip(number(actual))
            .and_then(|(costs, actual)| costs.get(actual));
        cost.copied().unwrap_or(0.0)
    }
}

impl TryFrom<RawConfusion> for Confusion {
    type Error = &'static str;

    fn try_from(raw: RawConfusion) -> Result<Self, Self::Error> {
        let size = raw.classes.len();
        let square = raw.counts.len() == size && raw.counts.iter().all(|row| row.len() == size);
        if !square || size > Self::MAX_CLASSES + 1 {
            return Err("a confusion matrix has a row and a column for each class");
        }
        Ok(Self {
            classes: raw.classes,
            counts: raw.counts,
        })
    }
}

impl From<Confusion> for RawConfusion {
    fn from(confusion: Confusion) -> Self {
        Self {
            classes: confusion.classes,
            counts: confusion.counts,
        }
    }
}
