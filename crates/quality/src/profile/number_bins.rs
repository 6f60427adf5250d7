//! Bins of numbers.

use serde::{Deserialize, Serialize};

use super::bins::{BinsError, MAX_BINS};
use super::exact_number::ExactNumber;

/// Bins between the least and the greatest number of the reference. Bin `i` has the numbers that
/// are above `upper[i - 1]` and at most `upper[i]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawNumberBins", into = "RawNumberBins")]
pub struct NumberBins {
    least: f64,
    upper: Vec<f64>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNumberBins {
    least: ExactNumber,
    upper: Vec<ExactNumber>,
}

impl NumberBins {
    /// Bins from the least number and the upper edges, which ascend. Without edges every number is
    /// out of range: the column was always missing in the reference.
    ///
    /// # Errors
    /// If an edge is not finite, or they do not ascend, or there are too many.
    pub fn new(least: f64, upper: Vec<f64>) -> Result<Self, BinsError> {
        if upper.len() > MAX_BINS {
            return Err(BinsError::TooMany(upper.len()));
        }
        let finite = least.is_finite() && upper.iter().all(|edge| edge.is_finite());
        let ascend = upper.windows(2).all(|pair| pair[0] < pair[1]);
        if !finite || !ascend || upper.first().is_some_and(|&first| first < least) {
            return Err(BinsError::Edges);
        }
        Ok(Self { least, upper })
    }

    /// The upper edges of the bins.
    pub fn upper(&self) -> &[f64] {
        &self.upper
    }

    /// The least number of the reference, where the first bin begins. `None` without bins.
    pub fn least(&self) -> Option<f64> {
        (!self.upper.is_empty()).then_some(self.least)
    }

    /// The greatest number of the reference, where the last bin ends. `None` without bins.
    pub fn greatest(&self) -> Option<f64> {
        self.upper.last().copied()
    }

    /// Which bin a number is in: `Err(false)` if it is below all of them, `Err(true)` if above.
    pub(super) fn locate(&self, number: f64) -> Result<usize, bool> {
        if number < self.least {
            return Err(false);
        }
        let bin = self.upper.partition_point(|&edge| edge < number);
        if bin < self.upper.len() {
            Ok(bin)
        } else {
            Err(true)
        }
    }
}

impl TryFrom<RawNumberBins> for NumberBins {
    type Error = BinsError;

    fn try_from(raw: RawNumberBins) -> Result<Self, BinsError> {
        Self::new(raw.least.0, raw.upper.iter().map(|edge| edge.0).collect())
    }
}

impl From<NumberBins> for RawNumberBins {
    fn from(bins: NumberBins) -> Self {
        let upper = bins.upper.into_iter().map(ExactNumber).collect();
        Self {
            least: ExactNumber(bins.least),
            upper,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_belongs_to_the_bin_below_it() {
        let bins = NumberBins::new(0.0, vec![1.0, 2.0]).unwrap();
        let places = [
            -0.1,
            0.0,
            1.0,
            1.1,
            2.0,
            2.1,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ];
        let found = places.map(|number| bins.locate(number));
        let (below, above) = (Err(false), Err(true));
        assert_eq!(
            found,
            [below, Ok(0), Ok(0), Ok(1), Ok(1), above, above, below]
        );
    }

    #[test]
    fn a_constant_column_has_one_bin() {
        let bins = NumberBins::new(5.0, vec![5.0]).unwrap();
        assert_eq!(
            [4.0, 5.0, 6.0].map(|number| bins.locate(number)),
            [Err(false), Ok(0), Err(true)]
        );
    }

    #[test]
    fn edges_that_do_not_ascend_are_refused() {
        assert!(NumberBins::new(0.0, vec![2.0, 1.0]).is_err());
        assert!(NumberBins::new(0.0, vec![1.0, 1.0]).is_err());
        assert!(NumberBins::new(3.0, vec![1.0]).is_err());
        assert!(NumberBins::new(f64::NAN, vec![]).is_err());
        assert!(
            serde_json::from_str::<NumberBins>(r#"{"least": "0", "upper": ["2", "1"]}"#).is_err()
        );
    }
}
