//! Requests that failed through a fault of the server, in the log.

use std::time::{Duration, Instant};

use tidegate_observe::SERVER_FAULTS;
use tidegate_serving::{Observation, Outcome};
use tracing::warn;

/// Failures that are logged in each second, at most.
const MAX_PER_SECOND: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);

/// Logs failures, a limited number in each second.
#[derive(Default)]
pub(crate) struct FailureLog {
    /// When this second began.
    began: Option<Instant>,
    logged: u32,
    left_out: u64,
}

impl FailureLog {
    /// Logs a request if it failed through a fault of the server.
    pub(crate) fn log(&mut self, one: &Observation, now: Instant) {
        let Outcome::Failed(code) = one.outcome else {
            return;
        };
        if !SERVER_FAULTS.contains(&code.name()) || !self.may_log(now) {
            return;
        }
        let (model, version) = one
            .version()
            .map_or(("", ""), |(model, version)| (&**model, &**version));
        let trace = one.trace.as_deref();
        let trace_id = trace.map(|trace| format!("{:032x}", trace.context.trace_id));
        warn!(
            model,
            version,
            code = code.name(),
            after_ms = one.total.as_nanos() as f64 / 1e6,
            trace_id,
            request_id = trace.and_then(|trace| trace.id.as_deref()),
            "a request failed"
        );
    }

    fn may_log(&mut self, now: Instant) -> bool {
        if self
            .began
            .is_none_or(|began| now.saturating_duration_since(began) >= SECOND)
        {
            // Otherwise an outage would look as small as the limit.
            if self.left_out > 0 {
                warn!(
                    requests = self.left_out,
                    "more requests failed than are logged"
                );
            }
            *self = Self {
                began: Some(now),
                logged: 0,
                left_out: 0,
            };
        }
        self.logged += 1;
        let may = self.logged <= MAX_PER_SECOND;
        self.left_out += u64::from(!may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_logs_at_most_the_limit() {
        let (mut failures, now) = (FailureLog::default(), Instant::now());
        let logged =
            |failures: &mut FailureLog, at| (0..25).filter(|_| failures.may_log(at)).count();
        assert_eq!((logged(&mut failures, now), failures.left_out), (10, 15));
        assert_eq!(
            (logged(&mut failures, now + SECOND), failures.left_out),
            (10, 15)
        );
    }
}
