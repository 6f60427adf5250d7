//! How much windows differ from each other.

use super::column::{Part, hits};
use super::places;
use crate::profile::Profile;

/// Pearson's statistic of the windows among themselves, with its degrees of freedom.
pub(super) fn windows(part: Part, windows: &[&Profile]) -> Option<(f64, f64)> {
    if part == Part::Order {
        return among_ranks(windows);
    }
    let mut rows = Vec::new();
    for window in windows {
        let hits = hits(part, window)?;
        rows.push([hits, window.rows().saturating_sub(hits)]);
    }
    among_counts(&rows)
}

/// The same for the share of a bin among all bins.
pub(super) fn windows_in_bin(bin: usize, windows: &[&Profile]) -> Option<(f64, f64)> {
    let mut rows = Vec::new();
    for window in windows {
        let all = window
            .bins()
            .iter()
            .fold(0, |sum: u64, &count| sum.saturating_add(count));
        let hits = *window.bins().get(bin)?;
        rows.push([hits, all - hits]);
    }
    among_counts(&rows)
}

/// Of hits and misses.
fn among_counts(windows: &[[u64; 2]]) -> Option<(f64, f64)> {
    let total = |side: usize| {
        windows
            .iter()
            .map(|window| window[side] as f64)
            .sum::<f64>()
    };
    let totals = [total(0), total(1)];
    if totals.contains(&0.0) {
        return None;
    }
    let (mut statistic, mut used) = (0.0, 0.0);
    for window in windows {
        let window = window.map(|count| count as f64);
        let rows = window[0] + window[1];
        if rows == 0.0 {
            continue;
        }
        used += 1.0;
        for (count, total) in window.into_iter().zip(totals) {
            let expected = total * rows / (totals[0] + totals[1]);
            statistic += (count - expected).powi(2) / expected;
        }
    }
    let degrees = used - 1.0;
    (degrees > 0.0).then_some((statistic, degrees))
}

/// The statistic of Kruskal and Wallis ("Use of ranks in one-criterion variance analysis", 1952),
/// with the correction for ties.
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

#[cfg(test)]
pub(super) mod tests {
    use serde_json::Value;

    use super::*;
    use crate::profile::{Bins, NumberBins};

    pub(in crate::drift) fn reference() -> Value {
        serde_json::from_str(include_str!("../../tests/reference/drift.json")).unwrap()
    }

    #[track_caller]
    pub(in crate::drift) fn assert_close(ours: f64, theirs: &Value) {
        let theirs = theirs.as_f64().unwrap();
        assert!(
            (ours - theirs).abs() <= 1e-9 * theirs,
            "{ours} is not {theirs}"
        );
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
        let all: Vec<Profile> = reference["windows"]
            .as_array()
            .unwrap()
            .iter()
            .map(profile)
            .collect();
        let all: Vec<&Profile> = all.iter().collect();
        for (bin, theirs) in reference["chi"].as_array().unwrap().iter().enumerate() {
            let (statistic, degrees) = windows_in_bin(bin, &all).unwrap();
            assert_close(statistic, theirs);
            assert_eq!(degrees, 5.0);
        }
        let (statistic, degrees) = windows(Part::Order, &all).unwrap();
        assert_close(statistic, &reference["kruskal"]);
        assert_eq!(degrees, 5.0);
        assert_eq!(windows(Part::Missing, &all), None);
    }
}
