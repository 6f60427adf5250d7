//! How fast a counter grows.

use std::collections::VecDeque;

/// So many marks a window: a rate is of a window at most a sixtieth longer than it should be.
const MARKS: u64 = 60;

/// What a counter has gained, marked from time to time.
#[derive(Clone, Debug)]
pub(super) struct Growth {
    last: f64,
    gained: f64,
    /// Moments with what had been gained by then; the first one at or before the window's
    /// beginning.
    marks: VecDeque<(u64, f64)>,
}

impl Growth {
    /// A counter that is first seen has gained all that it shows: it began with the process, or
    /// after.
    pub(super) fn new() -> Self {
        Self {
            last: 0.0,
            gained: 0.0,
            marks: VecDeque::from([(0, 0.0)]),
        }
    }

    /// Takes in a value, and says how fast the counter grew over the window up to now, per second.
    pub(super) fn rate(&mut self, value: f64, window_ms: u64, now_ms: u64) -> f64 {
        // A counter that fell began anew.
        self.gained += if value >= self.last {
            value - self.last
        } else {
            value
        };
        self.last = value;
        let start_ms = now_ms.saturating_sub(window_ms);
        while self
            .marks
            .get(1)
            .is_some_and(|(at_ms, _)| *at_ms <= start_ms)
        {
            self.marks.pop_front();
        }
        let before = self.marks.front().map_or(0.0, |(_, gained)| *gained);
        if self
            .marks
            .back()
            .is_none_or(|(at_ms, _)| now_ms.saturating_sub(*at_ms) >= window_ms / MARKS)
        {
            self.marks.push_back((now_ms, self.gained));
        }
        (self.gained - before) / (window_ms as f64 / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_its_window_and_survives_a_counter_that_begins_anew() {
        let mut growth = Growth::new();
        let start_ms = 1_000_000;
        assert_eq!(growth.rate(30.0, 60_000, start_ms), 0.5, "all of it is new");
        // One more each second. After a minute, the first 30 have left the window.
        for second in (5..=60_u32).step_by(5) {
            let rate = growth.rate(
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
        assert_eq!(growth.rate(5.0, 60_000, start_ms + 65_000), 1.0, "90 to 95");
        let quiet = (70..=130)
            .step_by(5)
            .map(|second| growth.rate(5.0, 60_000, start_ms + second * 1000));
        assert_eq!(quiet.last(), Some(0.0));
        assert!(growth.marks.len() <= 61);
    }
}
