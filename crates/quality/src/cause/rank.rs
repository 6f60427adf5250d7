//! Which columns changed most.

use std::cmp::Ordering;

use crate::drift::{ColumnDrift, Verdict};

/// The numbers of the columns, the most changed first: those that have drifted before the others,
/// and among them by how much changed in a part that surely changed; the p-value decides between
/// equals. Columns that were not compared are left out.
pub fn rank(columns: &[(Option<&ColumnDrift>, Verdict)]) -> Vec<usize> {
    let mut compared: Vec<usize> = (0..columns.len())
        .filter(|&column| columns[column].0.is_some())
        .collect();
    compared.sort_by(|&one, &other| by_change(&columns[one], &columns[other]));
    compared
}

fn by_change(
    one: &(Option<&ColumnDrift>, Verdict),
    other: &(Option<&ColumnDrift>, Verdict),
) -> Ordering {
    let p_value = |verdict: &Verdict| verdict.p_value.unwrap_or(1.0);
    other
        .1
        .drifted
        .cmp(&one.1.drifted)
        .then_with(|| effect(other).total_cmp(&effect(one)))
        .then_with(|| p_value(&one.1).total_cmp(&p_value(&other.1)))
}

/// The greatest effect of the parts that surely changed; the distance of all if none did.
fn effect((drift, _): &(Option<&ColumnDrift>, Verdict)) -> f64 {
    let Some(drift) = drift else { return 0.0 };
    let sure = SURE / drift.tests.len().max(1) as f64;
    let changed = drift.tests.iter().filter(|test| test.p_value <= sure);
    let greatest = changed.map(|test| test.effect).reduce(f64::max);
    greatest.unwrap_or(drift.scores.total_variation)
}

/// The p-value, over all parts of a column, from which a part surely changed.
const SURE: f64 = 0.001;
