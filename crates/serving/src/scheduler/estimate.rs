//! How long a run of so many rows will take, learnt from the runs so far.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One bucket per power of two of rows.
const BUCKETS: usize = 24;
/// Weight of the newest run: a change of speed is followed within some five runs.
const WEIGHT_PERCENT: u64 = 20;

/// Moving averages of run times in nanoseconds; 0 where nothing is known.
#[derive(Default)]
pub(super) struct RunTimes([AtomicU64; BUCKETS]);

impl RunTimes {
    /// Counts a run of `rows` in. Two threads that learn at once may lose one of the two.
    pub(super) fn learn(&self, rows: usize, took: Duration) {
        let bucket = &self.0[bucket(rows)];
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        let known = bucket.load(Ordering::Relaxed);
        let next = if known == 0 { took } else { known - known * WEIGHT_PERCENT / 100 + took / 100 * WEIGHT_PERCENT };
        bucket.store(next.max(1), Ordering::Relaxed);
    }

    /// The expected time of a run of `rows`: of its own bucket, else of the nearest smaller one, else of the nearest
    /// larger one.
    pub(super) fn expected(&self, rows: usize) -> Option<Duration> {
        let at = bucket(rows);
        let known = |bucket: &AtomicU64| match bucket.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        };
        self.0[..=at].iter().rev().find_map(known).or_else(|| self.0[at + 1..].iter().find_map(known))
    }

    /// Shrinks what is expected of a run of `rows` a little.
    pub(super) fn doubt(&self, rows: usize) {
        for bucket in &self.0[..=bucket(rows)] {
            let known = bucket.load(Ordering::Relaxed);
            bucket.store(known - known / 64, Ordering::Relaxed);
        }
    }
}

fn bucket(rows: usize) -> usize {
    (rows.max(1).ilog2() as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_size_answers() {
        let times = RunTimes::default();
        assert_eq!(times.expected(4), None);
        times.learn(64, Duration::from_micros(640));
        assert_eq!(times.expected(1), Some(Duration::from_micros(640)));
        times.learn(1, Duration::from_micros(10));
        assert_eq!(times.expected(33), Some(Duration::from_micros(10)));
        assert_eq!(times.expected(100), Some(Duration::from_micros(640)));
    }

    #[test]
    fn a_change_of_speed_is_followed_and_doubt_shrinks() {
        let times = RunTimes::default();
        times.learn(1, Duration::from_millis(100));
        for _ in 0..40 {
            times.learn(1, Duration::from_micros(100));
        }
        assert!(times.expected(1).unwrap() < Duration::from_micros(150));
        for _ in 0..500 {
            times.doubt(1);
        }
        assert!(times.expected(1).unwrap() < Duration::from_micros(2));
    }
}
