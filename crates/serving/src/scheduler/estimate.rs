//! How long a run will take, learnt from the runs so far.
//!
//! The measure of a run is the bytes of its inputs: rows alone say little of models whose rows
//! differ in length.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use smallvec::SmallVec;

/// One bucket per power of two of bytes.
const BUCKETS: usize = 40;
/// Share of the newest run in what is expected of the next: a change of speed to the double or the
/// half is followed within some five runs.
const RECENT_SHARE: u64 = 5;
/// A run that the kernel interrupted is no change of speed: none counts as more than so many times
/// what was expected.
const MOST_AT_ONCE: u64 = 2;
/// Share of the newest run in the steady average: rare runs that are far longer than the rest are
/// not soon forgotten.
const STEADY_SHARE: u64 = 64;

/// A size that none of so many runs had is out of date: what it took may have been measured on a
/// busier machine.
const OUT_OF_DATE: u64 = 512;

/// A larger batch that saves less than this share of the time per row is not worth the wait for it.
const GAIN: f64 = 0.03;
/// Nor is one that saves less than this share worth leaving the thread that has the requests.
const HANDING_OVER: f64 = 0.25;

/// Run times by size of the inputs.
pub(super) struct RunTimes {
    sizes: [Averages; BUCKETS],
    /// Runs of all sizes so far.
    runs: AtomicU64,
}

/// Moving averages in nanoseconds; 0 where nothing is known.
#[derive(Default)]
struct Averages {
    recent: AtomicU64,
    steady: AtomicU64,
    /// The number of its last run among those of all sizes.
    last: AtomicU64,
}

impl Default for RunTimes {
    fn default() -> Self {
        Self {
            sizes: std::array::from_fn(|_| Averages::default()),
            runs: AtomicU64::new(0),
        }
    }
}

impl RunTimes {
    /// Counts a run over inputs of so many bytes in. Two threads that learn at once may lose one of
    /// the two.
    pub(super) fn learn(&self, bytes: usize, took: Duration) {
        let averages = &self.sizes[bucket(bytes)];
        averages
            .last
            .store(self.runs.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        let recent = averages.recent.load(Ordering::Relaxed);
        let at_most = if recent == 0 {
            took
        } else {
            took.min(recent.saturating_mul(MOST_AT_ONCE))
        };
        average_in(&averages.recent, at_most, RECENT_SHARE);
        average_in(&averages.steady, took, STEADY_SHARE);
    }

    /// The expected time of a run: that of its own size, else in proportion to the nearest smaller
    /// one, else that of the nearest larger one.
    pub(super) fn expected(&self, bytes: usize) -> Option<Duration> {
        let at = bucket(bytes);
        let smaller = |smaller| Some(in_proportion(self.known(smaller)?, at - smaller));
        let nearest_smaller = (0..=at).rev().find_map(smaller);
        nearest_smaller.or_else(|| (at + 1..BUCKETS).find_map(|larger| self.known(larger)))
    }

    /// The number of rows, at most `most`, above which a run gains nothing by more of them: per row
    /// it takes within [`GAIN`] of the best known time. Where fewer than two sizes are known,
    /// `most`.
    pub(super) fn efficient_rows(&self, row_bytes: usize, most: usize) -> usize {
        let sizes = doublings().take_while(|rows| *rows <= most);
        let per_row = |rows: usize| {
            Some((
                rows,
                self.known(bucket(rows * row_bytes))?.div_f64(rows as f64),
            ))
        };
        let known: SmallVec<[(usize, Duration); 12]> = sizes.filter_map(per_row).collect();
        match known.iter().map(|(_, per_row)| *per_row).min() {
            Some(best) if known.len() > 1 => {
                let enough = known
                    .iter()
                    .find(|(_, per_row)| *per_row <= best.mul_f64(1.0 + GAIN));
                enough.map_or(
                    most,
                    |(rows, _)| if *rows * 2 > most { most } else { *rows },
                )
            }
            _ => most,
        }
    }

    /// Whether a row costs so much less in a run over `many` of them than in one as large as
    /// `limit` allows that it is worth handing them to another thread.
    pub(super) fn pays_together(&self, row_bytes: usize, many: usize, limit: Duration) -> bool {
        let expected = |rows: usize| self.expected(row_bytes * rows);
        let is_short = |rows: usize| expected(rows).is_some_and(|run| run <= limit);
        let few = doublings()
            .take_while(|rows| *rows < many && is_short(*rows))
            .last();
        let per_row = |rows: usize| Some(expected(rows)?.div_f64(rows as f64));
        match (few.and_then(per_row), per_row(many)) {
            (Some(few), Some(many)) => many.mul_f64(1.0 + HANDING_OVER) < few,
            _ => true,
        }
    }

    /// What is known of a size. One that is out of date is taken to last no longer than in
    /// proportion to the nearest smaller one that is not: so it is tried again, though it once
    /// seemed too slow.
    fn known(&self, bucket: usize) -> Option<Duration> {
        let own = self.recent(bucket)?;
        let runs = self.runs.load(Ordering::Relaxed);
        let is_current =
            |at: usize| runs <= self.sizes[at].last.load(Ordering::Relaxed) + OUT_OF_DATE;
        if is_current(bucket) {
            return Some(own);
        }
        let smaller = (0..bucket)
            .rev()
            .find(|at| is_current(*at) && self.recent(*at).is_some());
        let at_most = smaller
            .and_then(|smaller| Some(in_proportion(self.recent(smaller)?, bucket - smaller)));
        Some(at_most.map_or(own, |most| own.min(most)))
    }

    fn recent(&self, bucket: usize) -> Option<Duration> {
        match self.sizes[bucket].recent.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// Whether runs of this size have been seen, and stay below `limit` now and over many runs.
    pub(super) fn stays_below(&self, limit: Duration, bytes: usize) -> bool {
        let averages = &self.sizes[bucket(bytes)];
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let below = |average: &AtomicU64| (1..=limit).contains(&average.load(Ordering::Relaxed));
        below(&averages.recent) && below(&averages.steady)
    }

    /// Whether runs of this size have been seen, and take `limit` or more now and over many runs.
    pub(super) fn stays_above(&self, limit: Duration, bytes: usize) -> bool {
        let averages = &self.sizes[bucket(bytes)];
        let above =
            |average: &AtomicU64| u128::from(average.load(Ordering::Relaxed)) >= limit.as_nanos();
        above(&averages.recent) && above(&averages.steady)
    }

    /// Shrinks what is expected of a run a little.
    pub(super) fn doubt(&self, bytes: usize) {
        for averages in &self.sizes[..=bucket(bytes)] {
            let known = averages.recent.load(Ordering::Relaxed);
            averages.recent.store(known - known / 64, Ordering::Relaxed);
        }
    }
}

/// Counts a time into a moving average, of which the newest is one part of `share`.
fn average_in(average: &AtomicU64, took: u64, share: u64) {
    let known = average.load(Ordering::Relaxed);
    let next = if known == 0 {
        took
    } else {
        known - known / share + took / share
    };
    average.store(next.max(1), Ordering::Relaxed);
}

/// The time of a run that is so many times doubled in size, if time goes with size.
fn in_proportion(time: Duration, doublings: usize) -> Duration {
    time.saturating_mul(1u32.checked_shl(doublings as u32).unwrap_or(u32::MAX))
}

/// 1, 2, 4 and so on.
fn doublings() -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1usize), |rows| rows.checked_mul(2))
}

fn bucket(bytes: usize) -> usize {
    (bytes.max(1).ilog2() as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_size_answers_in_proportion() {
        let times = RunTimes::default();
        assert_eq!(times.expected(4), None);
        times.learn(64, Duration::from_micros(640));
        assert_eq!(times.expected(1), Some(Duration::from_micros(640)));
        times.learn(1, Duration::from_micros(10));
        assert_eq!(times.expected(33), Some(Duration::from_micros(320)));
        assert_eq!(times.expected(100), Some(Duration::from_micros(640)));
        let times = RunTimes::default();
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
            let times = RunTimes::default();
            us.iter()
                .enumerate()
                .for_each(|(at, us)| times.learn(row << at, Duration::from_micros(*us)));
            times.efficient_rows(row, 64)
        };
        assert_eq!(curve(&[]), 64);
        assert_eq!(curve(&[100]), 64, "one size says nothing of others");
        assert_eq!(
            curve(&[100, 200, 400, 800]),
            1,
            "rows cost the same in any batch"
        );
        assert_eq!(curve(&[100, 110, 130, 165, 330, 650, 1300]), 8);
        assert_eq!(curve(&[10, 11, 12, 13, 14, 15, 16]), 64);
    }

    #[test]
    fn a_size_that_seemed_slow_once_is_tried_again() {
        let times = RunTimes::default();
        times.learn(64, Duration::from_micros(20));
        times.learn(128, Duration::from_millis(1));
        assert_eq!(times.expected(128), Some(Duration::from_millis(1)));
        (0..OUT_OF_DATE - 1).for_each(|_| times.learn(64, Duration::from_micros(20)));
        assert_eq!(times.expected(128), Some(Duration::from_millis(1)));
        times.learn(64, Duration::from_micros(20));
        assert!(times.expected(128).unwrap() <= Duration::from_micros(40));
        times.learn(128, Duration::from_millis(1));
        assert_eq!(times.expected(128), Some(Duration::from_millis(1)));
    }

    #[test]
    fn only_rows_that_get_much_cheaper_are_worth_another_thread() {
        let pays = |us: &[u64]| {
            let times = RunTimes::default();
            us.iter()
                .enumerate()
                .for_each(|(at, us)| times.learn(8 << at, Duration::from_micros(*us)));
            times.pays_together(8, 16, Duration::from_micros(250))
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

    #[test]
    fn one_run_that_was_held_up_makes_no_long_runs() {
        let (times, limit) = (RunTimes::default(), Duration::from_millis(5));
        assert!(!times.stays_above(limit, 8), "nothing is known");
        times.learn(8, Duration::from_millis(1));
        (0..10).for_each(|_| times.learn(8, Duration::from_millis(20)));
        assert!(!times.stays_above(limit, 8) && times.expected(8).unwrap() > limit);
        (0..100).for_each(|_| times.learn(8, Duration::from_millis(20)));
        assert!(times.stays_above(limit, 8));
        assert!(
            !times.stays_above(limit, 64),
            "of other sizes nothing is known"
        );
    }
}
