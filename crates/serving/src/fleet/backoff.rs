//! How long to wait before something that failed is tried again.

use std::time::Duration;

/// The first wait. Each failure doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Doubling stops here, so that the shift cannot overflow. `at_most` is reached long before.
const MAX_DOUBLINGS: u32 = 16;

/// Exponential back-off with jitter: the wait after a failure that `failures` others preceded. A
/// random quarter more or less keeps servers that failed together from coming back together.
pub(super) fn backoff(failures: u32, at_most: Duration) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(1 << failures.min(MAX_DOUBLINGS));
    let wait = doubled.min(at_most);
    wait.mul_f64(0.75 + 0.5 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_differ_by_a_quarter() {
        let most = Duration::from_secs(30);
        for (failures, wanted) in [(0, 1.0), (1, 2.0), (4, 16.0), (5, 30.0), (u32::MAX, 30.0)] {
            let wait = backoff(failures, most).as_secs_f64();
            assert!(
                (0.75 * wanted..=1.25 * wanted).contains(&wait),
                "{failures}: {wait}"
            );
        }
    }
}
