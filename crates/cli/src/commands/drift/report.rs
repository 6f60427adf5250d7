//! Which columns have drifted, how much, and why.

use serde::Serialize;
use tidegate_quality::cause::{self, Cause};
use tidegate_quality::drift::{ColumnDrift, DriftPolicy, Verdict};
use tidegate_quality::profile::{Baseline, Profile, TableProfile};

use crate::output::{aligned, printable};

/// A comparison of two tables, the most changed columns first.
#[derive(Serialize)]
pub(super) struct Report {
    rows_reference: u64,
    rows: u64,
    false_alarm_rate: f64,
    columns: Vec<ColumnReport>,
}

#[derive(Serialize)]
struct ColumnReport {
    column: String,
    #[serde(flatten)]
    verdict: Verdict,
    #[serde(flatten)]
    drift: ColumnDrift,
    /// What has changed, if it has drifted.
    causes: Vec<String>,
}

impl Report {
    pub(super) fn new(baseline: &Baseline, window: &TableProfile, policy: &DriftPolicy) -> Self {
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
            columns.push(ColumnReport {
                column: column.name.clone(),
                verdict,
                drift: drift.clone(),
                causes: causes.iter().map(Cause::to_string).collect(),
            });
        }
        Self {
            rows_reference: baseline
                .columns()
                .first()
                .map_or(0, |one| one.profile.rows()),
            rows: windows.first().map_or(0, |profile| profile.rows()),
            false_alarm_rate: policy.false_alarm_rate,
            columns,
        }
    }

    pub(super) fn has_drift(&self) -> bool {
        self.columns.iter().any(|column| column.verdict.drifted)
    }

    /// The report for people.
    pub(super) fn text(&self) -> String {
        let drifted = self.columns.iter().filter(|column| column.verdict.drifted);
        let mut text = format!(
            "{} of {} columns drifted: {} rows against {} of the baseline, false alarm rate {}\n",
            drifted.clone().count(),
            self.columns.len(),
            self.rows,
            self.rows_reference,
            self.false_alarm_rate,
        );
        for column in drifted {
            let name = printable(&column.column);
            let causes = printable(&column.causes.join("; "));
            text.push_str(&format!("  {name}: {causes}\n"));
        }
        let mut table = vec![header()];
        table.extend(self.columns.iter().map(ColumnReport::line));
        text.push('\n');
        text.push_str(&aligned(&table));
        text
    }
}

fn header() -> Vec<String> {
    let names = ["COLUMN", "DRIFTED", "P-VALUE", "PSI", "JS", "MOVED"];
    names.map(str::to_owned).to_vec()
}

impl ColumnReport {
    fn line(&self) -> Vec<String> {
        let scores = &self.drift.scores;
        let drifted = match (self.verdict.p_value, self.verdict.drifted) {
            (None, _) => "too few rows",
            (Some(_), true) => "yes",
            (Some(_), false) => "no",
        };
        let p_value = self.verdict.p_value;
        vec![
            self.column.clone(),
            drifted.to_owned(),
            p_value.map_or_else(|| "-".to_owned(), |p_value| format!("{p_value:.2e}")),
            format!("{:.4}", scores.psi),
            format!("{:.4}", scores.jensen_shannon),
            format!("{:.1} %", 100.0 * scores.total_variation),
        ]
    }
}
