//! The time of day, and waiting for its even steps.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, in Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        // A clock before 1970 counts as 1970: nothing here needs such times.
        .map_or(0, |now| now.as_millis() as u64)
}

/// Waits for the next moment that is a multiple of this many milliseconds, and returns it.
pub(crate) async fn next_multiple(every_ms: u64) -> u64 {
    let now_ms = now_ms();
    // Multiples of Unix time, so that every replica evaluates at the same moments, whole minutes
    // among them.
    let next_ms = (now_ms / every_ms + 1) * every_ms;
    tokio::time::sleep(Duration::from_millis(next_ms - now_ms)).await;
    next_ms
}
