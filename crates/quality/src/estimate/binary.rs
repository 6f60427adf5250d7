//! Expected accuracy of scores of a positive class.

use serde::{Deserialize, Serialize};

use crate::accuracy::{Confidence, Estimate};
use crate::accuracy::{Group, ranked_area, ranked_precision};

/// How many bins of equal width the scores are counted in.
const SCORE_BINS: usize = 512;

/// Expected counts of right and wrong answers, from calibrated probabilities. Can be merged and
/// stored, in a fixed size of some kB.
///
/// Intervals say where the accuracy by the labels will be, if the probabilities are right: they
/// come from the labels being random, and not from an error of the calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawExpectedScores", into = "RawExpectedScores")]
pub struct ExpectedScores {
    raw: RawExpectedScores,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpectedScores {
    answered_positive: ExpectedCounts,
    answered_negative: ExpectedCounts,
    invalid: u64,
    /// Expected positives and negatives by score.
    bins: Vec<[f64; 2]>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedCounts {
    n: u64,
    /// The sum of probabilities: expected positives.
    positives: f64,
    /// The sum of `p (1 - p)`: the variance of how many positives there will be.
    variance: f64,
}

impl ExpectedCounts {
    fn add(&mut self, probability: f64) {
        self.n = self.n.saturating_add(1);
        self.positives += probability;
        self.variance += probability * (1.0 - probability);
    }

    fn merge(&mut self, other: &Self) {
        self.n = self.n.saturating_add(other.n);
        self.positives += other.positives;
        self.variance += other.variance;
    }
}

impl Default for ExpectedScores {
    fn default() -> Self {
        let raw = RawExpectedScores {
            answered_positive: ExpectedCounts::default(),
            answered_negative: ExpectedCounts::default(),
            invalid: 0,
            bins: vec![[0.0; 2]; SCORE_BINS],
        };
        Self { raw }
    }
}

impl ExpectedScores {
    /// Counts an answer: the score of the model, its calibrated probability, and whether the answer
    /// was positive. If a number is not between 0 and 1, it is counted as invalid.
    pub fn add(&mut self, score: f64, probability: f64, answered_positive: bool) {
        let raw = &mut self.raw;
        let unit = 0.0..=1.0;
        if !unit.contains(&score) || !unit.contains(&probability) {
            raw.invalid = raw.invalid.saturating_add(1);
            return;
        }
        let answered = if answered_positive {
            &mut raw.answered_positive
        } else {
            &mut raw.answered_negative
        };
        answered.add(probability);
        let bin = ((score * SCORE_BINS as f64) as usize).min(SCORE_BINS - 1);
        raw.bins[bin][0] += probability;
        raw.bins[bin][1] += 1.0 - probability;
    }

    /// Adds what another has.
    pub fn merge(&mut self, other: &Self) {
        let (raw, other) = (&mut self.raw, &other.raw);
        raw.answered_positive.merge(&other.answered_positive);
        raw.answered_negative.merge(&other.answered_negative);
        raw.invalid = raw.invalid.saturating_add(other.invalid);
        for (bin, more) in raw.bins.iter_mut().zip(&other.bins) {
            bin[0] += more[0];
            bin[1] += more[1];
        }
    }

    /// How many answers were counted.
    pub fn n(&self) -> u64 {
        self.raw
            .answered_positive
            .n
            .saturating_add(self.raw.answered_negative.n)
    }

    /// How many had a number that is none: they are in no result.
    pub fn invalid(&self) -> u64 {
        self.raw.invalid
    }

    /// Expected true positives, false positives, true negatives, false negatives.
    pub fn outcomes(&self) -> [f64; 4] {
        let (positive, negative) = (&self.raw.answered_positive, &self.raw.answered_negative);
        let (tp, fneg) = (positive.positives, negative.positives);
        [tp, positive.n as f64 - tp, negative.n as f64 - fneg, fneg]
    }

    /// The expected share of right answers.
    pub fn accuracy(&self, confidence: Confidence) -> Option<Estimate> {
        let [tp, _, tn, _] = self.outcomes();
        let n = self.n() as f64;
        let variance = self.raw.answered_positive.variance + self.raw.answered_negative.variance;
        self.within(tp + tn, n, variance.sqrt() / n, self.n(), confidence)
    }

    /// Of the positive answers, the expected share that is right.
    pub fn precision(&self, confidence: Confidence) -> Option<Estimate> {
        let [tp, fp, ..] = self.outcomes();
        let error = self.raw.answered_positive.variance.sqrt() / (tp + fp);
        self.within(tp, tp + fp, error, self.raw.answered_positive.n, confidence)
    }

    /// Of the expected positives, the share that was found.
    pub fn recall(&self, confidence: Confidence) -> Option<Estimate> {
        let [tp, _, _, fneg] = self.outcomes();
        let all = tp + fneg;
        let error = self.error([fneg / (all * all), -tp / (all * all)]);
        self.within(tp, all, error, self.n(), confidence)
    }

    /// Of the expected negatives, the share that was not answered as positive.
    pub fn specificity(&self, confidence: Confidence) -> Option<Estimate> {
        let [_, fp, tn, _] = self.outcomes();
        let all = fp + tn;
        let error = self.error([tn / (all * all), -fp / (all * all)]);
        self.within(tn, all, error, self.n(), confidence)
    }

    /// The harmonic mean of expected precision and recall.
    pub fn f1(&self, confidence: Confidence) -> Option<Estimate> {
        let [tp, fp, _, fneg] = self.outcomes();
        let answered = tp + fp;
        let all = answered + tp + fneg;
        let slopes = [
            2.0 * (answered + fneg) / (all * all),
            -2.0 * tp / (all * all),
        ];
        self.within(2.0 * tp, all, self.error(slopes), self.n(), confidence)
    }

    /// The standard error of a function of true positives and false negatives, from its slopes in
    /// both (the delta method): labels are independent of each other.
    fn error(&self, slopes: [f64; 2]) -> f64 {
        let positive = slopes[0] * slopes[0] * self.raw.answered_positive.variance;
        let negative = slopes[1] * slopes[1] * self.raw.answered_negative.variance;
        (positive + negative).sqrt()
    }

    fn within(
        &self,
        part: f64,
        all: f64,
        error: f64,
        n: u64,
        confidence: Confidence,
    ) -> Option<Estimate> {
        // Rounding may leave a little where nothing is.
        if all <= 1e-9 {
            return None;
        }
        Estimate::normal(
            (part / all).clamp(0.0, 1.0),
            error,
            n,
            confidence,
            [0.0, 1.0],
        )
    }

    /// The same, with the variance of probabilities that rest on so many labelled answers by score,
    /// in bins of equal width. The probability of a bin has the variance of a share after its
    /// labels were seen (a beta distribution, from a uniform one before): with none, nothing is
    /// known of it.
    pub(super) fn widened(&self, reference: &[u64], threshold: f64) -> Self {
        let mut widened = self.clone();
        let raw = &mut widened.raw;
        let width = SCORE_BINS / reference.len();
        let below = (threshold * SCORE_BINS as f64) as usize;
        for (number, labelled) in reference.iter().enumerate() {
            let first = number * width;
            let bins = &self.raw.bins[first..first + width];
            let (negative, positive) = bins.split_at(below.saturating_sub(first).min(width));
            let labelled = *labelled as f64;
            raw.answered_negative.variance += variance_of_calibration(negative, labelled);
            raw.answered_positive.variance += variance_of_calibration(positive, labelled);
        }
        widened
    }

    /// The expected area under the ROC curve, from scores in 512 bins.
    pub fn roc_auc(&self, confidence: Confidence) -> Option<Estimate> {
        ranked_area(&groups(self.raw.bins.iter().copied()), confidence)
    }

    /// The expected average precision, from scores in 512 bins.
    pub fn average_precision(&self) -> Option<f64> {
        ranked_precision(&groups(self.raw.bins.iter().copied()))
    }
}

/// The expected area under the ROC curve of scores with their calibrated probabilities, without
/// bins. `None` if the lengths differ or nothing is expected of a class.
pub fn expected_roc_auc(
    scores: &[f64],
    probabilities: &[f64],
    confidence: Confidence,
) -> Option<Estimate> {
    ranked_area(
        &groups(ascending(scores, probabilities)?.into_iter()),
        confidence,
    )
}

/// The expected average precision of scores with their calibrated probabilities, without bins.
/// `None` if the lengths differ or nothing is expected of the class.
pub fn expected_average_precision(scores: &[f64], probabilities: &[f64]) -> Option<f64> {
    ranked_precision(&groups(ascending(scores, probabilities)?.into_iter()))
}

/// Expected positives and negatives of each score, in ascending order.
fn ascending(scores: &[f64], probabilities: &[f64]) -> Option<Vec<[f64; 2]>> {
    let valid = probabilities
        .iter()
        .all(|probability| (0.0..=1.0).contains(probability));
    if scores.len() != probabilities.len() || !valid || scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    let mut pairs: Vec<(f64, f64)> = scores
        .iter()
        .copied()
        .zip(probabilities.iter().copied())
        .collect();
    pairs.sort_by(|one, other| one.0.total_cmp(&other.0));
    Some(
        pairs
            .into_iter()
            .map(|(_, probability)| [probability, 1.0 - probability])
            .collect(),
    )
}

/// The variance of how many positives are expected in bins whose probability rests on so many labels.
fn variance_of_calibration(bins: &[[f64; 2]], labelled: f64) -> f64 {
    let positives: f64 = bins.iter().map(|bin| bin[0]).sum();
    let rows = positives + bins.iter().map(|bin| bin[1]).sum::<f64>();
    if rows <= 0.0 {
        return 0.0;
    }
    let probability = (positives / rows * labelled + 1.0) / (labelled + 2.0);
    rows * rows * probability * (1.0 - probability) / (labelled + 3.0)
}

fn groups(counts: impl Iterator<Item = [f64; 2]>) -> Vec<Group> {
    counts
        .map(|[positives, negatives]| Group {
            positives,
            negatives,
        })
        .collect()
}

impl TryFrom<RawExpectedScores> for ExpectedScores {
    type Error = &'static str;

    fn try_from(raw: RawExpectedScores) -> Result<Self, Self::Error> {
        if raw.bins.len() != SCORE_BINS {
            return Err("expected scores have another number of bins");
        }
        Ok(Self { raw })
    }
}

impl From<ExpectedScores> for RawExpectedScores {
    fn from(scores: ExpectedScores) -> Self {
        scores.raw
    }
}
