//! The task that keeps the keys of an issuer fresh.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::warn;

use crate::JwtIssuerConfig;
use crate::fetch::Fetcher;
use crate::issuer::Issuer;

/// The first wait after a failure, and the longest. Each is twice the one before.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Fetches the keys of an issuer for ever.
pub(crate) async fn keep_fresh(issuer: Arc<Issuer>, fetcher: Fetcher) {
    let mut failures = 0;
    loop {
        let began = Instant::now();
        match fetcher.keys().await {
            Ok(fetched) => {
                failures = 0;
                issuer.publish(fetched.keys, began);
                wait_for_refresh(&issuer, began, fetched.max_age).await;
            }
            Err(error) => {
                let wait = retry_wait(failures);
                failures += 1;
                let wait_ms = wait.as_millis() as u64;
                let name = &issuer.config.issuer;
                warn!(issuer = name, %error, wait_ms, "the issuer's keys cannot be fetched");
                issuer.publish_failure();
                // Strangers cannot shorten this wait: an issuer in trouble is not asked more often.
                sleep(wait).await;
            }
        }
    }
}

/// Waits until the keys are due, or until a token asks for newer ones, but never less than the
/// least interval.
async fn wait_for_refresh(issuer: &Issuer, began: Instant, max_age: Option<Duration>) {
    let least = Duration::from_secs(issuer.config.min_refresh_s.into());
    sleep_until(began + least).await;
    let due = began + refresh_interval(&issuer.config, max_age);
    // Elapsed means that the keys are due.
    let _ = timeout_at(due, issuer.refetch.notified()).await;
}

/// Ahead of the time at which the keys expire, and not at the same moment on every replica.
fn refresh_interval(config: &JwtIssuerConfig, max_age: Option<Duration>) -> Duration {
    let least = Duration::from_secs(config.min_refresh_s.into());
    let most = Duration::from_secs(config.max_refresh_s.into());
    let lifetime = max_age.unwrap_or(most).min(most);
    // Before the keys expire, and not at the same moment on all servers.
    lifetime.mul_f64(0.8 + 0.1 * fastrand::f64()).max(least)
}

/// The wait after a failure that followed `failures` others: doubled each time, and between half
/// and all of that by chance, so that replicas do not ask together.
fn retry_wait(failures: u32) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(1 << failures.min(16));
    doubled
        .min(LONGEST_WAIT)
        // Equal jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"): servers that
        // failed together must not retry together.
        .mul_f64(0.5 + 0.5 * fastrand::f64())
}

#[cfg(test)]
mod tests;
