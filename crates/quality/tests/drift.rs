//! Drift against SciPy: every number of `reference/drift.json` to 1e-9.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use common::{assert_close, numbers, read};
use proptest::prelude::*;
use serde_json::Value;
use tidegate_quality::drift::*;

fn counts(value: &Value) -> Vec<u64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|count| count.as_u64().unwrap())
        .collect()
}

#[test]
fn distances_and_tests_of_samples_are_those_of_scipy() {
    for case in read("drift")["samples"].as_array().unwrap() {
        let (reference, window) = (numbers(&case["reference"]), numbers(&case["window"]));
        let test = kolmogorov_smirnov(&reference, &window).unwrap();
        assert!(test.exact);
        assert_close(test.statistic, &case["ks"]);
        assert_close(test.p_value, &case["ks_p"]);
        assert_close(
            wasserstein(&reference, &window).unwrap(),
            &case["wasserstein"],
        );
    }
}

#[test]
fn distances_and_tests_of_counts_are_those_of_scipy() {
    for case in read("drift")["counts"].as_array().unwrap() {
        let (reference, window) = (counts(&case["reference"]), counts(&case["window"]));
        let smooth = Smoothing::default();
        let floor = Smoothing::Floor(1e-4);
        assert_close(psi(&reference, &window, smooth).unwrap(), &case["psi"]);
        assert_close(psi(&reference, &window, floor).unwrap(), &case["psi_floor"]);
        assert_close(
            kl_divergence(&reference, &window, smooth).unwrap(),
            &case["kl"],
        );
        let plain = kl_divergence(&reference, &window, Smoothing::None);
        assert_eq!(plain.is_none(), case["kl_plain"].is_null());
        plain
            .iter()
            .for_each(|&plain| assert_close(plain, &case["kl_plain"]));
        assert_close(jensen_shannon(&reference, &window).unwrap(), &case["js"]);
        assert_close(hellinger(&reference, &window).unwrap(), &case["hellinger"]);
        assert_close(
            total_variation(&reference, &window).unwrap(),
            &case["total_variation"],
        );
        let chi = chi_squared(&reference, &window).unwrap();
        assert_close(chi.statistic, &case["chi"]);
        assert_close(chi.p_value, &case["chi_p"]);
        assert_close(chi.least_expected, &case["chi_least"]);
        assert_eq!(Some(chi.degrees_of_freedom), case["chi_df"].as_u64());
        let ranks = rank_sum(&reference, &window).unwrap();
        assert_close(ranks.superiority, &case["rank_superiority"]);
        assert_close(ranks.p_value, &case["rank_p"]);
    }
}

#[test]
fn exact_tests_of_shares_are_those_of_scipy() {
    for case in read("drift")["shares"].as_array().unwrap() {
        let counts = counts(&case["counts"]);
        assert_close(
            exact_share(counts[0], counts[1], counts[2], counts[3]),
            &case["p"],
        );
    }
}

#[test]
fn adjusted_p_values_are_those_of_scipy() {
    for case in read("drift")["adjusted"].as_array().unwrap() {
        let p_values = numbers(&case["p"]);
        for (ours, theirs) in [
            (benjamini_hochberg(&p_values), &case["bh"]),
            (benjamini_yekutieli(&p_values), &case["by"]),
        ] {
            for (ours, theirs) in ours.iter().zip(theirs.as_array().unwrap()) {
                assert_close(*ours, theirs);
            }
        }
    }
}

#[test]
fn the_limit_of_kolmogorov_is_that_of_scipy() {
    for case in read("drift")["limit"].as_array().unwrap() {
        assert_close(kolmogorov_survival(case[0].as_f64().unwrap()), &case[1]);
    }
}

fn sample() -> impl Strategy<Value = Vec<f64>> {
    let number = prop_oneof![
        4 => -9.0..9.0_f64,
        1 => any::<f64>(),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(0.0), Just(-0.0)],
    ];
    prop::collection::vec(number, 0..25)
}

fn row() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![3 => 0..20_u64, 1 => any::<u64>()], 4)
}

proptest! {
    #[test]
    fn whatever_the_samples_results_are_numbers(one in sample(), other in sample()) {
        if let Some(test) = kolmogorov_smirnov(&one, &other) {
            prop_assert!((0.0..=1.0).contains(&test.statistic));
            prop_assert!((0.0..=1.0).contains(&test.p_value));
        }
        if let Some(distance) = wasserstein(&one, &other) {
            prop_assert!(distance.is_finite() && distance >= 0.0);
        }
    }

    #[test]
    fn whatever_the_counts_results_are_numbers(one in row(), other in row()) {
        for distance in [
            psi(&one, &other, Smoothing::default()),
            kl_divergence(&one, &other, Smoothing::default()),
            jensen_shannon(&one, &other),
            hellinger(&one, &other),
            total_variation(&one, &other),
        ].into_iter().flatten() {
            prop_assert!(distance.is_finite() && distance >= 0.0);
        }
        let tests = [
            chi_squared(&one, &other).map(|test| test.p_value),
            rank_sum(&one, &other).map(|test| test.p_value),
            Some(exact_share(one[0], one[1], other[0], other[1])),
        ];
        for p_value in tests.into_iter().flatten() {
            prop_assert!((0.0..=1.0).contains(&p_value), "{}", p_value);
        }
        prop_assert_eq!(total_variation(&one, &other), total_variation(&other, &one));
    }
}
