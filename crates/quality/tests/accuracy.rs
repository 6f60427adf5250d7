//! Accuracy against scikit-learn and SciPy: every number of `reference/accuracy.json` to 1e-9.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use common::{assert_close, assert_maybe_close, numbers, read};
use proptest::prelude::*;
use serde_json::Value;
use tidegate_quality::accuracy::*;

fn confidence() -> Confidence {
    Confidence::default()
}

fn labels(value: &Value) -> Vec<bool> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|label| label == 1)
        .collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap())
        .collect()
}

#[track_caller]
fn assert_estimate(ours: Option<Estimate>, theirs: &Value) {
    let ours = ours.unwrap();
    assert_close(ours.value, &theirs[0]);
    assert_close(ours.low, &theirs[1]);
    assert_close(ours.high, &theirs[2]);
}

#[test]
fn scores_of_a_class_are_those_of_scikit_learn() {
    let reference = read("accuracy");
    let z = reference["z"].as_f64().unwrap();
    for case in reference["binary"].as_array().unwrap() {
        let (scores, labels) = (numbers(&case["scores"]), labels(&case["labels"]));
        let auc = roc_auc(&scores, &labels, confidence()).unwrap();
        assert_close(auc.value, &case["auc"]);
        let low = (auc.value - z * case["auc_error"].as_f64().unwrap()).max(0.0);
        assert!((auc.low - low).abs() < 1e-9);
        assert_maybe_close(
            average_precision(&scores, &labels),
            &case["average_precision"],
        );

        let mut binary = BinaryScores::new(0.4).unwrap();
        scores
            .iter()
            .zip(&labels)
            .for_each(|(&score, &label)| binary.add(score, label));
        for (ours, name) in [
            (binary.accuracy(confidence()), "accuracy"),
            (binary.precision(confidence()), "precision"),
            (binary.recall(confidence()), "recall"),
            (binary.specificity(confidence()), "specificity"),
            (binary.f1(confidence()), "f1"),
            (binary.log_loss(confidence()), "log_loss"),
        ] {
            let ours = ours.unwrap();
            assert_close(ours.value, &case[name]);
            assert!(ours.low <= ours.value && ours.value <= ours.high && ours.n > 0);
        }
        assert_estimate(binary.brier(confidence()), &case["brier"]);
        assert_maybe_close(binary.calibration().expected_error(), &case["ece"]);

        // The areas of scores in bins are within the error that is stated.
        let (binned, error) = (
            binary.roc_auc(confidence()).unwrap(),
            binary.roc_auc_error().unwrap(),
        );
        assert!((binned.value - auc.value).abs() <= error && error < 0.06);
    }
}

#[test]
fn classes_are_those_of_scikit_learn() {
    let reference = &read("accuracy")["classes"];
    let (answered, actual) = (texts(&reference["answered"]), texts(&reference["actual"]));
    let mut confusion = Confusion::default();
    answered
        .iter()
        .zip(&actual)
        .for_each(|(answered, actual)| confusion.add(answered, actual));
    assert_close(
        confusion.accuracy(confidence()).unwrap().value,
        &reference["accuracy"],
    );
    let by_class = confusion.by_class(confidence());
    for (number, name) in texts(&reference["names"]).into_iter().enumerate() {
        let class = by_class.iter().find(|class| class.class == name).unwrap();
        let value = |estimate: Option<Estimate>| estimate.map(|estimate| estimate.value);
        assert_maybe_close(value(class.precision), &reference["precision"][number]);
        assert_maybe_close(value(class.recall), &reference["recall"][number]);
        assert_maybe_close(value(class.f1), &reference["f1"][number]);
    }
    for (ours, theirs) in confusion.macro_average().into_iter().zip(0..3) {
        assert_maybe_close(ours, &reference["macro"][theirs]);
    }
    let costs = CostMatrix {
        classes: texts(&reference["names"])
            .into_iter()
            .map(str::to_owned)
            .collect(),
        costs: reference["costs"]
            .as_array()
            .unwrap()
            .iter()
            .map(numbers)
            .collect(),
    };
    assert_estimate(confusion.cost(&costs, confidence()), &reference["cost"]);
}

#[test]
fn probabilities_of_classes_are_those_of_numpy() {
    let reference = &read("accuracy")["probabilities"];
    let mut classes = ClassProbabilities::default();
    let actual = reference["actual"].as_array().unwrap();
    for (row, actual) in reference["probabilities"]
        .as_array()
        .unwrap()
        .iter()
        .zip(actual)
    {
        classes.add(&numbers(row), actual.as_u64().unwrap() as usize);
    }
    assert_estimate(classes.log_loss(confidence()), &reference["log_loss"]);
    assert_estimate(classes.brier(confidence()), &reference["brier"]);
    assert_maybe_close(classes.calibration().expected_error(), &reference["ece"]);
}

#[test]
fn regression_is_that_of_scikit_learn() {
    let reference = &read("accuracy")["regression"];
    let (predicted, actual) = (
        numbers(&reference["predicted"]),
        numbers(&reference["actual"]),
    );
    let mut regression = Regression::with_quantiles(&[0.1, 0.5, 0.9]);
    predicted
        .iter()
        .zip(&actual)
        .for_each(|(&predicted, &actual)| regression.add(predicted, actual));
    assert_estimate(regression.mae(confidence()), &reference["mae"]);
    assert_estimate(regression.rmse(confidence()), &reference["rmse"]);
    assert_estimate(regression.bias(confidence()), &reference["bias"]);
    assert_close(
        regression.mape(confidence()).unwrap().value,
        &reference["mape"],
    );
    assert_maybe_close(regression.r2(), &reference["r2"]);
    for ((quantile, loss), theirs) in regression
        .pinball(confidence())
        .into_iter()
        .zip(reference["pinball"].as_array().unwrap())
    {
        assert_close(quantile, &theirs[0]);
        assert_close(loss.unwrap().value, &theirs[1]);
    }
}

#[test]
fn rankings_are_those_of_scikit_learn() {
    let reference = &read("accuracy")["ranking"];
    let mut ranking = Ranking::new(10);
    for case in reference["lists"].as_array().unwrap() {
        let relevances = numbers(&case["relevances"]);
        let k = case["k"].as_u64().unwrap() as usize;
        assert_maybe_close(ndcg(&relevances, k), &case["ndcg"]);
        ranking.add(&relevances);
    }
    assert_close(ranking.mrr(confidence()).unwrap().value, &reference["mrr"]);
    assert_eq!(ndcg(&[0.0, 0.0], 5), None);
}

#[test]
fn forecasts_are_those_of_numpy() {
    let reference = &read("accuracy")["forecast"];
    let naive = naive_error(&numbers(&reference["history"]), 12);
    assert_maybe_close(naive, &reference["naive"]);
    let mut forecast = Forecast::new(naive.unwrap()).unwrap();
    let (predicted, actual) = (
        numbers(&reference["predicted"]),
        numbers(&reference["actual"]),
    );
    predicted
        .iter()
        .zip(&actual)
        .for_each(|(&predicted, &actual)| forecast.add(predicted, actual));
    assert_estimate(forecast.mase(confidence()), &reference["mase"]);
    assert_estimate(forecast.bias(confidence()), &reference["bias"]);
    assert_eq!(naive_error(&[1.0, 1.0, 1.0], 1), None);
    assert_eq!(naive_error(&[1.0], 3), None);
    assert_eq!(naive_error(&[1.0, 2.0], 0), None);
}

#[test]
fn intervals_of_shares_are_those_of_scipy() {
    for case in read("accuracy")["shares"].as_array().unwrap() {
        let level = Confidence::new(case["confidence"].as_f64().unwrap()).unwrap();
        let (hits, n) = (case["hits"].as_u64().unwrap(), case["n"].as_u64().unwrap());
        let share = Estimate::share(hits, n, level).unwrap();
        assert_close(share.low, &case["low"]);
        assert_close(share.high, &case["high"]);
    }
}

#[test]
fn what_does_not_exist_is_no_number() {
    let mut empty = BinaryScores::new(0.5).unwrap();
    assert_eq!(empty.accuracy(confidence()), None);
    assert_eq!(empty.roc_auc(confidence()), None);
    assert_eq!(empty.calibration().expected_error(), None);
    empty.add(f64::NAN, true);
    empty.add(1.5, true);
    assert_eq!((empty.n(), empty.invalid()), (0, 2));
    empty.add(0.9, true);
    empty.add(0.8, true);
    // One class alone.
    assert_eq!(
        (empty.roc_auc(confidence()), empty.specificity(confidence())),
        (None, None)
    );
    assert_eq!(empty.average_precision(), Some(1.0));
    assert_eq!(roc_auc(&[0.1, 0.2], &[false, false], confidence()), None);
    assert_eq!(average_precision(&[0.1, 0.2], &[false, false]), None);
    assert_eq!(
        roc_auc(&[f64::NAN, 0.2], &[true, false], confidence()),
        None
    );
    // One positive: any area is possible.
    let one = roc_auc(&[0.9, 0.2, 0.1], &[true, false, false], confidence()).unwrap();
    assert_eq!((one.value, one.low, one.high), (1.0, 0.0, 1.0));
    assert!(BinaryScores::new(f64::NAN).is_none());

    let mut regression = Regression::default();
    regression.add(1.0, f64::INFINITY);
    regression.add(1.0, 0.0);
    assert_eq!((regression.n(), regression.invalid()), (1, 1));
    assert_eq!(
        (regression.mae(confidence()), regression.mape(confidence())),
        (None, None)
    );
    assert_eq!(regression.r2(), None);
    assert_eq!(Confusion::default().accuracy(confidence()), None);
    assert_eq!(Confusion::default().macro_average(), [None; 3]);
}

#[test]
fn classes_beyond_the_limit_are_counted_together() {
    let mut confusion = Confusion::default();
    for i in 0..1000 {
        confusion.add(&i.to_string(), &i.to_string());
    }
    assert_eq!((confusion.classes().len(), confusion.n()), (257, 1000));
    assert_eq!(confusion.classes()[256], Confusion::FURTHER);
    let mut twice = confusion.clone();
    twice.merge(&confusion);
    assert_eq!((twice.classes().len(), twice.n()), (257, 2000));
}

#[test]
fn a_stored_confusion_that_is_not_square_is_refused() {
    let text = r#"{"classes": ["a", "b"], "counts": [[1, 2], [3]]}"#;
    assert!(serde_json::from_str::<Confusion>(text).is_err());
}

fn near(one: Option<Estimate>, other: Option<Estimate>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            one.n == other.n
                && (one.value - other.value).abs() < 1e-9
                && (one.low - other.low).abs() < 1e-7
                && (one.high - other.high).abs() < 1e-7
        }
        (one, other) => one == other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn merged_scores_equal_the_scores_of_all(
        rows in prop::collection::vec((-0.1..1.1_f64, any::<bool>()), 0..60),
        cut in 0_usize..60,
    ) {
        let scores = |rows: &[(f64, bool)]| {
            let mut scores = BinaryScores::new(0.5).unwrap();
            rows.iter().for_each(|&(score, label)| scores.add(score, label));
            scores
        };
        let cut = cut.min(rows.len());
        let whole = scores(&rows);
        let mut merged = scores(&rows[cut..]);
        merged.merge(&scores(&rows[..cut])).unwrap();
        prop_assert_eq!(whole.outcomes(), merged.outcomes());
        prop_assert_eq!(whole.roc_auc(confidence()), merged.roc_auc(confidence()));
        prop_assert!(near(whole.log_loss(confidence()), merged.log_loss(confidence())));
        prop_assert!(near(whole.brier(confidence()), merged.brier(confidence())));
        let text = serde_json::to_string(&whole).unwrap();
        let read: BinaryScores = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(read.outcomes(), whole.outcomes());
    }

    #[test]
    fn whatever_the_numbers_results_are_numbers(
        rows in prop::collection::vec((prop::num::f64::ANY, prop::num::f64::ANY), 0..20)
    ) {
        let mut regression = Regression::with_quantiles(&[0.5, f64::NAN, 2.0]);
        let mut forecast = Forecast::new(1e-3).unwrap();
        let mut ranking = Ranking::new(5);
        for &(predicted, actual) in &rows {
            regression.add(predicted, actual);
            forecast.add(predicted, actual);
            ranking.add(&[predicted, actual]);
        }
        let mut half = regression.clone();
        half.merge(&regression);
        for estimate in [
            regression.mae(confidence()), regression.rmse(confidence()), half.mae(confidence()),
            regression.mape(confidence()), regression.bias(confidence()),
            forecast.mase(confidence()),
            ranking.ndcg(confidence()), ranking.mrr(confidence()), ranking.ctr(confidence()),
        ].into_iter().flatten() {
            prop_assert!(estimate.value.is_finite() && estimate.low.is_finite());
            prop_assert!(estimate.low <= estimate.high && estimate.high.is_finite());
        }
        prop_assert!(regression.r2().is_none_or(f64::is_finite));
        serde_json::from_str::<Regression>(&serde_json::to_string(&regression).unwrap()).unwrap();
    }
}
