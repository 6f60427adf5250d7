//! E-values, as natural logarithms: how they are mixed, combined and compared with alpha.

/// The log of the smallest e-value that rejects at `alpha` (Ville's inequality).
pub fn threshold(alpha: f64) -> f64 {
    -alpha.ln()
}

/// The p-value that an e-value stands for: it is valid at all times.
pub fn p_value(log_e: f64) -> f64 {
    (-log_e).exp().min(1.0)
}

/// The log of the mean of e-values: an e-value again, whatever the dependence between them.
pub fn mean(log_es: &[f64]) -> f64 {
    log_sum(log_es.iter().copied()) - (log_es.len() as f64).ln()
}

/// The log of the product of e-values: an e-value again only if each one's bets were made knowing
/// nothing of the others' outcomes, e.g. of other requests.
pub fn product(log_es: &[f64]) -> f64 {
    log_es.iter().sum()
}

/// `ln(sum of exp(x))` without overflow.
pub fn log_sum(logs: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = logs.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest.is_infinite() {
        return largest;
    }
    largest + logs.map(|log| (log - largest).exp()).sum::<f64>().ln()
}

/// Splits alpha over checks, of which each may have a weight, so that the probability of any false
/// rejection stays below alpha (Bonferroni, under any dependence).
pub fn split_alpha(alpha: f64, weights: &[f64]) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| alpha * weight / sum).collect()
}

/// The places of the e-values that e-BH rejects: of k rejected ones, at most `alpha`·k are false in
/// expectation, under any dependence (Wang and Ramdas, "False discovery rate control with e-values",
/// 2022).
pub fn e_bh(log_es: &[f64], alpha: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..log_es.len()).collect();
    order.sort_by(|left, right| log_es[*right].total_cmp(&log_es[*left]));
    let count = log_es.len() as f64;
    // The k-th largest must be at least count / (k · alpha).
    let passes = |index: &usize| {
        let needed = (count / ((index + 1) as f64 * alpha)).ln();
        log_es[order[*index]] >= needed
    };
    let last = (0..order.len()).rev().find(passes);
    order.truncate(last.map_or(0, |index| index + 1));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_sum_does_not_overflow() {
        assert!((log_sum([1000.0, 1000.0].into_iter()) - 1000.0 - 2_f64.ln()).abs() < 1e-12);
        assert_eq!(log_sum([].into_iter()), f64::NEG_INFINITY);
        assert_eq!(log_sum([0.0, f64::INFINITY].into_iter()), f64::INFINITY);
    }

    #[test]
    fn alpha_is_split_by_weight() {
        let alphas = split_alpha(0.05, &[1.0, 3.0, 1.0]);
        for (alpha, expected) in alphas.iter().zip([0.01, 0.03, 0.01]) {
            assert!((alpha - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn e_bh_rejects_the_largest_that_pass_together() {
        let logs = |es: &[f64]| es.iter().map(|e| e.ln()).collect::<Vec<_>>();
        // Alpha 0.05 of 4: 80 alone, 40 for the second, 26.7 for the third, 20 for the fourth.
        assert_eq!(e_bh(&logs(&[1.0, 41.0, 90.0, 2.0]), 0.05), [2, 1]);
        assert_eq!(e_bh(&logs(&[50.0, 45.0, 1.0, 2.0]), 0.05), [0, 1]);
        assert!(e_bh(&logs(&[79.0, 1.0, 1.0, 2.0]), 0.05).is_empty());
    }
}
