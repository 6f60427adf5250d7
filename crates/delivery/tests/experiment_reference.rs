//! Experiments beside independent implementations: `reference/make.py` says which.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod reference;

use reference::{close, part};
use tidegate_delivery::cascade::lower_bound;
use tidegate_delivery::compare::rank_correlation;
use tidegate_delivery::experiment::{MetricSums, cuped, mismatch, plan};
use tidegate_delivery::sequential::Arms;

#[test]
fn sample_sizes_and_power_are_those_of_statsmodels() {
    for case in part("two_proportions") {
        let [base, effect, alpha, power, ratio] =
            ["base", "effect", "alpha", "power", "ratio"].map(|key| case.number(key));
        close(
            plan::proportions(base, effect, alpha, power, ratio),
            case.number("candidate"),
            1e-9,
        );
    }
    for case in part("two_means") {
        let [effect, deviation, alpha, power, ratio] =
            ["effect", "deviation", "alpha", "power", "ratio"].map(|key| case.number(key));
        // The reference solves its equation up to a small error, and counts the other tail too.
        close(
            plan::means(effect, deviation, alpha, power, ratio),
            case.number("candidate"),
            1e-4,
        );
    }
    for case in part("powers") {
        let [effect, deviation, alpha, candidate, ratio] =
            ["effect", "deviation", "alpha", "candidate", "ratio"].map(|key| case.number(key));
        let power = plan::power_of_means(effect, deviation, alpha, candidate, ratio);
        close(power, case.number("power"), 1e-9);
    }
}

#[test]
fn ratio_mismatches_are_those_of_scipy() {
    for case in part("ratio_mismatches") {
        let p_value =
            mismatch::chi_squared_p_value(&case.counts("counts"), &case.numbers("shares"));
        close(p_value, case.number("p_value"), 1e-9);
    }
    for case in part("sequential_ratio_mismatches") {
        let (counts, shares) = (case.counts("counts"), case.numbers("shares"));
        let log_e = mismatch::log_e(&counts, &shares, case.number("concentration"));
        close(log_e, case.number("log_e"), 1e-8);
    }
}

#[test]
fn cuped_is_that_of_statsmodels() {
    for case in part("cuped") {
        let mut arms = Arms::<MetricSums>::default();
        let users = case
            .numbers("after")
            .into_iter()
            .zip(case.numbers("before"));
        for ((after, before), arm) in users.zip(case.counts("arm")) {
            let sums = if arm == 1 {
                &mut arms.candidate
            } else {
                &mut arms.control
            };
            sums.add(after, before);
        }
        close(cuped::theta(arms), case.number("theta"), 1e-9);
        close(
            cuped::kept_variance(arms),
            case.number("kept_variance"),
            1e-9,
        );
        let effect = cuped::effect(arms).unwrap();
        close(effect.estimate, case.number("effect"), 1e-9);
        close(effect.error, case.number("error"), 1e-9);
        let interval = effect.fixed_interval(0.05);
        close(interval.low, case.number("low"), 1e-9);
        close(interval.high, case.number("high"), 1e-9);
        let sequential = effect.sequential_interval(0.05, 1000.0);
        assert!(sequential.low < interval.low && sequential.high > interval.high);
    }
}

#[test]
fn bounds_of_agreement_are_those_of_scipy() {
    for case in part("clopper_pearson") {
        let (successes, trials) = (case.count("successes"), case.count("trials"));
        close(
            lower_bound(successes, trials, case.number("alpha")),
            case.number("low"),
            1e-8,
        );
    }
}

#[test]
fn rank_correlations_are_those_of_scipy() {
    for case in part("rank_correlations") {
        let value = rank_correlation(&case.numbers("one"), &case.numbers("other"));
        close(value, case.number("value"), 1e-12);
    }
}
