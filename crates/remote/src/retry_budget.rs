//! How many further attempts may be made.

use std::time::{Duration, Instant};

use tidegate_gateway::SlidingWindow;

const WINDOW: Duration = Duration::from_secs(10);
/// So many further attempts are allowed in the window, however few requests there are: at low rates a
/// share of them is less than one.
const FLOOR: u64 = 3;

const REQUESTS: usize = 0;
const RETRIES: usize = 1;

/// Bounds further attempts to a share of the requests of the last seconds. An attempt is counted when
/// it is allowed, before it waits: those that wait cannot become a burst together.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    share: f64,
    window: SlidingWindow<2>,
}

impl RetryBudget {
    pub(crate) fn new(share: f64) -> Self {
        Self {
            share,
            window: SlidingWindow::new(WINDOW),
        }
    }

    pub(crate) fn count_request(&mut self, now: Instant) {
        self.window.add(REQUESTS, now);
    }

    /// Takes one further attempt from the budget, if it has one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let [requests, retries] = self.window.totals(now);
        let allowed = (requests as f64 * self.share) as u64;
        // A share of 0 switches further attempts off, which the floor must not undo.
        let floor = if self.share > 0.0 { FLOOR } else { 0 };
        let is_allowed = retries < allowed.max(floor);
        if is_allowed {
            self.window.add(RETRIES, now);
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_failures_at_once_get_a_fifth_as_many_retries() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(0.2);
        // All of them fail before any of them has tried again.
        (0..1000).for_each(|_| budget.count_request(now));
        let retries = (0..1000).filter(|_| budget.take(now)).count();
        assert_eq!(retries, 200);
        assert!(!budget.take(now + Duration::from_secs(5)));
    }

    #[test]
    fn a_few_retries_are_allowed_at_low_rates_and_none_without_a_budget() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(0.2);
        budget.count_request(now);
        assert_eq!((0..9).filter(|_| budget.take(now)).count(), 3);
        let mut none = RetryBudget::new(0.0);
        none.count_request(now);
        assert!(!none.take(now));
    }
}
