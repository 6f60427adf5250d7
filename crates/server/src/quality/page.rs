//! The content of the console's page.

use tidegate_console::{AccuracyFigure, DriftFigure, EstimatedFigures, VersionQuality};

use super::Quality;
use super::accuracy::VersionAccuracy;
use super::drift::DriftStatus;

/// Versions of the page, at most.
const MAX_VERSIONS: usize = 200;

impl Quality {
    /// What was measured last.
    pub(crate) fn page(&self, now_ms: u64) -> tidegate_console::Quality {
        let measured = self.measured.lock();
        let mut versions = Vec::new();
        for (endpoint, of_endpoint) in measured.iter() {
            let drift = self.drift.status(endpoint);
            for (version, accuracy) in of_endpoint {
                let status = drift.iter().find(|status| status.version == *version);
                versions.push(self.version(endpoint, version, accuracy, status));
            }
        }
        versions.truncate(MAX_VERSIONS);
        tidegate_console::Quality {
            is_captured: self.capture.is_some(),
            versions,
            now_ms,
        }
    }

    fn version(
        &self,
        endpoint: &str,
        version: &str,
        accuracy: &VersionAccuracy,
        status: Option<&DriftStatus>,
    ) -> VersionQuality {
        let figures = accuracy.counts.metrics().into_iter();
        let problem = status.and_then(|status| status.problem.clone());
        VersionQuality {
            endpoint: endpoint.to_owned(),
            version: version.to_owned(),
            predictions: accuracy.counts.predictions,
            labelled: accuracy.counts.labelled,
            figures: figures
                .map(|metric| AccuracyFigure {
                    name: metric.name,
                    value: metric.value,
                    low: metric.low,
                    high: metric.high,
                })
                .collect(),
            estimated: estimated(accuracy),
            problem: accuracy.problem.clone().or(problem),
            drift: status.and_then(|status| self.last_window(status)),
        }
    }

    fn last_window(&self, status: &DriftStatus) -> Option<DriftFigure> {
        let window = status.windows.first()?;
        let drifted = window.report.drifted().map(|column| {
            let causes = column.causes.join("; ");
            (
                column.column.clone(),
                self.redactor.text(&causes).into_owned(),
            )
        });
        Some(DriftFigure {
            end_ms: window.end_ms,
            rows: window.report.rows,
            columns: window.report.columns.len(),
            drifted: drifted.collect(),
        })
    }
}

fn estimated(accuracy: &VersionAccuracy) -> Option<EstimatedFigures> {
    let reference = match accuracy.reference.as_ref()? {
        Ok(reference) => reference,
        Err(problem) => return Some(EstimatedFigures::NotCalibrated(problem.clone())),
    };
    let metrics = accuracy.estimated(&accuracy.counts);
    let rows = metrics.iter().map(|metric| metric.n).max();
    Some(EstimatedFigures::Calibrated {
        labels: reference.labels(),
        rows: rows.unwrap_or(0),
        figures: metrics
            .into_iter()
            .map(|metric| AccuracyFigure {
                name: metric.name,
                value: metric.value,
                low: metric.low,
                high: metric.high,
            })
            .collect(),
    })
}
