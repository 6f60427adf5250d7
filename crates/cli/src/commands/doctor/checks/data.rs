//! Free space on the disk of the data folder.

use crate::commands::doctor::context::{CheckContext, bytes};
use crate::commands::doctor::finding::{Finding, Severity};

const CHECK: &str = "data";
/// Shares of the disk that are free.
const LOW: f64 = 0.1;
const CRITICAL: f64 = 0.02;

pub(super) fn check(context: &CheckContext) -> Vec<Finding> {
    let metrics = context.metrics();
    let size = metrics
        .value("tidegate_data_size_bytes")
        // A file system that reports no size has no share that is free.
        .filter(|size| *size > 0.0);
    let free = metrics.value("tidegate_data_available_bytes");
    let Some((free, size)) = free.zip(size) else {
        let what = "the server has no data folder: alerts, silences and the counts of objectives \
                    are lost when it stops";
        return vec![Finding::new(Severity::Ok, CHECK, what)];
    };
    let severity = match free / size {
        ..CRITICAL => Severity::Critical,
        ..LOW => Severity::Warning,
        _ => Severity::Ok,
    };
    let (free, size) = (bytes(free), bytes(size));
    let what = format!("{free} of {size} are free on the data folder's disk");
    let finding = Finding::new(severity, CHECK, what);
    vec![match severity {
        Severity::Ok => finding,
        _ => finding.next("tidegate registry gc").runbook("cache-storm"),
    }]
}
