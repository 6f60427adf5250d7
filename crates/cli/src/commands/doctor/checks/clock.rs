//! Whether the server's clock agrees with this machine's.

use crate::commands::doctor::context::CheckContext;
use crate::commands::doctor::finding::{Finding, Severity};

const CHECK: &str = "clock";
/// HTTP dates have a resolution of a second, and a request takes a while.
const TOLERANCE_MS: u64 = 2000;
/// From here on, times of alerts mislead and receivers may reject signatures of webhooks.
const FAR_MS: u64 = 30_000;

pub(super) fn check(context: &CheckContext) -> Vec<Finding> {
    let (severity, what) = match context.snapshot.clock_ahead_ms {
        None => (Severity::Ok, "the server sends no date".to_owned()),
        Some(ahead_ms) => match ahead_ms.unsigned_abs() {
            ..=TOLERANCE_MS => (
                Severity::Ok,
                "it agrees with the clock of this machine within 2 s".to_owned(),
            ),
            FAR_MS.. => (Severity::Warning, difference(ahead_ms)),
            _ => (Severity::Notice, difference(ahead_ms)),
        },
    };
    let finding = Finding::new(severity, CHECK, what);
    vec![match severity {
        Severity::Ok => finding,
        _ => finding.next("timedatectl status"),
    }]
}

fn difference(ahead_ms: i64) -> String {
    let side = if ahead_ms > 0 { "ahead of" } else { "behind" };
    let seconds = ahead_ms.unsigned_abs() as f64 / 1000.0;
    format!("the server's clock is {seconds:.0} s {side} this machine's")
}
