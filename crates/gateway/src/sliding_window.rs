//! Counts over the last seconds.

use std::time::{Duration, Instant};

/// The window moves in so many steps.
const STEPS: u64 = 10;

/// Sums of `K` kinds of events over a time that ends now. It moves in steps of a tenth of its
/// length, so what it covers is up to a tenth shorter than its length.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use tidegate_gateway::SlidingWindow;
///
/// let start = Instant::now();
/// let mut window = SlidingWindow::<2>::new(Duration::from_secs(10));
/// window.add(0, start);
/// window.add(1, start + Duration::from_secs(6));
/// assert_eq!(window.totals(start + Duration::from_secs(6)), [1, 1]);
/// assert_eq!(window.totals(start + Duration::from_secs(11)), [0, 1]);
/// ```
#[derive(Clone, Debug)]
pub struct SlidingWindow<const K: usize> {
    step: Duration,
    /// The first moment that was seen.
    start: Option<Instant>,
    steps: [Step<K>; STEPS as usize],
}

#[derive(Clone, Copy, Debug)]
struct Step<const K: usize> {
    number: u64,
    counts: [u64; K],
}

impl<const K: usize> SlidingWindow<K> {
    /// A window without events.
    pub fn new(length: Duration) -> Self {
        let empty = Step {
            number: 0,
            counts: [0; K],
        };
        Self {
            // Moments are divided by it, so that it must not be 0.
            step: (length / STEPS as u32).max(Duration::from_millis(1)),
            start: None,
            steps: [empty; STEPS as usize],
        }
    }

    /// Counts an event of a kind below `K`.
    pub fn add(&mut self, kind: usize, now: Instant) {
        let number = self.number(now);
        let step = &mut self.steps[(number % STEPS) as usize];
        if step.number != number {
            *step = Step {
                number,
                counts: [0; K],
            };
        }
        step.counts[kind] += 1;
    }

    /// The events of each kind in the window that ends now.
    pub fn totals(&mut self, now: Instant) -> [u64; K] {
        let number = self.number(now);
        let mut totals = [0; K];
        for step in &self.steps {
            if step.number + STEPS > number {
                for (total, count) in totals.iter_mut().zip(step.counts) {
                    *total += count;
                }
            }
        }
        totals
    }

    /// Forgets all events.
    pub fn clear(&mut self) {
        for step in &mut self.steps {
            step.counts = [0; K];
        }
    }

    /// The number of the step that a moment is in. Moments before the first one count as that one.
    fn number(&mut self, now: Instant) -> u64 {
        let start = *self.start.get_or_insert(now);
        let since = now.saturating_duration_since(start);
        u64::try_from(since.as_nanos() / self.step.as_nanos()).unwrap_or(u64::MAX - STEPS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_leave_the_window_and_their_place_is_used_again() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut window = SlidingWindow::<1>::new(Duration::from_secs(10));
        for second in 0..100 {
            window.add(0, at(second));
        }
        assert_eq!(window.totals(at(99)), [10]);
        assert_eq!(window.totals(at(104)), [5]);
        assert_eq!(window.totals(at(200)), [0]);
        window.add(0, at(200));
        window.clear();
        assert_eq!(window.totals(at(200)), [0]);
    }
}
