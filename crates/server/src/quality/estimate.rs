//! What answers themselves say of how right they are, before their labels come.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::QualityTask;
use tidegate_datasets::{LabelTarget, truth};
use tidegate_quality::accuracy::{Confidence, Estimate};
use tidegate_quality::estimate::{
    ClassReference, ExpectedConfusion, ExpectedScores, ScoreReference,
};
use utoipa::ToSchema;

use super::counts::{AccuracyCounts, AccuracyMetric, Answered, class_place, highest};

/// How far outside of 0 to 1 a probability may lie.
const ROUNDING: f64 = 1e-5;
/// How far probabilities may be from a sum of 1: they are rounded.
const SUM_ERROR: f64 = 0.01;

/// What the estimates of a version rest on: labelled answers of an earlier time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reference {
    /// What labels were compared with.
    target: LabelTarget,
    /// The time of the last of its predictions, in milliseconds since 1970. Later ones are estimated.
    until_ms: u64,
    calibration: ReferenceCalibration,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReferenceCalibration {
    Scores(ScoreReference),
    Classes(ClassReference),
}

/// A labelled answer of probabilities.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    /// When it was predicted, in milliseconds since 1970.
    pub(super) at_ms: u64,
    /// What was answered.
    probabilities: Vec<f64>,
    /// The place of what came true; of a single probability, 1 if it did.
    actual: usize,
}

/// What is in an answer that estimates can be made of.
enum Probabilities<'a> {
    /// That of the class that matters.
    Positive(f64),
    /// Those of all classes.
    Classes(&'a [f64]),
}

/// The predictions after a reference: what is expected of them, and what their labels say.
#[derive(Clone, Debug)]
pub(super) struct Estimated {
    expected: Expected,
    /// The same predictions by their labels, as far as they have come.
    realized: AccuracyCounts,
}

#[derive(Clone, Debug)]
enum Expected {
    Scores(ExpectedScores),
    Classes(ExpectedConfusion),
}

/// A figure that was estimated without labels.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct EstimatedMetric {
    /// Its name, as that of the figure by labels.
    pub(super) name: &'static str,
    /// Its value.
    pub(super) value: f64,
    /// The lower end of its 95 % interval.
    pub(super) low: f64,
    /// The upper end of its 95 % interval.
    pub(super) high: f64,
    /// How many predictions it rests on.
    pub(super) n: u64,
    /// What labels say of the same predictions, as far as they have come.
    pub(super) realized: Option<AccuracyMetric>,
}

impl Sample {
    /// A labelled answer; `None` if it has no probabilities, or the label is none of its classes.
    pub(super) fn new(
        target: &LabelTarget,
        answered: &Answered<'_>,
        label: &Value,
        at_ms: u64,
    ) -> Option<Self> {
        Probabilities::of(target, answered)?;
        let Answered::Numbers(numbers) = answered else {
            return None;
        };
        let actual = match target.task {
            QualityTask::Probability => usize::from(truth(label)?),
            _ => class_place(target, &target.class(label)?, numbers.len())?,
        };
        Some(Self {
            at_ms,
            probabilities: numbers.to_vec(),
            actual,
        })
    }
}

impl<'a> Probabilities<'a> {
    fn of(target: &LabelTarget, answered: &'a Answered<'a>) -> Option<Self> {
        let Answered::Numbers(numbers) = answered else {
            return None;
        };
        // Sums of 32 bits, as forests make them, may end a little outside.
        let is_probability = |number: &f64| (-ROUNDING..=1.0 + ROUNDING).contains(number);
        if !numbers.iter().all(is_probability) {
            return None;
        }
        match (target.task, target.positive, numbers) {
            (QualityTask::Probability, _, [probability]) => {
                Some(Self::Positive(probability.clamp(0.0, 1.0)))
            }
            (QualityTask::Classes, Some(positive), [_, _]) => {
                Some(Self::Positive(numbers[positive].clamp(0.0, 1.0)))
            }
            (QualityTask::Classes, _, [_, _, ..]) => {
                let sum: f64 = numbers.iter().sum();
                ((sum - 1.0).abs() <= SUM_ERROR).then_some(Self::Classes(numbers))
            }
            _ => None,
        }
    }
}

impl Reference {
    /// Fits it on the earliest so many labelled answers; `None` if there are fewer. All that were
    /// predicted at the time of the last one belong to it.
    pub(super) fn fit(
        target: &LabelTarget,
        mut samples: Vec<Sample>,
        wanted: usize,
    ) -> Option<Self> {
        samples.sort_by_key(|sample| sample.at_ms);
        let until_ms = samples.get(wanted.checked_sub(1)?)?.at_ms;
        samples.retain(|sample| sample.at_ms <= until_ms);
        let calibration = match (target.task, target.positive) {
            (QualityTask::Probability, _) => Self::of_scores(&samples, 1),
            (_, Some(positive)) => Self::of_scores(&samples, positive),
            (_, None) => Self::of_classes(samples),
        };
        Some(Self {
            target: target.clone(),
            until_ms,
            calibration: calibration?,
        })
    }

    fn of_scores(samples: &[Sample], positive: usize) -> Option<ReferenceCalibration> {
        // A single probability is that of the class that matters.
        let score = |sample: &Sample| match sample.probabilities.as_slice() {
            [only] => *only,
            all => all[positive],
        };
        let scores: Vec<f64> = samples.iter().map(score).collect();
        let labels = samples.iter().map(|sample| sample.actual == positive);
        let labels: Vec<bool> = labels.collect();
        ScoreReference::fit(&scores, &labels).map(ReferenceCalibration::Scores)
    }

    fn of_classes(samples: Vec<Sample>) -> Option<ReferenceCalibration> {
        let samples = samples.into_iter();
        let (rows, actual): (Vec<Vec<f64>>, Vec<usize>) =
            samples.map(|one| (one.probabilities, one.actual)).unzip();
        ClassReference::fit(&rows, &actual).map(ReferenceCalibration::Classes)
    }

    /// Whether it says something about answers whose labels are compared with this.
    pub(super) fn is_of(&self, target: &LabelTarget) -> bool {
        self.target == *target
    }

    /// Whether a prediction is estimated, and not one of those that it was fitted on.
    pub(super) fn is_before(&self, at_ms: u64) -> bool {
        at_ms > self.until_ms
    }

    /// The time of the last of its predictions, in milliseconds since 1970.
    pub(super) fn until_ms(&self) -> u64 {
        self.until_ms
    }

    /// How many labels it rests on.
    pub(super) fn labels(&self) -> u64 {
        match &self.calibration {
            ReferenceCalibration::Scores(scores) => scores.n(),
            ReferenceCalibration::Classes(classes) => classes.n(),
        }
    }
}

impl Estimated {
    /// Nothing yet.
    pub(super) fn new(reference: &Reference) -> Self {
        let expected = match &reference.calibration {
            ReferenceCalibration::Scores(_) => Expected::Scores(ExpectedScores::default()),
            ReferenceCalibration::Classes(classes) => {
                Expected::Classes(ExpectedConfusion::new(classes.classes()))
            }
        };
        Self {
            expected,
            realized: AccuracyCounts::default(),
        }
    }

    /// Counts an answer, labelled or not. Those without probabilities are left out.
    pub(super) fn add_answer(&mut self, reference: &Reference, answered: &Answered<'_>) {
        let target = &reference.target;
        match (
            Probabilities::of(target, answered),
            &mut self.expected,
            &reference.calibration,
        ) {
            (
                Some(Probabilities::Positive(score)),
                Expected::Scores(expected),
                ReferenceCalibration::Scores(scores),
            ) => {
                if let Some(probability) = scores.probability(score) {
                    expected.add(score, probability, score >= target.threshold);
                }
            }
            (
                Some(Probabilities::Classes(row)),
                Expected::Classes(expected),
                ReferenceCalibration::Classes(classes),
            ) => {
                if let (Some(calibrated), Some(place)) = (classes.probabilities(row), highest(row))
                {
                    expected.add(&calibrated, place);
                }
            }
            _ => {}
        }
    }

    /// Counts the label of an answer.
    pub(super) fn add_label(
        &mut self,
        reference: &Reference,
        answered: &Answered<'_>,
        label: &Value,
        delay_s: f64,
    ) {
        let target = &reference.target;
        if Probabilities::of(target, answered).is_some() {
            self.realized.add(target, answered, label, delay_s);
        }
    }

    /// Adds what other hours have.
    pub(super) fn merge(&mut self, other: &Self) {
        match (&mut self.expected, &other.expected) {
            (Expected::Scores(expected), Expected::Scores(more)) => expected.merge(more),
            (Expected::Classes(expected), Expected::Classes(more)) => {
                // They are of one reference, and so of as many classes.
                let _ = expected.merge(more);
            }
            _ => return,
        }
        self.realized.merge(&other.realized);
    }

    /// Forgets the answers: they were counted with an earlier page of labels.
    pub(super) fn forget_answers(&mut self, reference: &Reference) {
        self.expected = Self::new(reference).expected;
    }

    /// What is expected, in the order of the figures by labels.
    pub(super) fn metrics(&self, reference: &Reference) -> Vec<EstimatedMetric> {
        let of = Confidence::default();
        let expected = match (&self.expected, &reference.calibration) {
            (Expected::Scores(expected), ReferenceCalibration::Scores(scores)) => {
                scores.metrics(expected, reference.target.threshold, of)
            }
            (Expected::Classes(expected), ReferenceCalibration::Classes(classes)) => {
                let accuracy = classes.accuracy(expected, of);
                accuracy.map(|one| ("accuracy", one)).into_iter().collect()
            }
            _ => Vec::new(),
        };
        let realized = self.realized.metrics();
        expected
            .into_iter()
            .map(|(name, estimate)| EstimatedMetric::new(name, estimate, &realized))
            .collect()
    }
}

impl EstimatedMetric {
    fn new(name: &'static str, estimate: Estimate, realized: &[AccuracyMetric]) -> Self {
        let Estimate {
            value,
            low,
            high,
            n,
        } = estimate;
        Self {
            name,
            value,
            low,
            high,
            n,
            realized: realized.iter().find(|one| one.name == name).cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target(classes: &[&str]) -> LabelTarget {
        LabelTarget {
            output: "output".to_owned(),
            task: QualityTask::Classes,
            classes: classes.iter().map(|&class| class.to_owned()).collect(),
            positive: (classes.len() == 2).then_some(1),
            threshold: 0.5,
        }
    }

    /// Labels that come true as often as the probabilities say.
    fn samples(target: &LabelTarget, count: u64) -> Vec<Sample> {
        let sample = |number: u64| {
            let probability = (number as f64 + 0.5) / count as f64;
            let label = json!(number * 7919 % count < number);
            let numbers = [1.0 - probability, probability];
            Sample::new(target, &Answered::Numbers(&numbers), &label, 1000 + number).unwrap()
        };
        (0..count).map(sample).collect()
    }

    #[test]
    fn the_earliest_labelled_answers_are_the_reference() {
        let fraud = target(&["legitimate", "fraud"]);
        assert_eq!(Reference::fit(&fraud, samples(&fraud, 99), 100), None);
        let mut reversed = samples(&fraud, 200);
        reversed.reverse();
        let reference = Reference::fit(&fraud, reversed, 100).unwrap();
        assert_eq!((reference.labels(), reference.until_ms()), (100, 1099));
        assert!(reference.is_before(1100) && !reference.is_before(1099));
        let text = serde_json::to_string(&reference).unwrap();
        assert_eq!(serde_json::from_str::<Reference>(&text).unwrap(), reference);
        assert!(!reference.is_of(&target(&["a", "b"])));
    }

    #[test]
    fn the_estimate_is_beside_what_labels_say_of_the_same_answers() {
        let fraud = target(&["legitimate", "fraud"]);
        let reference = Reference::fit(&fraud, samples(&fraud, 1000), 1000).unwrap();
        let mut estimated = Estimated::new(&reference);
        for answered in [[0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.45, 0.55]] {
            estimated.add_answer(&reference, &Answered::Numbers(&answered));
        }
        let accuracy = &estimated.metrics(&reference)[0];
        assert_eq!((accuracy.name, accuracy.n), ("accuracy", 4));
        assert!((accuracy.value - 0.81).abs() < 0.05, "{accuracy:?}");
        assert_eq!(accuracy.realized, None);
        let answered = Answered::Numbers(&[0.1, 0.9]);
        estimated.add_label(&reference, &answered, &json!("legitimate"), 1.0);
        let realized = estimated.metrics(&reference)[0].realized.clone().unwrap();
        assert_eq!((realized.value, realized.n), (0.0, 1));
    }

    #[test]
    fn answers_without_probabilities_have_no_estimate() {
        let of = |target: &LabelTarget, numbers: &[f64]| {
            Sample::new(target, &Answered::Numbers(numbers), &json!(0), 0).is_some()
        };
        let (two, three) = (target(&["a", "b"]), target(&["a", "b", "c"]));
        assert!(of(&two, &[0.3, 0.7]) && of(&three, &[0.2, 0.3, 0.5]));
        assert!(!of(&two, &[3.0, -2.0]) && !of(&three, &[0.9, 0.9, 0.9]));
        assert!(!of(&two, &[1.0]), "a class, and no probability");
        assert!(Sample::new(&two, &Answered::Text("a"), &json!(0), 0).is_none());
    }
}
