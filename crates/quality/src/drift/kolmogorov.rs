//! The test of Kolmogorov and Smirnov for two samples.

use std::f64::consts::PI;

/// The result of [`kolmogorov_smirnov`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KolmogorovSmirnov {
    /// The greatest distance between the two cumulative distributions.
    pub statistic: f64,
    /// The chance of such a distance, or a greater one, where both have the same distribution.
    pub p_value: f64,
    /// Whether the p-value is exact. If values are equal, it is an upper bound.
    pub exact: bool,
}

/// Up to this product of the sizes the p-value is exact: some milliseconds.
const EXACT_CELLS: usize = 4_000_000;

/// The two-sided test of Kolmogorov and Smirnov (Smirnov 1939). NaN is left out; `None` if a side
/// has no values.
///
/// The p-value is exact for samples of up to some thousand values, by the recursion of Viehmann
/// ("Numerically more stable computation of the p-values for the two-sample Kolmogorov-Smirnov
/// test", 2021), and beyond that Kolmogorov's limit for `n m / (n + m)` values.
pub fn kolmogorov_smirnov(reference: &[f64], window: &[f64]) -> Option<KolmogorovSmirnov> {
    let (reference, window) = (sorted(reference), sorted(window));
    let (n, m) = (reference.len(), window.len());
    if n == 0 || m == 0 {
        return None;
    }
    let apart = greatest_distance(&reference, &window);
    let statistic = apart as f64 / (n as f64 * m as f64);
    let exact = n.saturating_mul(m) <= EXACT_CELLS;
    let p_value = if exact {
        share_of_paths(n, m, apart)
    } else {
        let effective = n as f64 * m as f64 / (n as f64 + m as f64);
        kolmogorov_survival(effective.sqrt() * statistic)
    };
    Some(KolmogorovSmirnov {
        statistic,
        p_value: p_value.clamp(0.0, 1.0),
        exact,
    })
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| !value.is_nan())
        .collect();
    // Adding zero makes -0.0 equal to 0.0.
    values.iter_mut().for_each(|value| *value += 0.0);
    values.sort_by(f64::total_cmp);
    values
}

/// The greatest distance in units of `1 / (n m)`, without rounding.
fn greatest_distance(one: &[f64], other: &[f64]) -> u128 {
    let (n, m) = (one.len() as u128, other.len() as u128);
    let (mut below_one, mut below_other) = (0, 0);
    let mut greatest = 0;
    while below_one < one.len() && below_other < other.len() {
        let value = one[below_one].min(other[below_other]);
        below_one += one[below_one..].iter().take_while(|&&v| v <= value).count();
        below_other += other[below_other..]
            .iter()
            .take_while(|&&v| v <= value)
            .count();
        greatest = greatest.max((below_one as u128 * m).abs_diff(below_other as u128 * n));
    }
    greatest
}

/// The share of all orders of `n` and `m` values in which the distributions are at least so far
/// apart: of the paths on a grid from a corner to the opposite one, those that leave a band around
/// the diagonal. The share for a point is the mean of those for the two points before it.
fn share_of_paths(n: usize, m: usize, apart: u128) -> f64 {
    let outside =
        |i: usize, j: usize| (i as u128 * m as u128).abs_diff(j as u128 * n as u128) >= apart;
    let mut shares = vec![0.0; m + 1];
    for i in 0..=n {
        for j in 0..=m {
            let from_left = if j > 0 { shares[j - 1] * j as f64 } else { 0.0 };
            let from_below = if i > 0 { shares[j] * i as f64 } else { 0.0 };
            let steps = (i + j).max(1) as f64;
            shares[j] = if outside(i, j) {
                1.0
            } else {
                (from_left + from_below) / steps
            };
        }
    }
    shares[m]
}

/// The chance that Kolmogorov's limit is greater than `z`: `2 sum (-1)^(k-1) exp(-2 k^2 z^2)`, and
/// for small `z` the same by Jacobi's transformation, which converges faster there.
pub fn kolmogorov_survival(z: f64) -> f64 {
    if z.is_nan() || z <= 0.0 {
        return 1.0;
    }
    if z < 1.0 {
        let term = |k: f64| (-((2.0 * k - 1.0) * PI / z).powi(2) / 8.0).exp();
        let sum: f64 = (1..=5).map(|k| term(f64::from(k))).sum();
        return 1.0 - (2.0 * PI).sqrt() / z * sum;
    }
    let term =
        |k: i32| f64::from(1 - 2 * (k % 2 == 0) as i32) * (-2.0 * f64::from(k * k) * z * z).exp();
    2.0 * (1..=6).map(term).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_samples_are_not_apart() {
        let result = kolmogorov_smirnov(&[1.0, 2.0, f64::NAN], &[1.0, 2.0]).unwrap();
        assert_eq!((result.statistic, result.p_value), (0.0, 1.0));
    }

    #[test]
    fn zeros_of_either_sign_are_equal() {
        assert_eq!(kolmogorov_smirnov(&[-0.0], &[0.0]).unwrap().statistic, 0.0);
    }

    #[test]
    fn two_separate_values_are_no_evidence() {
        let result = kolmogorov_smirnov(&[1.0], &[f64::INFINITY]).unwrap();
        assert_eq!(
            (result.statistic, result.p_value, result.exact),
            (1.0, 1.0, true)
        );
        assert_eq!(kolmogorov_smirnov(&[], &[1.0]), None);
        assert_eq!(kolmogorov_smirnov(&[f64::NAN], &[1.0]), None);
    }
}
