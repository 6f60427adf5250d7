//! Scores of a positive class.

use serde::{Deserialize, Serialize};

use super::calibration::CalibrationBins;
use super::estimate::{Confidence, Estimate};
use super::ranked::{self, Group};
use crate::moments::Moments;

/// How many bins of equal width the scores are counted in.
const SCORE_BINS: usize = 512;

/// Probabilities of a positive class with the labels that came later, in a fixed size of some kB.
///
/// All results are exact but for the two areas, which come from scores in 512 bins:
/// [`BinaryScores::roc_auc_error`] says by how much that can be off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawBinaryScores", into = "RawBinaryScores")]
pub struct BinaryScores {
    raw: RawBinaryScores,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBinaryScores {
    threshold: f64,
    true_positives: u64,
    false_positives: u64,
    true_negatives: u64,
    false_negatives: u64,
    /// Scores that are no probabilities.
    invalid: u64,
    log_loss: Moments,
    brier: Moments,
    calibration: CalibrationBins,
    positives: Vec<u64>,
    negatives: Vec<u64>,
}

impl BinaryScores {
    /// Scores of at least `threshold` are answers for the class. `None` if it is not between 0 and
    /// 1.
    pub fn new(threshold: f64) -> Option<Self> {
        let raw = RawBinaryScores {
            threshold,
            true_positives: 0,
            false_positives: 0,
            true_negatives: 0,
            false_negatives: 0,
            invalid: 0,
            log_loss: Moments::default(),
            brier: Moments::default(),
            calibration: CalibrationBins::default(),
            positives: vec![0; SCORE_BINS],
            negatives: vec![0; SCORE_BINS],
        };
        (0.0..=1.0).contains(&threshold).then_some(Self { raw })
    }

    /// Counts a labelled score.
    pub fn add(&mut self, score: f64, positive: bool) {
        let raw = &mut self.raw;
        if !(0.0..=1.0).contains(&score) {
            increase(&mut raw.invalid, 1);
            return;
        }
        let outcome = match (score >= raw.threshold, positive) {
            (true, true) => &mut raw.true_positives,
            (true, false) => &mut raw.false_positives,
            (false, false) => &mut raw.true_negatives,
            (false, true) => &mut raw.false_negatives,
        };
        increase(outcome, 1);
        // Bounded as scikit-learn does it, so that one certain mistake is not infinite.
        let likelihood = if positive { score } else { 1.0 - score };
        raw.log_loss
            .add(-likelihood.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln());
        raw.brier
            .add((score - f64::from(u8::from(positive))).powi(2));
        raw.calibration.add(score, positive);
        let bins = if positive {
            &mut raw.positives
        } else {
            &mut raw.negatives
        };
        let bin = ((score * SCORE_BINS as f64) as usize).min(SCORE_BINS - 1);
        increase(&mut bins[bin], 1);
    }

    /// Adds what another with the same threshold has. `None`, and nothing is added, if it has
    /// another one.
    #[must_use]
    pub fn merge(&mut self, other: &Self) -> Option<()> {
        let (raw, other) = (&mut self.raw, &other.raw);
        if raw.threshold != other.threshold {
            return None;
        }
        increase(&mut raw.true_positives, other.true_positives);
        increase(&mut raw.false_positives, other.false_positives);
        increase(&mut raw.true_negatives, other.true_negatives);
        increase(&mut raw.false_negatives, other.false_negatives);
        increase(&mut raw.invalid, other.invalid);
        raw.log_loss.merge(&other.log_loss);
        raw.brier.merge(&other.brier);
        raw.calibration.merge(&other.calibration);
        for (bins, more) in [
            (&mut raw.positives, &other.positives),
            (&mut raw.negatives, &other.negatives),
        ] {
            bins.iter_mut()
                .zip(more)
                .for_each(|(count, &more)| increase(count, more));
        }
        Some(())
    }

    /// How many labelled scores were counted.
    pub fn n(&self) -> u64 {
        let raw = &self.raw;
        let counts = [raw.true_positives, raw.false_positives, raw.true_negatives];
        counts
            .into_iter()
            .fold(raw.false_negatives, u64::saturating_add)
    }

    /// How many scores were NaN or not between 0 and 1: they are in no result.
    pub fn invalid(&self) -> u64 {
        self.raw.invalid
    }

    /// True positives, false positives, true negatives, false negatives.
    pub fn outcomes(&self) -> [u64; 4] {
        let raw = &self.raw;
        [
            raw.true_positives,
            raw.false_positives,
            raw.true_negatives,
            raw.false_negatives,
        ]
    }

    /// The share of right answers.
    pub fn accuracy(&self, confidence: Confidence) -> Option<Estimate> {
        let [tp, _, tn, _] = self.outcomes();
        Estimate::share(tp.saturating_add(tn), self.n(), confidence)
    }

    /// Of the positive answers, the share that is right.
    pub fn precision(&self, confidence: Confidence) -> Option<Estimate> {
        let [tp, fp, ..] = self.outcomes();
        Estimate::share(tp, tp.saturating_add(fp), confidence)
    }

    /// Of the positives, the share that was found: the true positive rate.
    pub fn recall(&self, confidence: Confidence) -> Option<Estimate> {
        let [tp, _, _, fneg] = self.outcomes();
        Estimate::share(tp, tp.saturating_add(fneg), confidence)
    }

    /// Of the negatives, the share that was not answered as positive.
    pub fn specificity(&self, confidence: Confidence) -> Option<Estimate> {
        let [_, fp, tn, _] = self.outcomes();
        Estimate::share(tn, tn.saturating_add(fp), confidence)
    }

    /// The harmonic mean of precision and recall.
    pub fn f1(&self, confidence: Confidence) -> Option<Estimate> {
        let [tp, fp, _, fneg] = self.outcomes();
        let either = tp.saturating_add(fp).saturating_add(fneg);
        Estimate::share(tp, either, confidence)?.map(|share| 2.0 * share / (1.0 + share))
    }

    /// The mean of `-ln` of the probability of what came true.
    pub fn log_loss(&self, confidence: Confidence) -> Option<Estimate> {
        Estimate::mean(&self.raw.log_loss, confidence)
    }

    /// The mean squared distance of the probability from the label (Brier 1950).
    pub fn brier(&self, confidence: Confidence) -> Option<Estimate> {
        Estimate::mean(&self.raw.brier, confidence)
    }

    /// Whether the probabilities are what they say.
    pub fn calibration(&self) -> &CalibrationBins {
        &self.raw.calibration
    }

    /// The area under the ROC curve: see [`roc_auc`](super::roc_auc).
    pub fn roc_auc(&self, confidence: Confidence) -> Option<Estimate> {
        ranked::area(&self.groups(), confidence)
    }

    /// By how much [`BinaryScores::roc_auc`] can be off, as scores in one bin count as equal.
    pub fn roc_auc_error(&self) -> Option<f64> {
        let groups = self.groups();
        let positives: f64 = groups.iter().map(|group| group.positives).sum();
        let negatives: f64 = groups.iter().map(|group| group.negatives).sum();
        let pairs = positives * negatives;
        let equal: f64 = groups
            .iter()
            .map(|group| group.positives * group.negatives)
            .sum();
        (pairs > 0.0).then_some(equal / pairs / 2.0)
    }

    /// The average precision: see [`average_precision`](super::average_precision).
    pub fn average_precision(&self) -> Option<f64> {
        ranked::precision(&self.groups())
    }

    fn groups(&self) -> Vec<Group> {
        let bins = self.raw.positives.iter().zip(&self.raw.negatives);
        let group = |(&positives, &negatives): (&u64, &u64)| Group {
            positives: positives as f64,
            negatives: negatives as f64,
        };
        bins.map(group).collect()
    }
}

fn increase(count: &mut u64, by: u64) {
    *count = count.saturating_add(by);
}

impl TryFrom<RawBinaryScores> for BinaryScores {
    type Error = &'static str;

    fn try_from(raw: RawBinaryScores) -> Result<Self, Self::Error> {
        if raw.positives.len() != SCORE_BINS || raw.negatives.len() != SCORE_BINS {
            return Err("scores have another number of bins");
        }
        Ok(Self { raw })
    }
}

impl From<BinaryScores> for RawBinaryScores {
    fn from(scores: BinaryScores) -> Self {
        scores.raw
    }
}
