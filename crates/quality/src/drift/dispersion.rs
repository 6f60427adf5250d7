//! How much windows differ from each other that have not drifted.

use serde::{Deserialize, Serialize};
use statrs::function::beta::checked_beta_reg;

use super::among;
use super::column::{Part, parts};
use crate::profile::{Bins, Profile};

/// How much more windows without drift differ from each other than samples of independent rows
/// would. Traffic comes in bursts of similar rows, and no two Mondays are the same; tests that
/// count each row as independent find that significant.
///
/// The statistic of every single share is divided by a factor of its own: that of the same share
/// among past windows, by its degrees of freedom (Rao and Scott, "On chi-squared tests for multiway
/// contingency tables with cell proportions estimated from survey data", 1984). As it is estimated
/// from so many windows, the p-value is that of an F distribution. One factor for all bins together
/// would not do: where the mean of a column varies, its bins vary together, and a sum over them has
/// a longer tail than chi-squared.
///
/// For windows of another size, the part of a factor above 1 grows with the rows, as it does where
/// rows of one window have something in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dispersion {
    /// How many windows it was estimated from, less one for each season.
    degrees_of_freedom: f64,
    /// Mean rows of the windows.
    rows: f64,
    parts: Vec<(Part, f64)>,
    bins: Vec<f64>,
}

impl Dispersion {
    /// Estimates it from windows that have not drifted, each like those that will be tested and of
    /// the same length. `None` for fewer than three with rows. With 20 and more it costs little of
    /// what is found.
    pub fn estimate(bins: &Bins, windows: &[Profile]) -> Option<Self> {
        Self::estimate_seasonal(bins, &[windows])
    }

    /// The same for a seasonal reference: windows are compared with those of the same season alone,
    /// such as the same hour of the week in other weeks. `None` if all seasons together have fewer
    /// than two windows more than there are seasons.
    pub fn estimate_seasonal(bins: &Bins, seasons: &[&[Profile]]) -> Option<Self> {
        let with_rows = |window: &&Profile| window.is_of(bins) && window.rows() > 0;
        let seasons: Vec<Vec<&Profile>> = seasons
            .iter()
            .map(|season| season.iter().filter(with_rows).collect())
            .collect();
        let freedom = |season: &Vec<&Profile>| season.len().saturating_sub(1) as f64;
        let degrees_of_freedom: f64 = seasons.iter().map(freedom).sum();
        if degrees_of_freedom < 2.0 {
            return None;
        }
        let windows: Vec<&Profile> = seasons.iter().flatten().copied().collect();
        let rows: f64 = windows.iter().map(|window| window.rows() as f64).sum();
        let single = parts(bins.kind())
            .iter()
            .filter(|&&part| part != Part::Bins);
        let factor_of_part = |&part: &Part| {
            (
                part,
                factor(&seasons, |season| among::windows(part, season)),
            )
        };
        let factor_of_bin =
            |bin: usize| factor(&seasons, |season| among::windows_in_bin(bin, season));
        Some(Self {
            degrees_of_freedom,
            rows: rows / windows.len() as f64,
            parts: single.map(factor_of_part).collect(),
            bins: (0..bins.len()).map(factor_of_bin).collect(),
        })
    }

    /// The factor of a part, in windows of so many rows: 1 if rows are independent. Bins have one
    /// each.
    pub fn factor(&self, part: Part, rows: u64) -> f64 {
        let factor = self.parts.iter().find(|factor| factor.0 == part);
        self.scaled(factor.map_or(1.0, |factor| factor.1), rows)
    }

    /// The factor of a bin, in windows of so many rows.
    pub fn factor_of_bin(&self, bin: usize, rows: u64) -> f64 {
        self.scaled(self.bins.get(bin).copied().unwrap_or(1.0), rows)
    }

    fn scaled(&self, factor: f64, rows: u64) -> f64 {
        let scaled = 1.0 + (factor - 1.0) * rows as f64 / self.rows;
        if scaled >= 1.0 && scaled.is_finite() {
            scaled
        } else {
            1.0
        }
    }

    /// The chance of a statistic that would be chi-squared with one degree of freedom if rows were
    /// independent.
    pub(super) fn p_value(&self, factor: f64, statistic: f64) -> f64 {
        f_survival(statistic / factor, self.degrees_of_freedom).unwrap_or(1.0)
    }
}

/// The statistics of all seasons by their degrees of freedom, but at least 1. Where there is
/// nothing to compare, because a share is always 0, it is 1.
fn factor(seasons: &[Vec<&Profile>], among: impl Fn(&[&Profile]) -> Option<(f64, f64)>) -> f64 {
    let (mut statistics, mut degrees) = (0.0, 0.0);
    for (statistic, freedom) in seasons.iter().filter_map(|season| among(season)) {
        statistics += statistic;
        degrees += freedom;
    }
    if degrees > 0.0 {
        f64::max(statistics / degrees, 1.0)
    } else {
        1.0
    }
}

/// The chance that a variable with the F distribution, with one and `others` degrees of freedom, is
/// greater.
fn f_survival(value: f64, others: f64) -> Option<f64> {
    if value <= 0.0 {
        return Some(1.0);
    }
    let x = others / (others + value);
    checked_beta_reg(others / 2.0, 0.5, x)
        .ok()
        .map(|chance| chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::among::tests::{assert_close, reference};
    use crate::profile::CategoryBins;

    #[test]
    fn tails_of_the_f_distribution_are_those_of_scipy() {
        for case in reference()["f"].as_array().unwrap() {
            let [value, others] = [0, 1].map(|i| case[i].as_f64().unwrap());
            assert_close(f_survival(value, others).unwrap(), &case[2]);
        }
    }

    #[test]
    fn too_few_windows_or_rows_have_no_dispersion() {
        let bins = Bins::Category(CategoryBins::new(vec!["a".to_owned()], true).unwrap());
        let empty = vec![Profile::new(&bins); 5];
        assert_eq!(Dispersion::estimate(&bins, &empty), None);
        assert_eq!(Dispersion::estimate(&bins, &[]), None);
    }

    #[test]
    fn seasons_are_not_compared_with_each_other() {
        use crate::profile::Value;
        let names = ["day", "night"].map(str::to_owned).to_vec();
        let bins = Bins::Category(CategoryBins::new(names, true).unwrap());
        let of = |text: &str| {
            let mut window = Profile::new(&bins);
            (0..90).for_each(|_| window.add(&bins, Value::Text(text)));
            (0..10).for_each(|_| window.add(&bins, Value::Text("day")));
            (0..10).for_each(|_| window.add(&bins, Value::Text("night")));
            window
        };
        let (days, nights) = (vec![of("day"); 4], vec![of("night"); 4]);
        let seasonal = Dispersion::estimate_seasonal(&bins, &[&days, &nights]).unwrap();
        assert_eq!(seasonal.factor_of_bin(0, 110), 1.0);
        let all = [days, nights].concat();
        assert!(
            Dispersion::estimate(&bins, &all)
                .unwrap()
                .factor_of_bin(0, 110)
                > 10.0
        );
    }
}
