//! The choice of slow requests whose traces are kept.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a request is compared with the others of its version.
const WINDOW: Duration = Duration::from_secs(10);
/// Most versions that are distinguished in one window; it bounds the memory.
const MAX_VERSIONS: usize = 1024;

/// Keeps a request if few of its version in this window were slower so far.
///
/// So the slowest of the window are certain to be kept, and each decision is made at once: requests are
/// not held back until the window is over. Of n requests in random order, about
/// `most · (1 + ln(n / most))` are kept: request i is among the slowest so far with the probability
/// `most / i`, and the sum of these is a harmonic number.
pub(crate) struct Slowest {
    most: usize,
    began: Instant,
    versions: HashMap<Version, BinaryHeap<Reverse<Duration>>>,
}

type Version = (Arc<str>, Arc<str>);

impl Slowest {
    /// Keeps the `most` slowest of each version in each window.
    pub(crate) fn new(most: usize, now: Instant) -> Self {
        Self {
            most,
            began: now,
            versions: HashMap::new(),
        }
    }

    /// Whether a request that took `total` is among the slowest.
    pub(crate) fn keeps(
        &mut self,
        (model, version): (&Arc<str>, &Arc<str>),
        total: Duration,
        now: Instant,
    ) -> bool {
        if self.most == 0 {
            return false;
        }
        if now.saturating_duration_since(self.began) >= WINDOW {
            self.versions.clear();
            self.began = now;
        }
        let key = (model.clone(), version.clone());
        if self.versions.len() >= MAX_VERSIONS && !self.versions.contains_key(&key) {
            return false;
        }
        let slowest = self.versions.entry(key).or_default();
        if slowest.len() >= self.most {
            // The heap is reversed: its top is the fastest of those that were kept.
            match slowest.peek() {
                Some(Reverse(least)) if total > *least => drop(slowest.pop()),
                _ => return false,
            }
        }
        slowest.push(Reverse(total));
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(model: &str) -> (Arc<str>, Arc<str>) {
        (model.into(), "1".into())
    }

    fn kept(slowest: &mut Slowest, model: &str, times_ms: &[u64], now: Instant) -> Vec<u64> {
        let (model, version) = version(model);
        let mut kept = Vec::new();
        for ms in times_ms {
            if slowest.keeps((&model, &version), Duration::from_millis(*ms), now) {
                kept.push(*ms);
            }
        }
        kept
    }

    #[test]
    fn each_version_and_each_window_has_slowest_of_its_own() {
        let now = Instant::now();
        let mut slowest = Slowest::new(2, now);
        assert_eq!(kept(&mut slowest, "a", &[5, 3, 4, 1, 9], now), [5, 3, 4, 9]);
        assert_eq!(kept(&mut slowest, "b", &[1, 2, 1], now), [1, 2]);
        assert_eq!(kept(&mut slowest, "a", &[2, 1, 1], now + WINDOW), [2, 1]);
        assert!(kept(&mut Slowest::new(0, now), "a", &[5], now).is_empty());
    }

    proptest! {
        #[test]
        fn the_slowest_of_a_window_are_always_kept(mut times in prop::collection::vec(0u64..1000, 1..200), most in 1usize..6) {
            let now = Instant::now();
            let mut kept = kept(&mut Slowest::new(most, now), "a", &times, now);
            kept.sort_unstable();
            times.sort_unstable();
            let wanted = most.min(times.len());
            prop_assert_eq!(&kept[kept.len() - wanted..], &times[times.len() - wanted..]);
        }
    }
}
