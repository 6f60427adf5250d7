//! What retraining triggers go by.

use super::Quality;
use super::accuracy::VersionAccuracy;
use super::drift::FinishedWindow;
use crate::clock::now_ms;

/// Columns that are named, at most.
const NAMED_COLUMNS: usize = 5;

/// A metric of the version that answers now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MeasuredFact {
    pub(crate) version: String,
    pub(crate) value: f64,
    /// The ends of its 95 % interval.
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// The labels that it rests on; the predictions if it is estimated without labels.
    pub(crate) n: u64,
}

/// A window in which columns had drifted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DriftFact {
    pub(crate) version: String,
    pub(crate) begin_ms: u64,
    pub(crate) end_ms: u64,
    pub(crate) rows: u64,
    /// The most drifted columns, each with what has changed.
    pub(crate) columns: Vec<(String, String)>,
    /// How many columns have drifted.
    pub(crate) drifted: usize,
    /// How many windows in a row have drifted.
    pub(crate) windows: usize,
}

impl Quality {
    /// A metric as it was measured last, of the version that has answered last.
    pub(crate) fn measured(&self, endpoint: &str, metric: &str) -> Option<MeasuredFact> {
        let measured = self.measured.lock();
        let (_, versions) = measured.iter().find(|(name, _)| name == endpoint)?;
        let (version, accuracy) = versions.iter().max_by_key(|(_, one)| last_hour(one))?;
        let metrics = accuracy.counts.metrics().into_iter();
        let found = metrics.into_iter().find(|one| one.name == metric)?;
        Some(MeasuredFact {
            version: version.clone(),
            value: found.value,
            low: found.low,
            high: found.high,
            n: found.n,
        })
    }

    /// A metric as it was estimated last without labels, of the version that has answered last; `None` if it
    /// is not calibrated.
    pub(crate) fn estimated(&self, endpoint: &str, metric: &str) -> Option<MeasuredFact> {
        let measured = self.measured.lock();
        let (_, versions) = measured.iter().find(|(name, _)| name == endpoint)?;
        let (version, accuracy) = versions.iter().max_by_key(|(_, one)| last_hour(one))?;
        let metrics = accuracy.estimated(&accuracy.counts).into_iter();
        let found = metrics.into_iter().find(|one| one.name == metric)?;
        Some(MeasuredFact {
            version: version.clone(),
            value: found.value,
            low: found.low,
            high: found.high,
            n: found.n,
        })
    }

    /// The last window of a version, if it has drifted and ended after a time. Of several versions, the one
    /// that has drifted longest.
    pub(crate) fn drifted(&self, model: &str, after_ms: u64) -> Option<DriftFact> {
        let versions = self.drift.status(model).into_iter();
        let facts = versions
            .filter_map(|status| self.drift_fact(&status.version, &status.windows, after_ms));
        facts.max_by_key(|fact| fact.windows)
    }

    fn drift_fact(
        &self,
        version: &str,
        windows: &[FinishedWindow],
        after_ms: u64,
    ) -> Option<DriftFact> {
        let is_news = |window: &&FinishedWindow| {
            window.end_ms > after_ms && window.report.drifted().next().is_some()
        };
        let last = windows.first().filter(is_news)?;
        // That of a version which does not answer any more says nothing about the present.
        let length_ms = last.end_ms.saturating_sub(last.begin_ms);
        let current_ms = (3 * length_ms).max(LEAST_CURRENT_MS);
        if last.end_ms + current_ms < now_ms() {
            return None;
        }
        let columns = last.report.drifted().take(NAMED_COLUMNS).map(|column| {
            let causes = column.causes.join("; ");
            // A new category may be the text of a person.
            let causes = self.redactor.text(&causes).into_owned();
            (column.column.clone(), causes)
        });
        Some(DriftFact {
            version: version.to_owned(),
            begin_ms: last.begin_ms,
            end_ms: last.end_ms,
            rows: last.report.rows,
            columns: columns.collect(),
            drifted: last.report.drifted().count(),
            windows: windows.iter().take_while(|one| is_news(one)).count(),
        })
    }
}

/// A window is of the present for three times its length, and at least so long, in milliseconds.
const LEAST_CURRENT_MS: u64 = 600_000;

/// The last hour in which a version answered, and how often.
fn last_hour(accuracy: &VersionAccuracy) -> Option<(u64, u64)> {
    let (hour, counts) = accuracy.hours.last()?;
    Some((hour.begin_ms(), counts.predictions))
}
