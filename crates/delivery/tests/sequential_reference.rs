//! Sequential statistics beside independent implementations: `reference/make.py` says which.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod reference;

use reference::{close, numbers, part};
use tidegate_delivery::sequential::mixture::{
    BetaBinomial, normal_bound, normal_log_e, normal_rho, one_sided_normal_log_e,
};
use tidegate_delivery::sequential::{
    Arms, Counts, EventTest, proportion_interval, quantile_interval, quantile_p_value,
};

#[test]
fn normal_mixtures_are_those_of_confseq() {
    for case in part("normal_mixtures") {
        let rho = normal_rho(case.number("v_opt"), 0.05);
        let log_e = normal_log_e(case.number("s"), case.number("v"), rho);
        close(log_e, case.number("log_e"), 1e-10);
        let one_sided = one_sided_normal_log_e(case.number("s"), case.number("v"), rho);
        close(one_sided, case.number("one_sided"), 1e-8);
        close(
            normal_bound(case.number("v"), 0.01, rho),
            case.number("bound"),
            1e-10,
        );
    }
}

#[test]
fn beta_binomial_mixtures_are_those_of_confseq() {
    for case in part("beta_binomials") {
        let mixture = BetaBinomial::new(case.number("p"), case.number("n_opt"), 0.05);
        let log_e = mixture.log_e(case.number("successes"), case.number("trials"));
        close(log_e, case.number("log_e"), 1e-9);
    }
}

#[test]
fn intervals_of_proportions_are_those_of_confseq() {
    for case in part("proportions") {
        let (successes, trials) = (case.count("successes"), case.count("trials"));
        let (alpha, n_opt) = (case.number("alpha"), case.number("n_opt"));
        let interval = proportion_interval(successes, trials, alpha, n_opt);
        close(interval.low, case.number("low"), 1e-9);
        close(interval.high, case.number("high"), 1e-9);
    }
}

#[test]
fn p_values_of_quantiles_are_those_of_confseq() {
    for case in part("quantile_tests") {
        let (candidate, control) = (case.counts("candidate"), case.counts("control"));
        let (p, n_opt) = (case.number("p"), case.number("n_opt"));
        let p_value = quantile_p_value(Arms::new(&candidate, &control), p, n_opt);
        // The reference searches its minimum with 20 bits.
        close(p_value, case.number("p_value"), 1e-5);
    }
}

#[test]
fn the_interval_of_a_quantile_holds_it() {
    let histogram = vec![10_u64; 100];
    let (low, high) = quantile_interval(&histogram, 0.9, 0.05, 1000.0).unwrap();
    assert!(
        low < 89 && high > 90 && low > 80 && high < 97,
        "{low} {high}"
    );
    assert_eq!(quantile_interval(&[0, 0], 0.9, 0.05, 1000.0), None);
}

#[test]
fn event_tests_multiply_what_their_definition_says() {
    for case in part("event_tests") {
        let mut test = EventTest::new(case.number("min_effect"));
        for window in case.list("windows") {
            let counts: Vec<u64> = numbers(window).map(|number| number as u64).collect();
            let candidate = Counts::new(counts[0], counts[1]);
            test.add(Arms::new(candidate, Counts::new(counts[2], counts[3])));
        }
        close(test.log_e(), case.number("log_e"), 1e-10);
    }
}
