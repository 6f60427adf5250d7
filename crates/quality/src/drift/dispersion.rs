//! How much windows differ from each other that have not drifted.

use serde::{Deserialize, Serialize};
use statrs::function::beta::checked_beta_reg;

use super::column::{Part, hits, parts};
use super::places;
use crate::profile::{Bins, Profile};

/// How much more windows without drift differ from each other than samples of independent rows would.
/// Traffic comes in bursts of similar rows, and no two Mondays are the same; tests that count each row
/// as independent find that significant.
///
/// The statistic of every single share is divided by a factor of its own: that of the same share among past
/// windows, by its degrees of freedom (Rao and Scott, "On chi-squared tests for multiway contingency tables
/// with cell proportions estimated from survey data", 1984). As it is estimated from so many windows, the
/// p-value is that of an F distribution. One factor for all bins together would not do: where the mean
/// of a column varies, its bins vary together, and a sum over them has a longer tail than chi-squared.
///
/// For windows of another size, the part of a factor above 1 grows with the rows, as it does where rows of
/// one window have something in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dispersion {
    /// How many windows it was estimated from.
    windows: usize,
    /// Mean rows of the windows.
    rows: f64,
    parts: Vec<(Part, f64)>,
    bins: Vec<f64>,
}

impl Dispersion {
    /// Estimates it from windows that have not drifted, each like those that will be tested: the same
    /// length, and the same season if the reference is seasonal. `None` for fewer than three with rows. With
    /// 20 and more it costs little of what is found.
    pub fn estimate(bins: &Bins, windows: &[Profile]) -> Option<Self> {
        let with_rows = windows
            .iter()
            .filter(|window| window.is_of(bins) && window.rows() > 0);
        let windows: Vec<&Profile> = with_rows.collect();
        if windows.len() < 3 {
            return None;
        }
        let rows: f64 = windows.iter().map(|window| window.rows() as f64).sum();
        let single_parts = parts(bins.kind())
            .iter()
            .filter(|&&part| part != Part::Bins);
        let factor = |&part: &Part| (part, factor(of_part(part, &windows)));
        let of_bin = |bin: usize| factor_of_bin(bin, &windows);
        Some(Self {
            windows: windows.len(),
            rows: rows / windows.len() as f64,
            parts: single_parts.map(factor).collect(),
            bins: (0..bins.len()).map(of_bin).collect(),
        })
    }

    /// The factor of a part, in windows of so many rows: 1 if rows are independent. Bins have one each.
    pub fn factor(&self, part: Part, rows: u64) -> f64 {
        let factor = self.parts.iter().find(|factor| factor.0 == part);
        self.scaled(factor.map_or(1.0, |factor| factor.1), rows)
    }

    /// The factor of a bin, in windows of so many rows.
    pub fn factor_of_bin(&self, bin: usize, rows: u64) -> f64 {
        self.scaled(self.bins.get(bin).copied().unwrap_or(1.0), rows)
    }

    /// Without past windows in which the share is above 0, there is nothing to scale.
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
        let degrees = self.windows.saturating_sub(1) as f64;
        f_survival(statistic / factor, 1.0, degrees).unwrap_or(1.0)
    }
}

fn factor(among: Option<(f64, f64)>) -> f64 {
    among.map_or(1.0, |(statistic, degrees)| (statistic / degrees).max(1.0))
}

fn factor_of_bin(bin: usize, windows: &[&Profile]) -> f64 {
    let rows = windows.iter().map(|window| {
        let all: u64 = window
            .bins()
            .iter()
            .fold(0, |sum, &count| sum.saturating_add(count));
        vec![window.bins()[bin], all - window.bins()[bin]]
    });
    factor(among_counts(&rows.collect::<Vec<_>>()))
}

/// Pearson's statistic of the windows among themselves, with its degrees of freedom.
fn of_part(part: Part, windows: &[&Profile]) -> Option<(f64, f64)> {
    match part {
        Part::Order => among_ranks(windows),
        Part::Bins => {
            let rows: Vec<Vec<u64>> = windows
                .iter()
                .map(|window| window.bins().to_vec())
                .collect();
            among_counts(&rows)
        }
        part => {
            let mut rows = Vec::new();
            for window in windows {
                let hits = hits(part, window)?;
                rows.push(vec![hits, window.rows().saturating_sub(hits)]);
            }
            among_counts(&rows)
        }
    }
}

fn among_counts(windows: &[Vec<u64>]) -> Option<(f64, f64)> {
    let bins = windows.first()?.len();
    let column = |bin: usize| windows.iter().map(|window| window[bin] as f64).sum::<f64>();
    let totals: Vec<f64> = (0..bins).map(column).collect();
    let all: f64 = totals.iter().sum();
    let (mut statistic, mut used_bins, mut used_windows) = (0.0, 0.0, 0.0);
    for total in &totals {
        used_bins += f64::from(u8::from(*total > 0.0));
    }
    for window in windows {
        let rows: f64 = window.iter().map(|&count| count as f64).sum();
        if rows == 0.0 {
            continue;
        }
        used_windows += 1.0;
        for (&count, &total) in window
            .iter()
            .zip(&totals)
            .filter(|&(_, &total)| total > 0.0)
        {
            let expected = total * rows / all;
            statistic += (count as f64 - expected).powi(2) / expected;
        }
    }
    let degrees = (used_bins - 1.0) * (used_windows - 1.0);
    (degrees > 0.0).then_some((statistic, degrees))
}

/// The statistic of Kruskal and Wallis ("Use of ranks in one-criterion variance analysis", 1952), with
/// the correction for ties.
fn among_ranks(windows: &[&Profile]) -> Option<(f64, f64)> {
    let windows: Vec<Vec<u64>> = windows
        .iter()
        .map(|window| places::ascending(window))
        .collect();
    let bins = windows.first()?.len();
    let mut mean_ranks = Vec::with_capacity(bins);
    let (mut below, mut ties) = (0.0, 0.0);
    for bin in 0..bins {
        let total: f64 = windows.iter().map(|window| window[bin] as f64).sum();
        mean_ranks.push(below + (total + 1.0) / 2.0);
        below += total;
        ties += total.powi(3) - total;
    }
    let all = below;
    let (mut statistic, mut used_windows) = (0.0, 0.0);
    for window in &windows {
        let rows: f64 = window.iter().map(|&count| count as f64).sum();
        if rows > 0.0 {
            let ranks = window
                .iter()
                .zip(&mean_ranks)
                .map(|(&count, rank)| count as f64 * rank);
            let apart = ranks.sum::<f64>() / rows - (all + 1.0) / 2.0;
            statistic += rows * apart * apart;
            used_windows += 1.0;
        }
    }
    let untied = 1.0 - ties / (all.powi(3) - all);
    let statistic = statistic * 12.0 / (all * (all + 1.0)) / untied;
    let degrees = used_windows - 1.0;
    (degrees > 0.0 && statistic.is_finite()).then_some((statistic, degrees))
}

/// The chance that a variable with the F distribution is greater.
fn f_survival(value: f64, degrees: f64, others: f64) -> Option<f64> {
    if value <= 0.0 {
        return Some(1.0);
    }
    let x = others / (others + degrees * value);
    checked_beta_reg(others / 2.0, degrees / 2.0, x)
        .ok()
        .map(|chance| chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::profile::{CategoryBins, NumberBins};

    fn reference() -> Value {
        serde_json::from_str(include_str!("../../tests/reference/drift.json")).unwrap()
    }

    fn assert_close(ours: f64, theirs: &Value) {
        let theirs = theirs.as_f64().unwrap();
        assert!(
            (ours - theirs).abs() <= 1e-9 * theirs,
            "{ours} is not {theirs}"
        );
    }

    #[test]
    fn tails_of_the_f_distribution_are_those_of_scipy() {
        for case in reference()["f"].as_array().unwrap() {
            let [value, degrees, others] = [0, 1, 2].map(|i| case[i].as_f64().unwrap());
            assert_close(f_survival(value, degrees, others).unwrap(), &case[3]);
        }
    }

    #[test]
    fn differences_among_windows_are_those_of_scipy() {
        let reference = &reference()["dispersion"];
        let bins = Bins::Number(NumberBins::new(0.0, vec![0.0, 1.0, 2.0, 3.0, 4.0]).unwrap());
        let profile = |counts: &Value| {
            let mut profile = Profile::new(&bins);
            for (number, count) in counts.as_array().unwrap().iter().enumerate() {
                let numbers = vec![number as f64; count.as_u64().unwrap() as usize];
                profile.add_numbers(&bins, &numbers);
            }
            profile
        };
        let windows: Vec<Profile> = reference["windows"]
            .as_array()
            .unwrap()
            .iter()
            .map(profile)
            .collect();
        let windows: Vec<&Profile> = windows.iter().collect();
        let counts: Vec<Vec<u64>> = windows
            .iter()
            .map(|window| window.bins().to_vec())
            .collect();
        let (chi, degrees) = among_counts(&counts).unwrap();
        assert_close(chi, &reference["chi"]);
        assert_eq!(degrees, 20.0);
        let (kruskal, degrees) = of_part(Part::Order, &windows).unwrap();
        assert_close(kruskal, &reference["kruskal"]);
        assert_eq!(degrees, 5.0);
        assert_eq!(of_part(Part::Missing, &windows), None);
    }

    #[test]
    fn too_few_windows_or_rows_have_no_dispersion() {
        let bins = Bins::Category(CategoryBins::new(vec!["a".to_owned()], true).unwrap());
        let empty = vec![Profile::new(&bins); 5];
        assert_eq!(Dispersion::estimate(&bins, &empty), None);
        assert_eq!(Dispersion::estimate(&bins, &[]), None);
    }
}
