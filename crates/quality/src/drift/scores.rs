//! All distances between two profiles of a column.

use serde::Serialize;

use super::{Smoothing, binned, distance, places};
use crate::profile::{Bins, Profile};

/// How far a window is from its reference. Missing values, those out of range, of the wrong type
/// and new categories are places of their own in the first five. These say how much changed, and
/// not whether it is more than chance: see [`ColumnDrift`](super::ColumnDrift).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// See [`psi`](super::psi), with Jeffreys' prior.
    pub psi: f64,
    /// What `psi` is without any drift, in the mean, for so many rows and places.
    pub psi_by_chance: f64,
    /// See [`kl_divergence`](super::kl_divergence), with Jeffreys' prior.
    pub kl_divergence: f64,
    /// See [`jensen_shannon`](super::jensen_shannon).
    pub jensen_shannon: f64,
    /// See [`hellinger`](super::hellinger).
    pub hellinger: f64,
    /// See [`total_variation`](super::total_variation): the share of values that moved.
    pub total_variation: f64,
    /// The greatest distance between the cumulative distributions at edges of bins. Numbers only.
    pub kolmogorov_smirnov: Option<f64>,
    /// The Wasserstein distance by the bins, in the unit of the values. Numbers only.
    pub wasserstein: Option<f64>,
    /// The same, divided by the standard deviation of the reference.
    pub wasserstein_scaled: Option<f64>,
}

impl Scores {
    /// Compares two profiles. `None` if one has no rows.
    pub fn compare(bins: &Bins, reference: &Profile, window: &Profile) -> Option<Self> {
        let (r, w) = (places::all(reference), places::all(window));
        let used = r.iter().zip(&w).filter(|&(&r, &w)| r > 0 || w > 0).count();
        let rows = (reference.rows() as f64, window.rows() as f64);
        let wasserstein = match bins {
            Bins::Number(bins) => binned::wasserstein(bins, reference, window),
            Bins::Category(_) => None,
        };
        let kolmogorov_smirnov = match bins {
            Bins::Number(_) => binned::kolmogorov_smirnov(reference, window),
            Bins::Category(_) => None,
        };
        let spread = reference
            .moments()
            .standard_deviation()
            .filter(|&spread| spread > 0.0);
        let scaled = wasserstein
            .zip(spread)
            .map(|(distance, spread)| distance / spread);
        Some(Self {
            psi: distance::psi(&r, &w, Smoothing::default())?,
            psi_by_chance: used.saturating_sub(1) as f64 * (1.0 / rows.0 + 1.0 / rows.1),
            kl_divergence: distance::kl_divergence(&r, &w, Smoothing::default())?,
            jensen_shannon: distance::jensen_shannon(&r, &w)?,
            hellinger: distance::hellinger(&r, &w)?,
            total_variation: distance::total_variation(&r, &w)?,
            kolmogorov_smirnov,
            wasserstein,
            wasserstein_scaled: scaled.filter(|scaled| scaled.is_finite()),
        })
    }
}
