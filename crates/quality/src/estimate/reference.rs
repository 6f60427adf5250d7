//! Calibrations together with the labelled answers that they rest on.

use serde::{Deserialize, Serialize};

use super::binary::ExpectedScores;
use super::calibration::Calibration;
use super::classes::{ClassCalibration, ExpectedConfusion};
use crate::accuracy::{Confidence, Estimate, roc_auc};

/// Bins of equal width in which the labelled scores are counted. It divides the number of bins of
/// [`ExpectedScores`].
const BINS: usize = 32;

/// The calibration of scores of a positive class, and how many labelled answers it rests on by
/// score. Its intervals cover both that labels are random and that the calibration is: they widen
/// where the reference has few answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreReference {
    calibration: Calibration,
    /// Labelled answers by score.
    rows: Vec<u64>,
    /// How far the ROC-AUC of the labelled answers may be off; `None` of one class alone.
    roc_auc_error: Option<f64>,
}

impl ScoreReference {
    /// Fits it on labelled scores between 0 and 1, which the model must not have been trained on.
    /// `None` where [`Calibration::fit`] gives none.
    pub fn fit(scores: &[f64], positive: &[bool]) -> Option<Self> {
        let calibration = Calibration::fit(scores, positive)?;
        let mut rows = vec![0; BINS];
        for score in scores {
            rows[((score * BINS as f64) as usize).min(BINS - 1)] += 1;
        }
        let area = roc_auc(scores, positive, Confidence::default());
        let error = |area: Estimate| (area.high - area.value).max(area.value - area.low);
        Some(Self {
            calibration,
            rows,
            roc_auc_error: area.map(error),
        })
    }

    /// How many labelled answers it rests on.
    pub fn n(&self) -> u64 {
        self.rows.iter().sum()
    }

    /// The probability of a score. `None` if it is not between 0 and 1.
    pub fn probability(&self, score: f64) -> Option<f64> {
        self.calibration.probability(score)
    }

    /// What is expected of answers whose probabilities are those of this calibration, by the names
    /// that figures by labels have. Answers are positive from `threshold` on.
    pub fn metrics(
        &self,
        expected: &ExpectedScores,
        threshold: f64,
        confidence: Confidence,
    ) -> Vec<(&'static str, Estimate)> {
        let widened = expected.widened(&self.rows, threshold);
        let all = [
            ("accuracy", widened.accuracy(confidence)),
            ("precision", widened.precision(confidence)),
            ("recall", widened.recall(confidence)),
            ("specificity", widened.specificity(confidence)),
            ("f1", widened.f1(confidence)),
            ("roc_auc", self.roc_auc(expected, confidence)),
        ];
        all.into_iter()
            .filter_map(|(name, estimate)| Some((name, estimate?)))
            .collect()
    }

    /// The error of the reference is independent of that of the labels that will come.
    fn roc_auc(&self, expected: &ExpectedScores, confidence: Confidence) -> Option<Estimate> {
        let (area, error) = (expected.roc_auc(confidence)?, self.roc_auc_error?);
        Some(Estimate {
            low: (area.value - (area.value - area.low).hypot(error)).max(0.0),
            high: (area.value + (area.high - area.value).hypot(error)).min(1.0),
            ..area
        })
    }
}

/// The calibration of probabilities of many classes, and how many labelled answers it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassReference {
    calibration: ClassCalibration,
    rows: u64,
}

impl ClassReference {
    /// Fits it on rows of probabilities, one for each class, and the numbers of the true classes.
    /// `None` where [`ClassCalibration::fit`] gives none.
    pub fn fit(rows: &[Vec<f64>], actual: &[usize]) -> Option<Self> {
        Some(Self {
            calibration: ClassCalibration::fit(rows, actual)?,
            rows: rows.len() as u64,
        })
    }

    /// How many labelled answers it rests on.
    pub fn n(&self) -> u64 {
        self.rows
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.calibration.classes()
    }

    /// The calibrated probabilities, as [`ClassCalibration::probabilities`] gives them.
    pub fn probabilities(&self, row: &[f64]) -> Option<Vec<f64>> {
        self.calibration.probabilities(row)
    }

    /// The expected share of right answers. Its interval covers also what the labelled answers of
    /// the reference may be off by.
    pub fn accuracy(
        &self,
        expected: &ExpectedConfusion,
        confidence: Confidence,
    ) -> Option<Estimate> {
        let accuracy = expected.accuracy(confidence)?;
        let reference = Estimate::of_share(accuracy.value, self.rows, confidence)?;
        Some(
            Estimate {
                low: accuracy.value
                    - (accuracy.value - accuracy.low).hypot(reference.value - reference.low),
                high: accuracy.value
                    + (accuracy.high - accuracy.value).hypot(reference.high - reference.value),
                ..accuracy
            }
            .within_one(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(rows: usize) -> ScoreReference {
        let scores: Vec<f64> = (0..rows).map(|i| (i as f64 + 0.5) / rows as f64).collect();
        // Right as they are: each label comes true as often as its score says.
        let labels: Vec<bool> = (0..rows).map(|i| i * 7919 % rows < i).collect();
        ScoreReference::fit(&scores, &labels).unwrap()
    }

    fn accuracy(reference: &ScoreReference, scores: impl Iterator<Item = f64>) -> Estimate {
        let mut expected = ExpectedScores::default();
        for score in scores {
            expected.add(score, reference.probability(score).unwrap(), score >= 0.5);
        }
        reference.metrics(&expected, 0.5, Confidence::default())[0].1
    }

    fn width(estimate: Estimate) -> f64 {
        estimate.high - estimate.low
    }

    #[test]
    fn intervals_narrow_with_labels_and_with_answers() {
        let scores = |rows: usize| (0..rows).map(move |i| (i as f64 + 0.5) / rows as f64);
        let (few, many) = (reference(100), reference(10_000));
        assert_eq!((few.n(), many.n()), (100, 10_000));
        let of_many = accuracy(&many, scores(10_000));
        assert!((of_many.value - 0.75).abs() < 0.02, "{of_many:?}");
        assert!(width(accuracy(&few, scores(10_000))) > 5.0 * width(of_many));
        assert!(width(accuracy(&many, scores(100))) > 5.0 * width(of_many));
    }

    #[test]
    fn answers_unlike_all_of_the_reference_have_wide_intervals() {
        let low: Vec<f64> = (0..1000).map(|i| f64::from(i) / 2000.0).collect();
        let labels: Vec<bool> = (0..1000).map(|i| i * 7919 % 2000 < i).collect();
        let reference = ScoreReference::fit(&low, &labels).unwrap();
        let known = accuracy(&reference, low.iter().copied());
        let unknown = accuracy(&reference, (0..1000).map(|i| 0.8 + f64::from(i) / 10_000.0));
        assert!(
            width(known) < 0.1 && width(unknown) > 0.4,
            "{known:?} {unknown:?}"
        );
    }

    #[test]
    fn many_classes_have_an_accuracy() {
        let rows: Vec<Vec<f64>> = (0..300).map(|_| vec![0.8, 0.1, 0.1]).collect();
        let actual: Vec<usize> = (0..300)
            .map(|i| if i % 5 == 0 { 1 + i % 2 } else { 0 })
            .collect();
        let reference = ClassReference::fit(&rows, &actual).unwrap();
        let mut expected = ExpectedConfusion::new(3);
        for row in &rows {
            expected.add(&reference.probabilities(row).unwrap(), 0);
        }
        let accuracy = reference
            .accuracy(&expected, Confidence::default())
            .unwrap();
        assert!((accuracy.value - 0.8).abs() < 1e-9 && accuracy.n == 300);
        assert!(accuracy.low < 0.76 && accuracy.high > 0.83, "{accuracy:?}");
    }
}
