//! Estimated accuracy against NannyML, on the data sets that come with it.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use common::{assert_close, assert_maybe_close, numbers, read};
use proptest::prelude::*;
use serde_json::Value;
use tidegate_quality::accuracy::{Confidence, Estimate};
use tidegate_quality::estimate::*;

fn confidence() -> Confidence {
    Confidence::default()
}

/// Rows of a score and a label, each as often as it was there.
fn rows(value: &Value) -> (Vec<f64>, Vec<bool>) {
    let (mut scores, mut labels) = (Vec::new(), Vec::new());
    for row in value.as_array().unwrap() {
        for _ in 0..row[2].as_u64().unwrap() {
            scores.push(row[0].as_f64().unwrap());
            labels.push(row[1] == 1);
        }
    }
    (scores, labels)
}

#[track_caller]
fn assert_value(ours: Option<Estimate>, theirs: &Value) {
    assert_maybe_close(ours.map(|estimate| estimate.value), theirs);
}

#[test]
fn estimates_of_a_class_are_those_of_nannyml() {
    for case in read("estimate")["binary"].as_array().unwrap() {
        let (scores, labels) = rows(&case["reference"]);
        assert_eq!(scores.len(), 50_000);
        let calibration = Calibration::fit(&scores, &labels).unwrap();
        assert!(calibration.changes_scores());
        for chunk in case["chunks"].as_array().unwrap() {
            let (scores, answered) = rows(&chunk["rows"]);
            let probability = |&score: &f64| calibration.probability(score).unwrap();
            let probabilities: Vec<f64> = scores.iter().map(probability).collect();
            let mut expected = ExpectedScores::default();
            for ((score, probability), answered) in scores.iter().zip(&probabilities).zip(answered)
            {
                expected.add(*score, *probability, answered);
            }
            let theirs = &chunk["estimates"];
            assert_value(expected.accuracy(confidence()), &theirs[0]);
            assert_value(expected.precision(confidence()), &theirs[1]);
            assert_value(expected.recall(confidence()), &theirs[2]);
            assert_value(expected.specificity(confidence()), &theirs[3]);
            assert_value(expected.f1(confidence()), &theirs[4]);
            // It rounds counts to five decimals on the way to the areas; else they are equal.
            let area = expected_roc_auc(&scores, &probabilities, confidence())
                .unwrap()
                .value;
            let precision = expected_average_precision(&scores, &probabilities).unwrap();
            assert_close(area, &chunk["unrounded"][0]);
            assert_close(precision, &chunk["unrounded"][1]);
            assert!((area - theirs[5].as_f64().unwrap()).abs() < 1e-7);
            assert!((precision - theirs[6].as_f64().unwrap()).abs() < 1e-7);
            // Scores of two decimals fall into bins of their own, but for the order within them.
            let binned = expected.roc_auc(confidence()).unwrap().value;
            assert!((binned - area).abs() < 1e-9, "{binned} {area}");
        }
    }
}

#[test]
fn isotonic_regression_is_that_of_scikit_learn() {
    let reference = &read("estimate")["isotonic"];
    let pairs: Vec<(f64, f64)> = numbers(&reference["x"])
        .into_iter()
        .zip(numbers(&reference["y"]))
        .collect();
    let isotonic = Isotonic::fit(&pairs).unwrap();
    let read: Isotonic = serde_json::from_str(&serde_json::to_string(&isotonic).unwrap()).unwrap();
    let values = reference["values"].as_array().unwrap();
    for (at, theirs) in numbers(&reference["at"]).into_iter().zip(values) {
        assert_close(isotonic.value(at).unwrap(), theirs);
        assert_close(read.value(at).unwrap(), theirs);
    }
    assert_eq!(isotonic.value(f64::NAN), None);
    assert_eq!(
        (Isotonic::fit(&[]), Isotonic::fit(&[(f64::NAN, 1.0)])),
        (None, None)
    );
    assert!(serde_json::from_str::<Isotonic>("[[1, 0.5], [0, 0.7]]").is_err());
}

#[test]
fn estimates_of_classes_are_those_of_nannyml() {
    let reference = &read("estimate")["multiclass"];
    let row = |row: &Value| {
        numbers(row)
            .into_iter()
            .map(|percent| percent / 100.0)
            .collect()
    };
    let table =
        |value: &Value| -> Vec<Vec<f64>> { value.as_array().unwrap().iter().map(row).collect() };
    let index = |value: &Value| -> Vec<usize> {
        numbers(value)
            .into_iter()
            .map(|number| number as usize)
            .collect()
    };
    let actual = index(&reference["actual"]);
    let calibration = ClassCalibration::fit(&table(&reference["reference"]), &actual).unwrap();
    let mut expected = ExpectedConfusion::new(3);
    let mut one = ExpectedConfusion::new(3);
    for (row, answered) in table(&reference["rows"])
        .iter()
        .zip(index(&reference["answered"]))
    {
        let part = if answered == 1 {
            &mut expected
        } else {
            &mut one
        };
        part.add(&calibration.probabilities(row).unwrap(), answered);
    }
    expected.merge(&one).unwrap();
    let theirs = &reference["estimates"];
    assert_value(expected.accuracy(confidence()), &theirs[0]);
    for (ours, number) in expected.macro_average().into_iter().zip(1..) {
        assert_maybe_close(ours, &theirs[number]);
    }
}

#[test]
fn calibrated_scores_are_left_as_they_are_where_calibration_does_not_help() {
    // Scores that are right as they are: calibration would only add noise.
    let scores: Vec<f64> = (0..500).map(|i| f64::from(i % 10) / 10.0 + 0.05).collect();
    let labels: Vec<bool> = (0..500).map(|i| (i / 10) % 20 < 2 * (i % 10) + 1).collect();
    let calibration = Calibration::fit(&scores, &labels).unwrap();
    let all_one = Calibration::fit(&[0.2, 0.8], &[true, true]).unwrap();
    assert!(!all_one.changes_scores());
    let separated = Calibration::fit(&[0.2, 0.3, 0.8], &[false, false, true]).unwrap();
    assert_eq!(separated.probability(0.3), Some(0.3));
    assert_eq!(separated.probability(f64::NAN), None);
    assert_eq!(Calibration::fit(&[], &[]), None);
    assert_eq!(Calibration::fit(&[0.5, 2.0], &[true, false]), None);
    assert_eq!(
        calibration,
        Calibration::fit(&scores, &labels).unwrap(),
        "the same splits"
    );
}

#[test]
fn nothing_has_no_estimate() {
    let mut expected = ExpectedScores::default();
    expected.add(f64::NAN, 0.5, true);
    expected.add(0.5, 1.5, true);
    assert_eq!((expected.n(), expected.invalid()), (0, 2));
    assert_eq!(expected.accuracy(confidence()), None);
    assert_eq!(expected.precision(confidence()), None);
    assert_eq!(expected.recall(confidence()), None);
    assert_eq!(expected.f1(confidence()), None);
    assert_eq!(
        (expected.roc_auc(confidence()), expected.average_precision()),
        (None, None)
    );
    // Certain negatives alone.
    expected.add(0.0, 0.0, false);
    assert_eq!(expected.recall(confidence()), None);
    assert_eq!(
        expected
            .accuracy(confidence())
            .map(|estimate| estimate.value),
        Some(1.0)
    );
    assert_eq!(ExpectedConfusion::new(3).accuracy(confidence()), None);
    assert_eq!(ExpectedConfusion::new(0).macro_average(), [None; 3]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn merged_estimates_equal_the_estimate_of_all(
        rows in prop::collection::vec((0.0..1.0_f64, 0.0..=1.0_f64, any::<bool>()), 0..40),
        cut in 0_usize..40,
    ) {
        let expected = |rows: &[(f64, f64, bool)]| {
            let mut expected = ExpectedScores::default();
            rows.iter().for_each(|&(score, p, answered)| expected.add(score, p, answered));
            expected
        };
        let cut = cut.min(rows.len());
        let whole = expected(&rows);
        let mut merged = expected(&rows[cut..]);
        merged.merge(&expected(&rows[..cut]));
        prop_assert_eq!(whole.n(), merged.n());
        for (one, other) in [
            (whole.accuracy(confidence()), merged.accuracy(confidence())),
            (whole.f1(confidence()), merged.f1(confidence())),
            (whole.roc_auc(confidence()), merged.roc_auc(confidence())),
        ] {
            prop_assert_eq!(one.is_some(), other.is_some());
            if let (Some(one), Some(other)) = (one, other) {
                prop_assert!((one.value - other.value).abs() < 1e-9);
                prop_assert!(one.low <= one.value && one.value <= one.high);
            }
        }
    }

    #[test]
    fn isotonic_functions_ascend_and_fit_into_storage(
        pairs in prop::collection::vec((0.0..1.0_f64, 0.0..1.0_f64), 1..50)
    ) {
        let isotonic = Isotonic::fit(&pairs).unwrap();
        let values: Vec<f64> =
            (0..=20).map(|i| isotonic.value(f64::from(i) / 20.0).unwrap()).collect();
        prop_assert!(values.windows(2).all(|pair| pair[0] <= pair[1] + 1e-12));
        let text = serde_json::to_string(&isotonic).unwrap();
        prop_assert!(serde_json::from_str::<Isotonic>(&text).is_ok());
    }
}
