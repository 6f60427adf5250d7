//! Distances between two rows of counts in the same bins.

use crate::moments::finite;

/// What stands in for a bin with no values, where a formula divides by it or takes its logarithm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Smoothing {
    /// Nothing: where one side alone has an empty bin, the distance is infinite, and `None`.
    None,
    /// So many values are added to each bin in which either side has some. One half is Jeffreys'
    /// prior: a bin that is empty on one side counts as strongly as the rows allow to say.
    Pseudocount(f64),
    /// Shares below this are raised to it, as others do it with 0.0001. The same share whatever the
    /// number of rows is.
    Floor(f64),
}

/// Jeffreys' prior.
impl Default for Smoothing {
    fn default() -> Self {
        Self::Pseudocount(0.5)
    }
}

/// The population stability index: `sum (w - r) ln(w / r)` over the shares `r` of the reference and
/// `w` of the window; the symmetric divergence of Kullback and Leibler ("On information and
/// sufficiency", 1951). Without drift it is about `(bins - 1) (1 / rows_r + 1 / rows_w)` (Yurdakul,
/// "Statistical properties of population stability index", 2018).
///
/// `None` if a side has no values, the lengths differ, or it is infinite.
pub fn psi(reference: &[u64], window: &[u64], smoothing: Smoothing) -> Option<f64> {
    let pairs = smooth_shares(reference, window, smoothing)?;
    sum(
        &pairs,
        |r, w| if r == w { 0.0 } else { (w - r) * (w / r).ln() },
    )
}

/// The Kullback-Leibler divergence of the window from the reference, `sum w ln(w / r)`, in nats.
///
/// `None` as for [`psi`].
pub fn kl_divergence(reference: &[u64], window: &[u64], smoothing: Smoothing) -> Option<f64> {
    let pairs = smooth_shares(reference, window, smoothing)?;
    sum(&pairs, |r, w| if w == 0.0 { 0.0 } else { w * (w / r).ln() }).map(|sum| sum.max(0.0))
}

/// The Jensen-Shannon distance: the square root of the divergence (Lin, "Divergence measures based
/// on the Shannon entropy", 1991), in nats: from 0 to `sqrt(ln 2)`. Always finite.
///
/// `None` if a side has no values, or the lengths differ.
pub fn jensen_shannon(reference: &[u64], window: &[u64]) -> Option<f64> {
    let pairs = shares(reference, window)?;
    let twice = sum(&pairs, |r, w| {
        let middle = (r + w) / 2.0;
        relative_entropy(r, middle) + relative_entropy(w, middle)
    })?;
    Some((twice / 2.0).max(0.0).sqrt())
}

/// The Hellinger distance, `sqrt(sum (sqrt r - sqrt w)^2 / 2)`: from 0 to 1.
///
/// `None` if a side has no values, or the lengths differ.
pub fn hellinger(reference: &[u64], window: &[u64]) -> Option<f64> {
    let pairs = shares(reference, window)?;
    sum(&pairs, |r, w| (r.sqrt() - w.sqrt()).powi(2)).map(|twice| (twice / 2.0).sqrt())
}

/// The total variation distance, `sum |r - w| / 2`: the share of values that would have to change
/// for the two to be the same.
///
/// `None` if a side has no values, or the lengths differ.
pub fn total_variation(reference: &[u64], window: &[u64]) -> Option<f64> {
    let pairs = shares(reference, window)?;
    sum(&pairs, |r, w| (r - w).abs()).map(|twice| twice / 2.0)
}

fn relative_entropy(share: f64, of: f64) -> f64 {
    if share > 0.0 {
        share * (share / of).ln()
    } else {
        0.0
    }
}

fn sum(pairs: &[(f64, f64)], term: impl Fn(f64, f64) -> f64) -> Option<f64> {
    finite(
        pairs
            .iter()
            .map(|&(reference, window)| term(reference, window))
            .sum(),
    )
}

/// Shares of both sides, bin by bin, without the bins that are empty on both.
fn shares(reference: &[u64], window: &[u64]) -> Option<Vec<(f64, f64)>> {
    weighted_shares(reference, window, 0.0)
}

fn smooth_shares(
    reference: &[u64],
    window: &[u64],
    smoothing: Smoothing,
) -> Option<Vec<(f64, f64)>> {
    match smoothing {
        Smoothing::None => shares(reference, window),
        Smoothing::Pseudocount(count) => weighted_shares(reference, window, count.max(0.0)),
        Smoothing::Floor(floor) => {
            let pairs = shares(reference, window)?.into_iter();
            Some(pairs.map(|(r, w)| (r.max(floor), w.max(floor))).collect())
        }
    }
}

fn weighted_shares(reference: &[u64], window: &[u64], add: f64) -> Option<Vec<(f64, f64)>> {
    if reference.len() != window.len() {
        return None;
    }
    let pairs: Vec<(f64, f64)> = reference
        .iter()
        .zip(window)
        .filter(|&(&r, &w)| r > 0 || w > 0)
        .map(|(&r, &w)| (r as f64 + add, w as f64 + add))
        .collect();
    let has_values = |counts: &[u64]| counts.iter().any(|&count| count > 0);
    if !has_values(reference) || !has_values(window) {
        return None;
    }
    let rows_r: f64 = pairs.iter().map(|pair| pair.0).sum();
    let rows_w: f64 = pairs.iter().map(|pair| pair.1).sum();
    Some(
        pairs
            .into_iter()
            .map(|(r, w)| (r / rows_r, w / rows_w))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_bin_makes_no_infinity() {
        let (reference, window) = ([50, 50, 0, 0], [50, 0, 50, 0]);
        assert_eq!(psi(&reference, &window, Smoothing::None), None);
        assert_eq!(kl_divergence(&reference, &window, Smoothing::None), None);
        assert!(psi(&reference, &window, Smoothing::default()).is_some_and(|psi| psi > 1.0));
        assert_eq!(total_variation(&reference, &window), Some(0.5));
    }

    #[test]
    fn more_rows_say_more_about_an_empty_bin() {
        let small = psi(&[9, 1], &[10, 0], Smoothing::default()).unwrap();
        let large = psi(&[900, 100], &[1000, 0], Smoothing::default()).unwrap();
        assert!(large > 2.0 * small);
    }

    #[test]
    fn nothing_has_no_distance() {
        for counts in [&[][..], &[0, 0]] {
            assert_eq!(psi(counts, counts, Smoothing::default()), None);
            assert_eq!(jensen_shannon(counts, counts), None);
            assert_eq!(hellinger(counts, counts), None);
        }
        assert_eq!(total_variation(&[1, 2], &[1]), None);
        assert_eq!(jensen_shannon(&[1, 2], &[0, 0]), None);
    }
}
