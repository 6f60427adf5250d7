//! Labelled predictions, counted.

use serde::Serialize;
use serde_json::Value;
use tidegate_core::QualityTask;
use tidegate_datasets::{LabelTarget, truth};
use tidegate_quality::Moments;
use tidegate_quality::accuracy::{
    BinaryScores, ClassAccuracy, ClassProbabilities, Confidence, Confusion, Estimate, Regression,
};
use utoipa::ToSchema;

use super::estimate::Estimated;

/// The predictions of a version in some hours, and what their labels say. Can be merged.
#[derive(Clone, Debug, Default)]
pub(super) struct AccuracyCounts {
    /// Captured rows.
    pub(super) predictions: u64,
    /// Rows with a label.
    pub(super) labelled: u64,
    /// Labels that are none of the version's classes, or no number where one is predicted.
    pub(super) unusable: u64,
    /// From a prediction to its label, in seconds.
    delay_s: Moments,
    confusion: Confusion,
    probabilities: ClassProbabilities,
    scores: Option<BinaryScores>,
    numbers: Regression,
    /// The predictions after the reference of the version, if it has one.
    pub(super) estimated: Option<Box<Estimated>>,
}

/// What a row has answered.
pub(super) enum Answered<'a> {
    /// A number for each class, or a single one.
    Numbers(&'a [f64]),
    /// A class.
    Text(&'a str),
}

impl AccuracyCounts {
    /// Counts a label with what was answered.
    pub(super) fn add(
        &mut self,
        target: &LabelTarget,
        answered: &Answered<'_>,
        label: &Value,
        delay_s: f64,
    ) {
        self.labelled += 1;
        self.delay_s.add(delay_s.max(0.0));
        let counted = match target.task {
            QualityTask::Number => self.add_number(answered, label),
            QualityTask::Probability => self.add_probability(target, answered, label),
            QualityTask::Classes => self.add_class(target, answered, label),
        };
        if counted.is_none() {
            self.unusable += 1;
        }
    }

    fn add_number(&mut self, answered: &Answered<'_>, label: &Value) -> Option<()> {
        let Answered::Numbers([predicted]) = answered else {
            return None;
        };
        self.numbers.add(*predicted, label.as_f64()?);
        Some(())
    }

    fn add_probability(
        &mut self,
        target: &LabelTarget,
        answered: &Answered<'_>,
        label: &Value,
    ) -> Option<()> {
        let Answered::Numbers([probability]) = answered else {
            return None;
        };
        let probability = *probability;
        let is_true = truth(label)?;
        self.scores_at(target.threshold)?.add(probability, is_true);
        let text = |is_true: bool| if is_true { "true" } else { "false" };
        let answered = text(probability >= target.threshold);
        self.confusion.add(answered, text(is_true));
        Some(())
    }

    fn add_class(
        &mut self,
        target: &LabelTarget,
        answered: &Answered<'_>,
        label: &Value,
    ) -> Option<()> {
        let actual = target.class(label)?;
        let numbers = match answered {
            Answered::Text(class) => {
                self.confusion.add(class, &actual);
                return Some(());
            }
            // The class itself.
            Answered::Numbers([class]) => {
                let class = Value::Number(serde_json::Number::from_f64(*class)?);
                self.confusion.add(&target.class(&class)?, &actual);
                return Some(());
            }
            Answered::Numbers(numbers) => numbers,
        };
        let place = class_place(target, &actual, numbers.len())?;
        let answered = match (target.positive, numbers) {
            // Logits are compared with each other, and with no threshold.
            (Some(positive), [one, other]) if is_share(*one) && is_share(*other) => {
                let probability = numbers[positive];
                self.scores_at(target.threshold)?
                    .add(probability, place == positive);
                if probability >= target.threshold {
                    positive
                } else {
                    1 - positive
                }
            }
            _ => highest(numbers)?,
        };
        self.probabilities.add(numbers, place);
        let name = target.classes.get(answered);
        let name = name.map_or_else(|| answered.to_string(), Clone::clone);
        self.confusion.add(&name, &actual);
        Some(())
    }

    fn scores_at(&mut self, threshold: f64) -> Option<&mut BinaryScores> {
        if self.scores.is_none() {
            self.scores = BinaryScores::new(threshold);
        }
        self.scores.as_mut()
    }

    /// Adds what other hours have.
    pub(super) fn merge(&mut self, other: &Self) {
        self.predictions += other.predictions;
        self.labelled += other.labelled;
        self.unusable += other.unusable;
        self.delay_s.merge(&other.delay_s);
        self.confusion.merge(&other.confusion);
        self.probabilities.merge(&other.probabilities);
        self.numbers.merge(&other.numbers);
        match (&mut self.estimated, &other.estimated) {
            (Some(estimated), Some(more)) => estimated.merge(more),
            (None, more) => self.estimated.clone_from(more),
            (Some(_), None) => {}
        }
        match (&mut self.scores, &other.scores) {
            (Some(scores), Some(more)) => {
                // Hours before the threshold was changed cannot be counted with those after.
                let _ = scores.merge(more);
            }
            (None, more) => self.scores.clone_from(more),
            (Some(_), None) => {}
        }
    }

    /// What the labels say, in this order.
    pub(super) fn metrics(&self) -> Vec<AccuracyMetric> {
        let of = Confidence::default();
        let mut metrics = Vec::new();
        let mut add = |name: &'static str, estimate: Option<Estimate>| {
            metrics.extend(estimate.map(|estimate| AccuracyMetric::new(name, estimate)));
        };
        add("accuracy", self.confusion.accuracy(of));
        if let Some(scores) = &self.scores {
            add("positive_rate", positive_rate(scores, of));
            add("precision", scores.precision(of));
            add("recall", scores.recall(of));
            add("specificity", scores.specificity(of));
            add("f1", scores.f1(of));
            add("roc_auc", roc_auc(scores, of));
            add("brier", scores.brier(of));
        }
        let log_loss = self.scores.as_ref().and_then(|scores| scores.log_loss(of));
        add(
            "log_loss",
            log_loss.or_else(|| self.probabilities.log_loss(of)),
        );
        add("mae", self.numbers.mae(of));
        add("rmse", self.numbers.rmse(of));
        add("mape", self.numbers.mape(of));
        add("bias", self.numbers.bias(of));
        metrics
    }

    /// How often each class was answered for each true class.
    pub(super) fn confusion(&self) -> Option<ConfusionTable> {
        (self.confusion.n() > 0).then(|| ConfusionTable {
            classes: self.confusion.classes().to_vec(),
            counts: self.confusion.counts().to_vec(),
        })
    }

    /// The accuracy for each class, where there are more than two.
    pub(super) fn by_class(&self) -> Vec<ClassAccuracy> {
        self.confusion.by_class(Confidence::default())
    }

    /// From a prediction to its label, on average.
    pub(super) fn mean_delay_s(&self) -> Option<f64> {
        self.delay_s.mean()
    }
}

/// The share of answers that are for the class that matters: what differs between groups of people if
/// they are not selected equally often.
fn positive_rate(scores: &BinaryScores, of: Confidence) -> Option<Estimate> {
    let [true_positives, false_positives, ..] = scores.outcomes();
    Estimate::share(true_positives + false_positives, scores.n(), of)
}

/// The area under the ROC curve. Its interval covers also what the bins of the scores may be off by.
fn roc_auc(scores: &BinaryScores, of: Confidence) -> Option<Estimate> {
    let area = scores.roc_auc(of)?;
    let error = scores.roc_auc_error().unwrap_or(0.0);
    Some(Estimate {
        low: (area.low - error).max(0.0),
        high: (area.high + error).min(1.0),
        ..area
    })
}

/// One figure of accuracy, with its interval.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct AccuracyMetric {
    /// Its name, such as `accuracy` or `mae`.
    pub(super) name: &'static str,
    /// Its value.
    pub(super) value: f64,
    /// The lower end of its 95 % interval.
    pub(super) low: f64,
    /// The upper end of its 95 % interval.
    pub(super) high: f64,
    /// How many labels it rests on.
    pub(super) n: u64,
}

impl AccuracyMetric {
    fn new(name: &'static str, estimate: Estimate) -> Self {
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
        }
    }
}

/// A row for each answered class, with a count for each true one.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct ConfusionTable {
    pub(super) classes: Vec<String>,
    pub(super) counts: Vec<Vec<u64>>,
}

/// The place of a class among so many; those without names are numbered.
pub(super) fn class_place(target: &LabelTarget, class: &str, count: usize) -> Option<usize> {
    let place = match target.classes.is_empty() {
        true => class.parse().ok(),
        false => target.classes.iter().position(|name| name == class),
    };
    place.filter(|place| *place < count)
}

fn is_share(number: f64) -> bool {
    (0.0..=1.0).contains(&number)
}

/// The place of the highest number; `None` if one is NaN.
pub(super) fn highest(numbers: &[f64]) -> Option<usize> {
    let mut best = 0;
    for (place, number) in numbers.iter().enumerate() {
        if number.is_nan() {
            return None;
        }
        if *number > numbers[best] {
            best = place;
        }
    }
    Some(best)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target(task: QualityTask, classes: &[&str]) -> LabelTarget {
        LabelTarget {
            output: "output".to_owned(),
            task,
            classes: classes.iter().map(|&class| class.to_owned()).collect(),
            positive: (classes.len() == 2).then_some(1),
            threshold: 0.5,
        }
    }

    fn value(counts: &AccuracyCounts, name: &str) -> f64 {
        let metrics = counts.metrics();
        metrics
            .iter()
            .find(|metric| metric.name == name)
            .unwrap()
            .value
    }

    #[test]
    fn two_classes_have_precision_and_recall_of_the_one_that_matters() {
        let fraud = target(QualityTask::Classes, &["legitimate", "fraud"]);
        let mut counts = AccuracyCounts::default();
        for (probability, label) in [
            (0.9, "fraud"),
            (0.6, "legitimate"),
            (0.2, "fraud"),
            (0.1, "legitimate"),
        ] {
            let answered = Answered::Numbers(&[1.0 - probability, probability]);
            counts.add(&fraud, &answered, &json!(label), 2.0);
        }
        assert_eq!(value(&counts, "accuracy"), 0.5);
        assert_eq!(
            (value(&counts, "precision"), value(&counts, "recall")),
            (0.5, 0.5)
        );
        assert_eq!(value(&counts, "roc_auc"), 0.75);
        assert_eq!(counts.mean_delay_s(), Some(2.0));
    }

    #[test]
    fn logits_are_compared_with_each_other() {
        let fraud = target(QualityTask::Classes, &["legitimate", "fraud"]);
        let mut counts = AccuracyCounts::default();
        counts.add(&fraud, &Answered::Numbers(&[3.0, 2.0]), &json!(0), 0.0);
        assert_eq!(value(&counts, "accuracy"), 1.0);
        assert!(
            counts
                .metrics()
                .iter()
                .all(|metric| metric.name != "precision")
        );
    }

    #[test]
    fn a_single_number_is_a_class() {
        let named = target(QualityTask::Classes, &["cat", "dog"]);
        let mut counts = AccuracyCounts::default();
        counts.add(&named, &Answered::Numbers(&[1.0]), &json!("dog"), 0.0);
        assert_eq!(value(&counts, "accuracy"), 1.0);
    }

    #[test]
    fn labels_that_name_no_class_are_counted_apart() {
        let digits = target(QualityTask::Classes, &["0", "1", "2"]);
        let mut counts = AccuracyCounts::default();
        let answered = Answered::Numbers(&[0.1, 0.2, 0.7]);
        counts.add(&digits, &answered, &json!("2"), 0.0);
        counts.add(&digits, &answered, &json!("two"), 0.0);
        assert_eq!((counts.labelled, counts.unusable), (2, 1));
        assert_eq!(value(&counts, "accuracy"), 1.0);
    }

    #[test]
    fn numbers_have_errors() {
        let price = target(QualityTask::Number, &[]);
        let mut counts = AccuracyCounts::default();
        counts.add(&price, &Answered::Numbers(&[10.0]), &json!(12), 0.0);
        counts.add(&price, &Answered::Numbers(&[10.0]), &json!(9), 0.0);
        assert_eq!(value(&counts, "mae"), 1.5);
        assert_eq!(value(&counts, "bias"), -0.5);
    }

    #[test]
    fn hours_add_up() {
        let fraud = target(QualityTask::Classes, &["legitimate", "fraud"]);
        let (mut one, mut other) = (AccuracyCounts::default(), AccuracyCounts::default());
        one.add(&fraud, &Answered::Numbers(&[0.1, 0.9]), &json!(1), 1.0);
        other.add(&fraud, &Answered::Numbers(&[0.1, 0.9]), &json!(0), 3.0);
        one.merge(&other);
        assert_eq!((one.labelled, value(&one, "accuracy")), (2, 0.5));
        assert_eq!(one.mean_delay_s(), Some(2.0));
    }
}
