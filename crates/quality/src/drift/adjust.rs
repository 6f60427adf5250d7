//! P-values of many tests at once.

/// P-values adjusted so that of those at most `alpha`, a share of at most `alpha` is false in the
/// mean (Benjamini and Hochberg, "Controlling the false discovery rate", 1995): for tests that are
/// independent or positively dependent. Where nothing has changed, the chance that any is at most
/// `alpha` is `alpha`. A p-value that is NaN counts as 1.
///
/// ```
/// use tidegate_quality::drift::benjamini_hochberg;
///
/// assert_eq!(benjamini_hochberg(&[0.01, 0.04, 0.5, 0.02]), [0.04, 0.16 / 3.0, 0.5, 0.04]);
/// ```
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    step_up(p_values, 1.0)
}

/// As [`benjamini_hochberg`], for tests that depend on each other in any way (Benjamini and
/// Yekutieli, "The control of the false discovery rate in multiple testing under dependency",
/// 2001).
pub fn benjamini_yekutieli(p_values: &[f64]) -> Vec<f64> {
    let harmonic: f64 = (1..=p_values.len()).map(|i| 1.0 / i as f64).sum();
    step_up(p_values, harmonic)
}

fn step_up(p_values: &[f64], factor: f64) -> Vec<f64> {
    let value = |index: usize| {
        if p_values[index].is_nan() {
            1.0
        } else {
            p_values[index]
        }
    };
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&one, &other| value(one).total_cmp(&value(other)));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut least = 1.0_f64;
    for (rank, &index) in order.iter().enumerate().rev() {
        let scaled = value(index) * factor * p_values.len() as f64 / (rank + 1) as f64;
        least = least.min(scaled);
        adjusted[index] = least;
    }
    adjusted
}
