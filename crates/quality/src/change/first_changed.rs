//! The first window that is different.

use serde::Serialize;

use crate::profile::Profile;

/// Where a series of windows changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FirstChanged {
    /// The number of the first window after the change, counted from 0.
    pub window: usize,
    /// Pearson's statistic of the windows before against those since, by its degrees of freedom:
    /// about 1 if nothing changed.
    pub statistic: f64,
}

/// The first window of a column after its greatest change: the split of the series at which the
/// windows before and those since differ most (the likelihood ratio method of Hinkley, "Inference
/// about the change-point in a sequence of random variables", 1970, on counts). Windows are in the
/// order of time, the first ones from before the drift. A gradual drift is put in its middle.
///
/// It always finds a split: whether there is a drift is said by its test, and not by this. `None`
/// for fewer than two windows with rows, or if they are of different baselines.
pub fn first_changed(windows: &[Profile]) -> Option<FirstChanged> {
    let counts: Vec<Vec<u64>> = windows.iter().map(crate::drift::all_places).collect();
    first_changed_counts(&counts)
}

/// The same for counts in bins.
pub fn first_changed_counts(windows: &[Vec<u64>]) -> Option<FirstChanged> {
    let bins = windows.first()?.len();
    if windows.iter().any(|window| window.len() != bins) {
        return None;
    }
    let mut after = vec![0.0; bins];
    windows
        .iter()
        .for_each(|window| add(&mut after, window, 1.0));
    let mut before = vec![0.0; bins];
    let mut greatest: Option<FirstChanged> = None;
    for (index, window) in windows.iter().enumerate() {
        if let Some(statistic) = statistic(&before, &after)
            && greatest.is_none_or(|greatest| statistic > greatest.statistic)
        {
            greatest = Some(FirstChanged {
                window: index,
                statistic,
            });
        }
        add(&mut before, window, 1.0);
        add(&mut after, window, -1.0);
    }
    greatest
}

fn add(sums: &mut [f64], counts: &[u64], times: f64) {
    sums.iter_mut()
        .zip(counts)
        .for_each(|(sum, &count)| *sum += times * count as f64);
}

/// Not the p-value, which is 0 for any clear change.
fn statistic(before: &[f64], after: &[f64]) -> Option<f64> {
    let (rows_b, rows_a): (f64, f64) = (before.iter().sum(), after.iter().sum());
    if rows_b <= 0.0 || rows_a <= 0.0 {
        return None;
    }
    let (mut sum, mut bins) = (0.0, 0.0);
    for (&b, &a) in before.iter().zip(after).filter(|&(&b, &a)| a + b > 0.0) {
        let apart = b / rows_b - a / rows_a;
        sum += apart * apart / (a + b);
        bins += 1.0;
    }
    (bins > 1.0).then_some(sum * rows_b * rows_a / (bins - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_changed_window_is_found() {
        let mut windows = vec![vec![500, 300, 200, 0]; 20];
        windows.extend(vec![vec![480, 300, 200, 20]; 8]);
        let found = first_changed_counts(&windows).unwrap();
        assert_eq!(found.window, 20);
        assert!(found.statistic > 20.0);
    }

    #[test]
    fn nothing_to_compare_has_no_change() {
        assert_eq!(first_changed_counts(&[]), None);
        assert_eq!(first_changed_counts(&[vec![1, 2]]), None);
        assert_eq!(first_changed_counts(&[vec![0, 0], vec![1, 2]]), None);
        assert_eq!(first_changed_counts(&[vec![1, 2], vec![1]]), None);
        assert_eq!(first_changed_counts(&[vec![3], vec![4]]), None);
    }
}
