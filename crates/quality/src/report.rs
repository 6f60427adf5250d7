//! Which columns of a table have drifted, how much, and why.

use serde::Serialize;

use crate::cause::{self, Cause};
use crate::drift::{ColumnDrift, DriftPolicy, Verdict};
use crate::profile::{Baseline, Profile, TableProfile};

/// A window held against a baseline, the most changed columns first.
#[derive(Clone, Debug, Serialize)]
pub struct DriftReport {
    /// The rows of the baseline.
    pub rows_reference: u64,
    /// The rows of the window.
    pub rows: u64,
    /// The stated chance of a false alarm, for all columns together.
    pub false_alarm_rate: f64,
    /// The columns that could be compared.
    pub columns: Vec<DriftedColumn>,
}

/// What is said of one column.
#[derive(Clone, Debug, Serialize)]
pub struct DriftedColumn {
    /// Its name.
    pub column: String,
    /// Whether it has drifted.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The distances and tests.
    #[serde(flatten)]
    pub drift: ColumnDrift,
    /// What has changed, in words, if it has drifted: the widest change first.
    pub causes: Vec<String>,
}

impl DriftReport {
    /// Compares a window with its baseline.
    pub fn new(baseline: &Baseline, window: &TableProfile, policy: &DriftPolicy) -> Self {
        let windows: Vec<&Profile> = window.columns().map(|(_, profile)| profile).collect();
        let columns = baseline.columns().iter().zip(&windows);
        let drifts: Vec<Option<ColumnDrift>> = columns
            .map(|(column, window)| {
                ColumnDrift::compare(&column.bins, &column.profile, window, None)
            })
            .collect();
        let verdicts = policy.decide(drifts.iter().map(Option::as_ref));
        let judged: Vec<(Option<&ColumnDrift>, Verdict)> = drifts
            .iter()
            .map(Option::as_ref)
            .zip(verdicts.iter().copied())
            .collect();
        let mut columns = Vec::new();
        for place in cause::rank(&judged) {
            let (Some(drift), verdict) = judged[place] else {
                continue;
            };
            let column = &baseline.columns()[place];
            let causes = match verdict.drifted {
                true => cause::explain(&column.bins, &column.profile, windows[place]),
                false => Vec::new(),
            };
            let causes = causes.iter().map(Cause::to_string).collect();
            columns.push(DriftedColumn {
                column: column.name.clone(),
                verdict,
                drift: drift.clone(),
                causes,
            });
        }
        let reference = baseline.columns().first();
        Self {
            rows_reference: reference.map_or(0, |one| one.profile.rows()),
            rows: windows.first().map_or(0, |profile| profile.rows()),
            false_alarm_rate: policy.false_alarm_rate,
            columns,
        }
    }

    /// The columns that have drifted.
    pub fn drifted(&self) -> impl Iterator<Item = &DriftedColumn> {
        self.columns.iter().filter(|column| column.verdict.drifted)
    }
}
