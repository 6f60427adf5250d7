//! Scores made into probabilities.

use serde::{Deserialize, Serialize};

use super::isotonic::Isotonic;
use crate::accuracy::{Confidence, roc_auc};

/// How many times the reference is split, as NannyML does it.
const SPLITS: usize = 10;
/// One of so many rows is held out.
const HELD_OUT: usize = 10;
/// Bins with equally many rows of the calibration error.
const ERROR_BINS: usize = 10;
/// Above this ROC-AUC scores are not calibrated: there are too few on the wrong side.
const SEPARATED: f64 = 0.999;

/// Makes scores into probabilities, if that was found to help on rows that were held out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// `None` if scores are better as they are.
    isotonic: Option<Isotonic>,
}

impl Calibration {
    /// Fits it on labelled scores between 0 and 1, which the model must not have been trained on.
    /// The calibration is used if the calibration error of held-out rows falls by it, over ten
    /// splits; they are the same for the same rows. `None` without rows, if the lengths differ, or
    /// if a score is not between 0 and 1.
    pub fn fit(scores: &[f64], positive: &[bool]) -> Option<Self> {
        let valid = scores.iter().all(|score| (0.0..=1.0).contains(score));
        if scores.is_empty() || scores.len() != positive.len() || !valid {
            return None;
        }
        let helps = calibration_helps(scores, positive);
        let isotonic = if helps {
            Isotonic::fit(&pairs(scores, positive))
        } else {
            None
        };
        Some(Self { isotonic })
    }

    /// The probability of a score. `None` if it is not between 0 and 1.
    pub fn probability(&self, score: f64) -> Option<f64> {
        match &self.isotonic {
            _ if !(0.0..=1.0).contains(&score) => None,
            Some(isotonic) => isotonic.value(score),
            None => Some(score),
        }
    }

    /// Whether scores are changed.
    pub fn changes_scores(&self) -> bool {
        self.isotonic.is_some()
    }
}

/// Scores with labels, 0 or 1.
type Pairs = Vec<(f64, f64)>;

fn pairs(scores: &[f64], positive: &[bool]) -> Pairs {
    let labels = positive
        .iter()
        .map(|&positive| f64::from(u8::from(positive)));
    scores.iter().copied().zip(labels).collect()
}

fn calibration_helps(scores: &[f64], positive: &[bool]) -> bool {
    // One class alone has no area.
    let area = roc_auc(scores, positive, Confidence::default());
    if area.is_none_or(|area| area.value > SEPARATED) {
        return false;
    }
    let pairs = pairs(scores, positive);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut random = SplitMix(42);
    for _ in 0..SPLITS {
        let (fitted, held_out) = split(&pairs, &mut random);
        let Some(isotonic) = Isotonic::fit(&fitted) else {
            return false;
        };
        for (score, label) in held_out {
            before.push((score, label));
            after.extend(
                isotonic
                    .value(score)
                    .map(|probability| (probability, label)),
            );
        }
    }
    let (before, after) = (expected_error(before), expected_error(after));
    before
        .zip(after)
        .is_some_and(|(before, after)| before > after)
}

/// A tenth of either class is held out.
fn split(pairs: &[(f64, f64)], random: &mut SplitMix) -> (Pairs, Pairs) {
    let (mut fitted, mut held_out) = (Vec::new(), Vec::new());
    for class in [0.0, 1.0] {
        let mut rows: Vec<(f64, f64)> = pairs
            .iter()
            .copied()
            .filter(|pair| pair.1 == class)
            .collect();
        random.shuffle(&mut rows);
        let kept = rows.len() - rows.len().div_ceil(HELD_OUT);
        held_out.extend(rows.drain(kept..));
        fitted.append(&mut rows);
    }
    (fitted, held_out)
}

/// The calibration error in bins with equally many rows; the last one also has the rest.
fn expected_error(mut pairs: Pairs) -> Option<f64> {
    pairs.sort_by(|one, other| one.0.total_cmp(&other.0));
    let bins = if pairs.len() <= 2 * ERROR_BINS {
        pairs.len() / 2
    } else {
        ERROR_BINS
    };
    if bins < 2 {
        return None;
    }
    let width = pairs.len() / bins;
    let distance = |bin: usize| {
        let end = if bin + 1 == bins {
            pairs.len()
        } else {
            (bin + 1) * width
        };
        let apart: f64 = pairs[bin * width..end]
            .iter()
            .map(|pair| pair.0 - pair.1)
            .sum();
        apart.abs()
    };
    Some((0..bins).map(distance).sum::<f64>() / pairs.len() as f64)
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): the
/// same splits for the same rows, on every machine.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, (self.next() % (end as u64 + 1)) as usize);
        }
    }
}
