//! A rate with a burst: the generic cell rate algorithm (ITU-T I.371, in its virtual scheduling
//! form), which is a token bucket in one number.

use std::sync::atomic::{AtomicU64, Ordering};

const NS_PER_SECOND: f64 = 1e9;

/// A bucket that holds `burst` tokens and gets `per_second` new ones.
#[derive(Debug)]
pub(super) struct RateBucket {
    /// When the bucket will be full, in nanoseconds of the limiter's clock; a time in the past if it
    /// is.
    full_at_ns: AtomicU64,
    /// How long one token takes to come, in nanoseconds.
    token_ns: f64,
    burst: u64,
    /// How long all tokens take to come.
    burst_ns: u64,
}

/// A refusal: there are too few tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Empty {
    /// After how many nanoseconds there are enough.
    pub(super) wait_ns: u64,
}

impl RateBucket {
    pub(super) fn new(per_second: f64, burst: u64) -> Self {
        let token_ns = NS_PER_SECOND / per_second;
        Self {
            full_at_ns: AtomicU64::new(0),
            token_ns,
            burst,
            burst_ns: scaled(token_ns, burst),
        }
    }

    /// Takes tokens. More than the bucket holds are given when it is full; the rate then holds on
    /// average, as the tokens are owed.
    pub(super) fn take(&self, tokens: u64, now_ns: u64) -> Result<(), Empty> {
        let cost_ns = scaled(self.token_ns, tokens);
        let mut full_at = self.full_at_ns.load(Ordering::Relaxed);
        loop {
            let next = full_at.max(now_ns).saturating_add(cost_ns);
            let is_full = full_at <= now_ns;
            let wait_ns = next.saturating_sub(now_ns).saturating_sub(self.burst_ns);
            if wait_ns > 0 && !is_full {
                // More than a burst passes once the bucket is full.
                let until_full_ns = full_at.saturating_sub(now_ns);
                return Err(Empty {
                    wait_ns: wait_ns.min(until_full_ns),
                });
            }
            // Relaxed: the number guards no other memory.
            match self.full_at_ns.compare_exchange_weak(
                full_at,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(found) => full_at = found,
            }
        }
    }

    /// Puts tokens back.
    pub(super) fn give_back(&self, tokens: u64) {
        let cost_ns = scaled(self.token_ns, tokens);
        // The closure always gives a value, so that this cannot fail.
        let _ = self
            .full_at_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                Some(full_at.saturating_sub(cost_ns))
            });
    }

    /// How many tokens there are, and in how many nanoseconds the bucket is full.
    pub(super) fn remaining(&self, now_ns: u64) -> (u64, u64) {
        let full_in_ns = self
            .full_at_ns
            .load(Ordering::Relaxed)
            .saturating_sub(now_ns);
        let tokens = self.burst_ns.saturating_sub(full_in_ns) as f64 / self.token_ns;
        // A little is added: a token that is there must not get lost in rounding.
        ((tokens + 1e-6) as u64, full_in_ns)
    }

    pub(super) fn burst(&self) -> u64 {
        self.burst
    }

    /// The seconds in which an empty bucket gets full, at least 1.
    pub(super) fn window_s(&self) -> u64 {
        (self.burst_ns as f64 / NS_PER_SECOND).ceil().max(1.0) as u64
    }

    pub(super) fn is_full(&self, now_ns: u64) -> bool {
        self.full_at_ns.load(Ordering::Relaxed) <= now_ns
    }
}

/// The nanoseconds of so many tokens.
fn scaled(token_ns: f64, tokens: u64) -> u64 {
    // A cast of a float saturates.
    (token_ns * tokens as f64) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_passes_and_then_the_rate_does() {
        let bucket = RateBucket::new(10.0, 5);
        for _ in 0..5 {
            assert_eq!(bucket.take(1, SECOND), Ok(()));
        }
        let wait_ns = SECOND / 10;
        assert_eq!(bucket.take(1, SECOND), Err(Empty { wait_ns }));
        assert_eq!(bucket.take(1, SECOND + wait_ns), Ok(()));
        assert_eq!(bucket.remaining(SECOND + wait_ns).0, 0);
        assert_eq!(bucket.remaining(10 * SECOND).0, 5);
    }

    #[test]
    fn more_than_a_burst_passes_when_the_bucket_is_full_and_is_owed() {
        let bucket = RateBucket::new(10.0, 5);
        assert_eq!(bucket.take(20, SECOND), Ok(()));
        assert!(bucket.take(1, 2 * SECOND).is_err());
        // 20 tokens and one more have come after 2.1 seconds, less the burst.
        assert_eq!(bucket.take(1, SECOND + 16 * SECOND / 10), Ok(()));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let bucket = RateBucket::new(1.0, 3);
        assert_eq!(bucket.take(3, SECOND), Ok(()));
        bucket.give_back(2);
        assert_eq!(bucket.take(2, SECOND), Ok(()));
        assert!(bucket.take(1, SECOND).is_err());
    }

    #[test]
    fn threads_take_no_more_than_there_is() {
        let bucket = RateBucket::new(0.001, 1000);
        let taken: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).filter(|_| bucket.take(1, 5).is_ok()).count()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap() as u64)
                .sum()
        });
        assert_eq!(taken, 1000);
    }

    proptest! {
        /// Over any time no more tokens pass than the burst and what has come since, if none of the
        /// requests is larger than the burst.
        #[test]
        fn the_rate_holds_over_any_time(
            rate in 1.0f64..1000.0,
            burst in 1u64..50,
            steps in prop::collection::vec((0u64..50_000_000, 1u64..50), 1..200),
        ) {
            let bucket = RateBucket::new(rate, burst);
            let (mut now, mut passed) = (SECOND, 0u64);
            for (after_ns, tokens) in steps {
                now += after_ns;
                let tokens = tokens.min(burst);
                if bucket.take(tokens, now).is_ok() {
                    passed += tokens;
                }
                let seconds = (now - SECOND) as f64 / 1e9;
                prop_assert!(passed as f64 <= burst as f64 + rate * seconds + 1e-3);
            }
        }
    }
}
