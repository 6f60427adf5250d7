//! How long requests took lately.

use std::time::Duration;

/// So many of the last requests are looked at.
const KEPT: usize = 256;
/// So many are needed for a statement.
const LEAST: usize = 20;
/// The percentile is computed again after so many requests.
const COMPUTE_EVERY: u64 = 16;

/// The 95th percentile of the last requests.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    last: Vec<Duration>,
    count: u64,
    p95: Option<Duration>,
}

impl Latencies {
    pub(crate) fn record(&mut self, took: Duration) {
        if self.last.len() < KEPT {
            self.last.push(took);
        } else {
            self.last[self.count as usize % KEPT] = took;
        }
        self.count += 1;
        let is_due = self.count.is_multiple_of(COMPUTE_EVERY) || self.p95.is_none();
        if self.last.len() >= LEAST && is_due {
            let mut sorted = self.last.clone();
            let at = (sorted.len() * 95).div_ceil(100) - 1;
            self.p95 = Some(*sorted.select_nth_unstable(at).1);
        }
    }

    /// `None` while there were too few.
    pub(crate) fn p95(&self) -> Option<Duration> {
        self.p95
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_follows_the_last_requests() {
        let mut latencies = Latencies::default();
        for ms in 1..20 {
            latencies.record(Duration::from_millis(ms));
        }
        assert_eq!(latencies.p95(), None);
        latencies.record(Duration::from_millis(20));
        assert_eq!(latencies.p95(), Some(Duration::from_millis(19)));
        for _ in 0..KEPT + 16 {
            latencies.record(Duration::from_millis(5));
        }
        assert_eq!(latencies.p95(), Some(Duration::from_millis(5)));
    }
}
