//! The rate of a counter.

use std::collections::VecDeque;

/// Marks in a window. The rate may cover up to one mark more than the window: a sixtieth.
const MARKS_PER_WINDOW: u64 = 60;

/// How much a counter has increased, sampled at intervals, as for `rate()` of Prometheus.
#[derive(Clone, Debug)]
pub(super) struct CounterRate {
    last: f64,
    increase: f64,
    /// Moments, with the increase up to each; the first is at or before the start of the window.
    marks: VecDeque<(u64, f64)>,
}

impl CounterRate {
    /// A counter that is seen for the first time counts from 0: counters start with the process, or
    /// later.
    pub(super) fn new() -> Self {
        Self {
            last: 0.0,
            increase: 0.0,
            marks: VecDeque::from([(0, 0.0)]),
        }
    }

    /// Adds a sample, and returns the increase per second over the window up to now.
    pub(super) fn rate(&mut self, value: f64, window_ms: u64, now_ms: u64) -> f64 {
        // A counter that decreased was reset to 0 in between.
        self.increase += if value >= self.last {
            value - self.last
        } else {
            value
        };
        self.last = value;
        self.forget_before(now_ms.saturating_sub(window_ms));
        let before = self.marks.front().map_or(0.0, |(_, increase)| *increase);
        self.mark(window_ms, now_ms);
        (self.increase - before) / (window_ms as f64 / 1e3)
    }

    /// Removes marks that are not needed for a window that starts at `start_ms`: all but the last one
    /// at or before it.
    fn forget_before(&mut self, start_ms: u64) {
        while let Some((at_ms, _)) = self.marks.get(1)
            && *at_ms <= start_ms
        {
            self.marks.pop_front();
        }
    }

    /// Marks the increase, unless the last mark is recent.
    fn mark(&mut self, window_ms: u64, now_ms: u64) {
        if let Some((at_ms, _)) = self.marks.back()
            && now_ms.saturating_sub(*at_ms) < window_ms / MARKS_PER_WINDOW
        {
            return;
        }
        self.marks.push_back((now_ms, self.increase));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_covers_its_window_and_survives_a_counter_reset() {
        let mut counter = CounterRate::new();
        let start_ms = 1_000_000;
        assert_eq!(
            counter.rate(30.0, 60_000, start_ms),
            0.5,
            "all of it is new"
        );
        // One more each second. After a minute, the first 30 have left the window.
        for second in (5..=60_u32).step_by(5) {
            let rate = counter.rate(
                30.0 + f64::from(second),
                60_000,
                start_ms + u64::from(second) * 1000,
            );
            assert_eq!(
                rate,
                if second < 60 {
                    (30.0 + f64::from(second)) / 60.0
                } else {
                    1.0
                }
            );
        }
        assert_eq!(
            counter.rate(5.0, 60_000, start_ms + 65_000),
            1.0,
            "90 to 95"
        );
        let quiet = (70..=130)
            .step_by(5)
            .map(|second| counter.rate(5.0, 60_000, start_ms + second * 1000));
        assert_eq!(quiet.last(), Some(0.0));
        assert!(counter.marks.len() <= 61);
    }
}
