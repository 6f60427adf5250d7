//! The count, mean and variance of a stream of numbers, which can be merged.

use serde::{Deserialize, Serialize};

/// Count, mean and sum of squared differences from the mean.
///
/// Added to by Welford's method ("Note on a method for calculating corrected sums of squares and
/// products", 1962) and merged by that of Chan, Golub and LeVeque ("Updating formulae and a
/// pairwise algorithm for computing sample variances", 1979). Both stay exact where the mean is
/// large beside the variance, which sums of squares do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "RawMoments", into = "RawMoments")]
pub struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

/// Sums that overflowed are `null`: JSON has no infinities.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMoments {
    count: u64,
    mean: Option<f64>,
    squares: Option<f64>,
}

impl Moments {
    /// Adds a number. Numbers that are not finite are left out.
    pub fn add(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.count = self.count.saturating_add(1);
        let from_old_mean = value - self.mean;
        self.mean += from_old_mean / self.count as f64;
        self.squares += from_old_mean * (value - self.mean);
    }

    /// The same number many times.
    pub fn repeated(value: f64, count: u64) -> Self {
        if count == 0 || !value.is_finite() {
            return Self::default();
        }
        Self {
            count,
            mean: value,
            squares: 0.0,
        }
    }

    /// Adds the numbers of another.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let count = self.count as f64 + other.count as f64;
        let apart = other.mean - self.mean;
        let share = other.count as f64 / count;
        self.mean += apart * share;
        self.squares += other.squares + apart * apart * self.count as f64 * share;
        self.count = self.count.saturating_add(other.count);
    }

    /// How many numbers were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The mean. `None` if there is no number, or if they are too large for their sum.
    pub fn mean(&self) -> Option<f64> {
        finite(self.mean).filter(|_| self.count > 0)
    }

    /// The sample variance, with `n - 1` below. `None` for fewer than two numbers.
    pub fn variance(&self) -> Option<f64> {
        if self.count < 2 {
            return None;
        }
        finite(self.squares / (self.count - 1) as f64).map(|variance| variance.max(0.0))
    }

    /// The square root of [`Moments::variance`].
    pub fn standard_deviation(&self) -> Option<f64> {
        self.variance().map(f64::sqrt)
    }

    /// The standard error of the mean.
    pub fn standard_error(&self) -> Option<f64> {
        self.standard_deviation()
            .map(|deviation| deviation / (self.count as f64).sqrt())
    }
}

impl From<RawMoments> for Moments {
    fn from(raw: RawMoments) -> Self {
        Self {
            count: raw.count,
            mean: raw.mean.unwrap_or(f64::NAN),
            squares: raw.squares.unwrap_or(f64::NAN),
        }
    }
}

impl From<Moments> for RawMoments {
    fn from(moments: Moments) -> Self {
        let (mean, squares) = (finite(moments.mean), finite(moments.squares));
        Self {
            count: moments.count,
            mean,
            squares,
        }
    }
}

impl FromIterator<f64> for Moments {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut moments = Self::default();
        values.into_iter().for_each(|value| moments.add(value));
        moments
    }
}

/// `None` for NaN and infinities, which no caller may present as a number.
pub(crate) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variance_is_exact_beside_a_large_mean() {
        let moments: Moments = [4.0, 7.0, 13.0, 16.0]
            .iter()
            .map(|value| value + 1e9)
            .collect();
        assert_eq!(
            (moments.mean(), moments.variance()),
            (Some(1e9 + 10.0), Some(30.0))
        );
    }

    #[test]
    fn merged_parts_equal_the_whole() {
        let values: Vec<f64> = (0..100).map(|i| f64::from(i * i % 37)).collect();
        let whole: Moments = values.iter().copied().collect();
        let mut merged = Moments::default();
        for part in values.chunks(7) {
            merged.merge(&part.iter().copied().collect());
        }
        let (one, other) = (whole.variance().unwrap(), merged.variance().unwrap());
        assert!((one - other).abs() < 1e-12 * one);
    }

    #[test]
    fn too_few_or_too_large_numbers_have_no_variance() {
        assert_eq!(Moments::default().mean(), None);
        assert_eq!(Moments::from_iter([1.0]).variance(), None);
        assert_eq!(Moments::from_iter([f64::NAN, f64::INFINITY]).mean(), None);
        assert_eq!(Moments::from_iter([1e308, -1e308]).variance(), None);
    }
}
