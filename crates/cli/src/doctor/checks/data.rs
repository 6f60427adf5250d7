//! Whether the data folder's disk has room.

use crate::doctor::exam::{Exam, bytes};
use crate::doctor::finding::{Finding, Severity};

const CHECK: &str = "data";
const LITTLE: f64 = 0.1;
const NONE: f64 = 0.02;

pub(super) fn check(exam: &Exam) -> Vec<Finding> {
    let figures = exam.figures();
    let size = figures
        .value("tidegate_data_size_bytes")
        .filter(|size| *size > 0.0);
    let Some((left, size)) = figures.value("tidegate_data_available_bytes").zip(size) else {
        let what = "the server has no data folder: alerts, silences and what objectives counted end with it";
        return vec![Finding::new(Severity::Ok, CHECK, what)];
    };
    let what = format!(
        "{} of {} are left on the data folder's disk",
        bytes(left),
        bytes(size)
    );
    let finding = |severity| Finding::new(severity, CHECK, what.clone());
    vec![match left / size {
        ..NONE => finding(Severity::Critical)
            .next("tidegate registry gc")
            .runbook("cache-storm"),
        ..LITTLE => finding(Severity::Warning)
            .next("tidegate registry gc")
            .runbook("cache-storm"),
        _ => finding(Severity::Ok),
    }]
}
