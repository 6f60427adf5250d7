//! How long a run will take, learnt from the runs so far.
//!
//! The measure of a run is the bytes of its inputs: rows alone say little of models whose rows differ in length.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One bucket per power of two of bytes.
const BUCKETS: usize = 40;
/// Share of the newest run in what is expected of the next: a change of speed is followed within some five runs.
const RECENT_SHARE: u64 = 5;
/// Share of the newest run in the steady average: rare runs that are far longer than the rest are not soon forgotten.
const STEADY_SHARE: u64 = 64;

/// Run times by size of the inputs.
pub(super) struct RunTimes([Averages; BUCKETS]);

/// Moving averages in nanoseconds; 0 where nothing is known.
#[derive(Default)]
struct Averages {
    recent: AtomicU64,
    steady: AtomicU64,
}

impl Default for RunTimes {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Averages::default()))
    }
}

impl RunTimes {
    /// Counts a run over inputs of so many bytes in. Two threads that learn at once may lose one of the two.
    pub(super) fn learn(&self, bytes: usize, took: Duration) {
        let averages = &self.0[bucket(bytes)];
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        for (average, share) in [(&averages.recent, RECENT_SHARE), (&averages.steady, STEADY_SHARE)] {
            let known = average.load(Ordering::Relaxed);
            let next = if known == 0 { took } else { known - known / share + took / share };
            average.store(next.max(1), Ordering::Relaxed);
        }
    }

    /// The expected time of a run: of its own bucket, else of the nearest smaller one, else of the nearest larger one.
    pub(super) fn expected(&self, bytes: usize) -> Option<Duration> {
        let at = bucket(bytes);
        let known = |averages: &Averages| match averages.recent.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        };
        self.0[..=at].iter().rev().find_map(known).or_else(|| self.0[at + 1..].iter().find_map(known))
    }

    /// Whether runs of this size have been seen, and stay below `limit` now and over many runs.
    pub(super) fn stays_below(&self, limit: Duration, bytes: usize) -> bool {
        let averages = &self.0[bucket(bytes)];
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let below = |average: &AtomicU64| (1..=limit).contains(&average.load(Ordering::Relaxed));
        below(&averages.recent) && below(&averages.steady)
    }

    /// Shrinks what is expected of a run a little.
    pub(super) fn doubt(&self, bytes: usize) {
        for averages in &self.0[..=bucket(bytes)] {
            let known = averages.recent.load(Ordering::Relaxed);
            averages.recent.store(known - known / 64, Ordering::Relaxed);
        }
    }
}

fn bucket(bytes: usize) -> usize {
    (bytes.max(1).ilog2() as usize).min(BUCKETS - 1)
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

    #[test]
    fn a_size_never_seen_and_a_rare_long_run_do_not_stay_below() {
        let limit = Duration::from_micros(250);
        let times = RunTimes::default();
        times.learn(256, Duration::from_micros(10));
        assert!(times.stays_below(limit, 256) && !times.stays_below(limit, 4096));
        times.learn(256, Duration::from_millis(100));
        for _ in 0..50 {
            times.learn(256, Duration::from_micros(10));
        }
        assert!(times.expected(256).unwrap() < limit && !times.stays_below(limit, 256));
    }
}
