//! Whether the server's clock agrees with this machine's.

use crate::doctor::exam::Exam;
use crate::doctor::finding::{Finding, Severity};

const CHECK: &str = "clock";
/// HTTP tells the time in seconds, and asking takes a while.
const EXACT_MS: u64 = 2000;
/// From here on, times of alerts and signatures of webhooks lead astray.
const FAR_MS: u64 = 30_000;

pub(super) fn check(exam: &Exam) -> Vec<Finding> {
    let Some(ahead_ms) = exam.look.clock_ahead_ms else {
        return vec![Finding::new(
            Severity::Ok,
            CHECK,
            "the server does not tell its time",
        )];
    };
    let side = if ahead_ms > 0 { "ahead of" } else { "behind" };
    let off = format!(
        "the server's clock is {:.0} s {side} this machine's",
        ahead_ms.unsigned_abs() as f64 / 1000.0
    );
    let finding = |severity| Finding::new(severity, CHECK, off.clone()).next("timedatectl status");
    vec![match ahead_ms.unsigned_abs() {
        ..=EXACT_MS => Finding::new(
            Severity::Ok,
            CHECK,
            "it agrees with this machine's within 2 s",
        ),
        FAR_MS.. => finding(Severity::Warning),
        _ => finding(Severity::Notice),
    }]
}
