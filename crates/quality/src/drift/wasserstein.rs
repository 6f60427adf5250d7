//! The Wasserstein distance of two samples.

use crate::moments::finite;

/// The Wasserstein distance of order one, or earth mover's distance: the area between the two
/// cumulative distributions (Vallender, "Calculation of the Wasserstein distance between
/// probability distributions on the line", 1974). In the unit of the values, of which those that
/// are not finite are left out. `None` if a side has no values.
pub fn wasserstein(reference: &[f64], window: &[f64]) -> Option<f64> {
    let (reference, window) = (sorted(reference), sorted(window));
    if reference.is_empty() || window.is_empty() {
        return None;
    }
    let mut all: Vec<f64> = reference.iter().chain(&window).copied().collect();
    all.sort_by(f64::total_cmp);
    let (mut below_r, mut below_w) = (0, 0);
    let mut area = 0.0;
    for pair in all.windows(2) {
        below_r += reference[below_r..]
            .iter()
            .take_while(|&&value| value <= pair[0])
            .count();
        below_w += window[below_w..]
            .iter()
            .take_while(|&&value| value <= pair[0])
            .count();
        let share_r = below_r as f64 / reference.len() as f64;
        let share_w = below_w as f64 / window.len() as f64;
        area += (share_r - share_w).abs() * (pair[1] - pair[0]);
    }
    finite(area)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| value.is_finite())
        .collect();
    values.sort_by(f64::total_cmp);
    values
}
