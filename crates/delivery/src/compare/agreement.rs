//! What counts as the same answer.

use serde::{Deserialize, Serialize};

use super::rank_correlation::rank_correlation;

/// What counts as the same answer, of numbers in the order of the output.
///
/// ```
/// use tidegate_delivery::compare::Agreement;
///
/// let close = Agreement::Tolerance { absolute: 0.01, relative: 0.0 };
/// assert!(close.agrees(&[0.50, 0.5], &[0.505, 0.495]));
/// assert!(!Agreement::Exact.agrees(&[0.50, 0.5], &[0.505, 0.495]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Agreement {
    /// Equal numbers; NaN is equal to NaN.
    Exact,
    /// Each number within `absolute`, or within `relative` times the control's size.
    Tolerance {
        /// The difference that is accepted anyway.
        #[serde(default)]
        absolute: f64,
        /// The difference that is accepted as a part of the control's number.
        #[serde(default)]
        relative: f64,
    },
    /// The largest number at the same place: the same class.
    Top1,
    /// The same order, up to a rank correlation (Spearman's) of at least this: rankings.
    RankCorrelation {
        /// The correlation that is accepted, up to 1.
        at_least: f64,
    },
}

impl Agreement {
    /// Whether the answers are the same. Answers of different lengths never are.
    pub fn agrees(&self, candidate: &[f64], control: &[f64]) -> bool {
        if candidate.len() != control.len() {
            return false;
        }
        let mut pairs = candidate.iter().zip(control);
        match self {
            Self::Exact => pairs.all(|(one, other)| same(*one, *other)),
            Self::Tolerance { absolute, relative } => pairs.all(|(one, other)| {
                let accepted = absolute.max(relative * other.abs());
                same(*one, *other) || (one - other).abs() <= accepted
            }),
            Self::Top1 => largest(candidate) == largest(control),
            Self::RankCorrelation { at_least } => rank_correlation(candidate, control) >= *at_least,
        }
    }

    /// How far apart the answers are, to find the worst: 0 for equal ones, infinite if a number is missing
    /// in one of them only.
    pub fn distance(&self, candidate: &[f64], control: &[f64]) -> f64 {
        if candidate.len() != control.len() {
            return f64::INFINITY;
        }
        if let Self::RankCorrelation { .. } = self {
            return 1.0 - rank_correlation(candidate, control);
        }
        let pairs = candidate.iter().zip(control);
        pairs
            .map(|(one, other)| distance(*one, *other))
            .fold(0.0, f64::max)
    }
}

fn same(one: f64, other: f64) -> bool {
    one == other || (one.is_nan() && other.is_nan())
}

fn distance(one: f64, other: f64) -> f64 {
    match (same(one, other), (one - other).abs()) {
        (true, _) => 0.0,
        (false, distance) if distance.is_nan() => f64::INFINITY,
        (false, distance) => distance,
    }
}

/// The place of the largest number, the first of equal ones; NaN is never the largest.
fn largest(numbers: &[f64]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (index, number) in numbers.iter().enumerate() {
        let is_larger = best.is_none_or(|best| *number > numbers[best]);
        if !number.is_nan() && is_larger {
            best = Some(index);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;

    #[test]
    fn missing_numbers_are_equal_only_to_missing_ones() {
        let tolerance = Agreement::Tolerance {
            absolute: 1e9,
            relative: 1e9,
        };
        for agreement in [Agreement::Exact, tolerance, Agreement::Top1] {
            assert!(agreement.agrees(&[NAN, 1.0], &[NAN, 1.0]), "{agreement:?}");
            assert!(!agreement.agrees(&[NAN, 1.0], &[2.0, 1.0]), "{agreement:?}");
            assert!(!agreement.agrees(&[1.0], &[1.0, 1.0]), "{agreement:?}");
        }
        assert_eq!(Agreement::Exact.distance(&[NAN], &[1.0]), f64::INFINITY);
        assert_eq!(Agreement::Exact.distance(&[NAN], &[NAN]), 0.0);
    }

    #[test]
    fn classes_and_rankings_are_compared_as_such() {
        assert!(Agreement::Top1.agrees(&[0.1, 0.6, 0.3], &[0.2, 0.5, 0.3]));
        assert!(!Agreement::Top1.agrees(&[0.6, 0.1, 0.3], &[0.2, 0.5, 0.3]));
        let ranks = Agreement::RankCorrelation { at_least: 0.9 };
        assert!(ranks.agrees(&[1.0, 2.0, 3.0, 4.0], &[10.0, 20.0, 30.0, 40.0]));
        assert!(!ranks.agrees(&[4.0, 2.0, 3.0, 1.0], &[10.0, 20.0, 30.0, 40.0]));
    }

    #[test]
    fn a_relative_tolerance_is_of_the_control() {
        let tolerance = Agreement::Tolerance {
            absolute: 0.0,
            relative: 0.1,
        };
        assert!(tolerance.agrees(&[110.0], &[100.0]) && !tolerance.agrees(&[111.0], &[100.0]));
        assert_eq!(tolerance.distance(&[111.0, 5.0], &[100.0, 5.0]), 11.0);
    }
}
