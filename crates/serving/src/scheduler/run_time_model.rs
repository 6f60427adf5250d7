//! How long a run will take, learnt from earlier runs.
//!
//! ```text
//!            bucket: floor(log2(bytes of the inputs))
//!            0    1    2   ...   9    10   ...   39
//! recent   [ .  | .  | .  | .. | 40 | 71 | .. | .  ] us    how fast now: expected, efficient_rows
//! steady   [ .  | .  | .  | .. | 38 | 65 | .. | .  ] us    how fast over many runs: stays_below
//! last_run [ .  | .  | .  | .. | 97 | 12 | .. | .  ]       run number: is the bucket out of date?
//! ```
//!
//! A run is measured by the bytes of its inputs: rows alone say little about models whose rows
//! differ in length.
//!
//! Invariants: everything is atomic and relaxed, so that no run waits for another one. Two threads
//! that learn at once may lose one of the two times; an average survives that. A bucket that has no
//! run is 0 and never taken for a fast one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use smallvec::SmallVec;

/// One bucket for each power of two of bytes.
const BUCKETS: usize = 40;
/// One part in so many of the recent average is the newest run: a change of speed by a factor of
/// two is followed within some five runs.
const RECENT_SHARE: u64 = 5;
/// One part in so many of the steady average is the newest run: rare runs that are far longer than
/// the rest are remembered for long.
const STEADY_SHARE: u64 = 64;
/// A run that the kernel interrupted is not a change of speed: no run counts in the recent average
/// as more than so many times what was expected.
const MAX_STEP: u64 = 2;
/// A size that none of so many runs had is out of date: its time may have been measured on a busier
/// machine.
const OUT_OF_DATE_RUNS: u64 = 512;
/// A larger batch that saves less than this share of the time per row is not worth the wait for it:
/// nobody is answered before its end, and run times differ by a few parts in a hundred anyway.
const MIN_BATCH_GAIN: f64 = 0.1;
/// A larger batch that saves less than this share of the time per row is not worth leaving the
/// thread that has the requests.
const MIN_HANDOVER_GAIN: f64 = 0.25;
/// Each request that was shed by an estimate shrinks it by one part in so many.
const DECAY_SHARE: u64 = 64;

/// Run times by size of the inputs.
pub(super) struct RunTimeModel {
    sizes: [SizeEstimate; BUCKETS],
    /// Runs of all sizes so far.
    runs: AtomicU64,
}

#[derive(Default)]
struct SizeEstimate {
    recent: MovingAverage,
    steady: MovingAverage,
    /// The number of its last run among those of all sizes.
    last_run: AtomicU64,
}

/// An exponentially weighted moving average in nanoseconds; 0 before the first run.
#[derive(Default)]
struct MovingAverage(AtomicU64);

impl Default for RunTimeModel {
    fn default() -> Self {
        Self {
            sizes: std::array::from_fn(|_| SizeEstimate::default()),
            runs: AtomicU64::new(0),
        }
    }
}

impl RunTimeModel {
    /// Adds the time of a run over inputs of so many bytes.
    pub(super) fn learn(&self, bytes: usize, run_time: Duration) {
        let size = &self.sizes[bucket(bytes)];
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        size.last_run.store(number, Ordering::Relaxed);
        // 0 stands for "not measured".
        let nanos = nanos(run_time).max(1);
        let capped = match size.recent.nanos() {
            0 => nanos,
            recent => nanos.min(recent.saturating_mul(MAX_STEP)),
        };
        size.recent.add(capped, RECENT_SHARE);
        size.steady.add(nanos, STEADY_SHARE);
    }

    /// The expected time of a run: that of its own size, else in proportion to the nearest smaller
    /// size, else that of the nearest larger one.
    pub(super) fn expected(&self, bytes: usize) -> Option<Duration> {
        let at = bucket(bytes);
        (0..=at)
            .rev()
            .find_map(|smaller| Some(scale(self.estimate(smaller)?, at - smaller)))
            .or_else(|| (at + 1..BUCKETS).find_map(|larger| self.estimate(larger)))
    }

    /// The number of rows, at most `max_rows`, above which a larger run gains nothing: its time per
    /// row is within [`MIN_BATCH_GAIN`] of the best known one. Where fewer than two sizes are
    /// known, `max_rows`.
    pub(super) fn efficient_rows(&self, row_bytes: usize, max_rows: usize) -> usize {
        let known: SmallVec<[(usize, Duration); 12]> = powers_of_two()
            .take_while(|rows| *rows <= max_rows)
            .filter_map(|rows| Some((rows, self.known_time_per_row(row_bytes, rows)?)))
            .collect();
        let best = known.iter().map(|(_, per_row)| *per_row).min();
        // One measured size does not tell whether more rows are cheaper.
        let Some(best) = best.filter(|_| known.len() > 1) else {
            return max_rows;
        };
        let good_enough = best.mul_f64(1.0 + MIN_BATCH_GAIN);
        match known.iter().find(|(_, per_row)| *per_row <= good_enough) {
            Some((rows, _)) if *rows * 2 <= max_rows => *rows,
            // Nothing is known between the last power of two and the limit.
            _ => max_rows,
        }
    }

    /// Whether a row costs so much less in a run over `rows` of them than in the largest run within
    /// `inline_limit` that it is worth handing them to another thread.
    pub(super) fn is_worth_handover(
        &self,
        row_bytes: usize,
        rows: usize,
        inline_limit: Duration,
    ) -> bool {
        let inline_rows = powers_of_two()
            .take_while(|few| {
                *few < rows
                    && self
                        .expected(row_bytes * few)
                        .is_some_and(|run| run <= inline_limit)
            })
            .last();
        let inline = inline_rows.and_then(|few| self.expected_time_per_row(row_bytes, few));
        let together = self.expected_time_per_row(row_bytes, rows);
        match (inline, together) {
            (Some(inline), Some(together)) => together.mul_f64(1.0 + MIN_HANDOVER_GAIN) < inline,
            _ => true,
        }
    }

    /// Whether runs of this size were seen, and stay within `limit` now and over many runs.
    pub(super) fn stays_below(&self, limit: Duration, bytes: usize) -> bool {
        let size = &self.sizes[bucket(bytes)];
        let seen_below = 1..=nanos(limit);
        seen_below.contains(&size.recent.nanos()) && seen_below.contains(&size.steady.nanos())
    }

    /// Whether runs of this size were seen, and take `limit` or more now and over many runs.
    pub(super) fn stays_above(&self, limit: Duration, bytes: usize) -> bool {
        let size = &self.sizes[bucket(bytes)];
        let limit = nanos(limit);
        size.recent.nanos() >= limit && size.steady.nanos() >= limit
    }

    /// Shrinks what is expected of a run a little. An estimate that sheds every request gets no new
    /// run that could correct it; without this, a single slow run could shed for ever. Smaller
    /// sizes shrink with it, as the estimate may come from one of them.
    pub(super) fn decay_estimate(&self, bytes: usize) {
        for size in &self.sizes[..=bucket(bytes)] {
            let known = size.recent.nanos();
            size.recent.set(known - known / DECAY_SHARE);
        }
    }

    fn known_time_per_row(&self, row_bytes: usize, rows: usize) -> Option<Duration> {
        let run = self.estimate(bucket(rows * row_bytes))?;
        Some(run.div_f64(rows as f64))
    }

    fn expected_time_per_row(&self, row_bytes: usize, rows: usize) -> Option<Duration> {
        let run = self.expected(row_bytes * rows)?;
        Some(run.div_f64(rows as f64))
    }

    /// What is known of a size. An out-of-date size is expected to take no longer than in
    /// proportion to the nearest smaller size that is current: so it is tried again, although it
    /// once seemed too slow.
    fn estimate(&self, bucket: usize) -> Option<Duration> {
        let own = self.sizes[bucket].recent.get()?;
        let runs = self.runs.load(Ordering::Relaxed);
        if self.sizes[bucket].is_current(runs) {
            return Some(own);
        }
        let in_proportion = (0..bucket)
            .rev()
            .filter(|smaller| self.sizes[*smaller].is_current(runs))
            .find_map(|smaller| Some(scale(self.sizes[smaller].recent.get()?, bucket - smaller)));
        Some(in_proportion.map_or(own, |limit| own.min(limit)))
    }
}

impl SizeEstimate {
    fn is_current(&self, runs: u64) -> bool {
        runs <= self.last_run.load(Ordering::Relaxed) + OUT_OF_DATE_RUNS
    }
}

impl MovingAverage {
    /// Adds a time, which makes up one part of `share`. The first time is the average.
    fn add(&self, nanos: u64, share: u64) {
        let next = match self.nanos() {
            0 => nanos,
            known => known - known / share + nanos / share,
        };
        // 0 would mean that nothing is known.
        self.set(next.max(1));
    }

    fn get(&self) -> Option<Duration> {
        match self.nanos() {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    fn nanos(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, nanos: u64) {
        self.0.store(nanos, Ordering::Relaxed);
    }
}

/// The time of a run whose size is doubled so many times, if time grows with size.
fn scale(time: Duration, doublings: usize) -> Duration {
    time.saturating_mul(1u32.checked_shl(doublings as u32).unwrap_or(u32::MAX))
}

fn powers_of_two() -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1usize), |rows| rows.checked_mul(2))
}

fn bucket(bytes: usize) -> usize {
    (bytes.max(1).ilog2() as usize).min(BUCKETS - 1)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_size_is_estimated_from_the_nearest_known_one() {
        let times = RunTimeModel::default();
        assert_eq!(times.expected(4), None);
        times.learn(64, Duration::from_micros(640));
        assert_eq!(times.expected(1), Some(Duration::from_micros(640)));
        times.learn(1, Duration::from_micros(10));
        assert_eq!(times.expected(33), Some(Duration::from_micros(320)));
        assert_eq!(times.expected(100), Some(Duration::from_micros(640)));
        let times = RunTimeModel::default();
        times.learn(1, Duration::from_nanos(1));
        assert!(
            times.expected(usize::MAX).unwrap() >= Duration::from_secs(4),
            "a factor beyond 32 bits"
        );
    }

    #[test]
    fn batches_grow_only_as_long_as_rows_get_cheaper() {
        let row = 64;
        let curve = |us: &[u64]| {
            let times = RunTimeModel::default();
            us.iter()
                .enumerate()
                .for_each(|(at, us)| times.learn(row << at, Duration::from_micros(*us)));
            times.efficient_rows(row, 64)
        };
        assert_eq!(curve(&[]), 64);
        assert_eq!(curve(&[100]), 64, "one size says nothing about others");
        assert_eq!(
            curve(&[100, 200, 400, 800]),
            1,
            "rows cost the same in any batch"
        );
        assert_eq!(
            curve(&[100, 192, 372, 744]),
            1,
            "a few parts in a hundred are not worth the wait"
        );
        assert_eq!(curve(&[100, 110, 130, 165, 330, 650, 1300]), 8);
        assert_eq!(curve(&[10, 11, 12, 13, 14, 15, 16]), 64);
    }

    #[test]
    fn an_out_of_date_slow_size_is_tried_again() {
        let times = RunTimeModel::default();
        times.learn(64, Duration::from_micros(20));
        times.learn(128, Duration::from_millis(1));
        assert_eq!(times.expected(128), Some(Duration::from_millis(1)));
        (0..OUT_OF_DATE_RUNS - 1).for_each(|_| times.learn(64, Duration::from_micros(20)));
        assert_eq!(times.expected(128), Some(Duration::from_millis(1)));
        times.learn(64, Duration::from_micros(20));
        assert!(times.expected(128).unwrap() <= Duration::from_micros(40));
        times.learn(128, Duration::from_millis(1));
        assert_eq!(times.expected(128), Some(Duration::from_millis(1)));
    }

    #[test]
    fn only_rows_that_get_much_cheaper_are_worth_another_thread() {
        let pays = |us: &[u64]| {
            let times = RunTimeModel::default();
            us.iter()
                .enumerate()
                .for_each(|(at, us)| times.learn(8 << at, Duration::from_micros(*us)));
            times.is_worth_handover(8, 16, Duration::from_micros(250))
        };
        assert!(
            !pays(&[30, 60, 120, 240, 480]),
            "rows cost the same in any batch"
        );
        assert!(!pays(&[60, 100, 150, 225, 400]), "a tenth less");
        assert!(pays(&[200, 210, 220, 240, 260]));
        assert!(pays(&[300, 310, 320, 330, 340]), "not even a row is short");
    }

    #[test]
    fn a_change_of_speed_is_followed_and_a_decayed_estimate_shrinks() {
        let times = RunTimeModel::default();
        times.learn(1, Duration::from_millis(100));
        for _ in 0..40 {
            times.learn(1, Duration::from_micros(100));
        }
        assert!(times.expected(1).unwrap() < Duration::from_micros(150));
        for _ in 0..500 {
            times.decay_estimate(1);
        }
        assert!(times.expected(1).unwrap() < Duration::from_micros(2));
    }

    #[test]
    fn stays_below_is_false_for_an_unseen_size_and_after_a_rare_long_run() {
        let limit = Duration::from_micros(250);
        let times = RunTimeModel::default();
        times.learn(256, Duration::from_micros(10));
        assert!(times.stays_below(limit, 256) && !times.stays_below(limit, 4096));
        times.learn(256, Duration::from_millis(100));
        for _ in 0..50 {
            times.learn(256, Duration::from_micros(10));
        }
        assert!(times.expected(256).unwrap() < limit && !times.stays_below(limit, 256));
    }

    #[test]
    fn a_few_interrupted_runs_do_not_make_a_model_one_of_long_runs() {
        let (times, limit) = (RunTimeModel::default(), Duration::from_millis(5));
        assert!(!times.stays_above(limit, 8), "nothing is known");
        times.learn(8, Duration::from_millis(1));
        (0..10).for_each(|_| times.learn(8, Duration::from_millis(20)));
        assert!(!times.stays_above(limit, 8) && times.expected(8).unwrap() > limit);
        (0..100).for_each(|_| times.learn(8, Duration::from_millis(20)));
        assert!(times.stays_above(limit, 8));
        assert!(
            !times.stays_above(limit, 64),
            "nothing is known about other sizes"
        );
    }
}
