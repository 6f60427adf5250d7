//! Which columns of a table have drifted.

use serde::{Deserialize, Serialize};

use super::adjust::{benjamini_hochberg, benjamini_yekutieli};
use super::column::{ColumnDrift, Part};

/// When columns count as drifted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DriftPolicy {
    /// The chance that a window in which nothing drifted has an alarm on any of its columns; and,
    /// of all alarms, the mean share that is false. Above 0, below 1.
    pub false_alarm_rate: f64,
    /// The least [`effect`](super::PartTest::effect) that is an alarm, however sure it is. From 0
    /// to 1.
    pub least_effect: f64,
    /// Windows with fewer rows are not judged.
    pub least_rows: u64,
    /// Whether columns may depend on each other in any way. Holds the rate for columns that exclude
    /// each other too, and finds less.
    pub any_dependence: bool,
}

impl Default for DriftPolicy {
    fn default() -> Self {
        Self {
            false_alarm_rate: 0.01,
            least_effect: 0.02,
            least_rows: 100,
            any_dependence: false,
        }
    }
}

/// What is said about a column.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The p-value, adjusted for the number of columns. `None` if there are too few rows.
    pub p_value: Option<f64>,
    /// Whether it has drifted: the p-value is at most the rate.
    pub drifted: bool,
    /// What changed most surely, among what changed enough.
    pub part: Option<Part>,
}

impl DriftPolicy {
    /// Judges the columns of one window. A column that could not be compared is `None`, and has no
    /// verdict of drift.
    pub fn decide<'a>(
        &self,
        columns: impl IntoIterator<Item = Option<&'a ColumnDrift>>,
    ) -> Vec<Verdict> {
        let enough = |column: &&ColumnDrift| {
            column.rows_window.min(column.rows_reference) >= self.least_rows
        };
        let columns: Vec<Option<&ColumnDrift>> = columns
            .into_iter()
            .map(|column| column.filter(enough))
            .collect();
        let p_values: Vec<f64> = columns
            .iter()
            .flatten()
            .map(|column| column.p_value(self.least_effect))
            .collect();
        let adjust = if self.any_dependence {
            benjamini_yekutieli
        } else {
            benjamini_hochberg
        };
        let mut adjusted = adjust(&p_values).into_iter();
        let verdict = |column: &Option<&ColumnDrift>| self.verdict(*column, &mut adjusted);
        columns.iter().map(verdict).collect()
    }

    fn verdict(
        &self,
        column: Option<&ColumnDrift>,
        adjusted: &mut impl Iterator<Item = f64>,
    ) -> Verdict {
        let Some(column) = column else {
            return Verdict {
                p_value: None,
                drifted: false,
                part: None,
            };
        };
        let p_value = adjusted.next();
        let drifted = p_value.is_some_and(|p_value| p_value <= self.false_alarm_rate);
        let part = column.surest(self.least_effect).map(|test| test.part);
        Verdict {
            p_value,
            drifted,
            part,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Bins, NumberBins, Profile};

    fn profile(bins: &Bins, counts: [u64; 2]) -> Profile {
        let mut profile = Profile::new(bins);
        profile.add_numbers(bins, &vec![0.5; counts[0] as usize]);
        profile.add_numbers(bins, &vec![1.5; counts[1] as usize]);
        profile
    }

    fn compared(reference: [u64; 2], window: [u64; 2]) -> ColumnDrift {
        let bins = Bins::Number(NumberBins::new(0.0, vec![1.0, 2.0]).unwrap());
        let (reference, window) = (profile(&bins, reference), profile(&bins, window));
        ColumnDrift::compare(&bins, &reference, &window, None).unwrap()
    }

    #[test]
    fn a_sure_but_tiny_change_is_no_alarm() {
        let tiny = compared([500_000, 500_000], [505_000, 495_000]);
        assert!(tiny.p_value(0.0) < 1e-6);
        assert!(!DriftPolicy::default().decide([Some(&tiny)])[0].drifted);
        let strict = DriftPolicy {
            least_effect: 0.001,
            ..DriftPolicy::default()
        };
        assert!(strict.decide([Some(&tiny)])[0].drifted);
    }

    #[test]
    fn a_large_change_in_few_rows_is_no_alarm() {
        let few = compared([500, 500], [7, 3]);
        assert!((few.scores.total_variation - 0.2).abs() < 1e-12);
        let verdict = DriftPolicy::default().decide([Some(&few)])[0];
        assert_eq!(
            verdict,
            Verdict {
                p_value: None,
                drifted: false,
                part: None
            }
        );
        let any = DriftPolicy {
            least_rows: 0,
            ..DriftPolicy::default()
        };
        assert!(!any.decide([Some(&few)])[0].drifted);
    }

    #[test]
    fn among_many_columns_one_must_be_surer() {
        let moved = compared([5000, 5000], [560, 440]);
        let same = compared([5000, 5000], [500, 500]);
        let policy = DriftPolicy::default();
        assert!(policy.decide([Some(&moved)])[0].drifted);
        let many = policy.decide([None, Some(&moved)].into_iter().chain([Some(&same); 200]));
        assert_eq!((many.len(), many[0].p_value), (202, None));
        assert!(many.iter().all(|verdict| !verdict.drifted));
    }
}
