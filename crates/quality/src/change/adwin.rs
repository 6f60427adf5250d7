//! A window that adapts.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// ADWIN (Bifet and Gavaldà, "Learning from time-changing data with adaptive windowing", 2007) over
/// values between 0 and 1: a window that grows while its values have one mean, and drops its old
/// part once they do not.
///
/// This is the form that is proven there (theorem 3.1), with a bound by Hoeffding and all splits
/// tested: with every value, the chance of an alarm without change is at most `delta`. Series of
/// windows are short, so that all values are stored, in place of buckets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adwin {
    delta: f64,
    values: VecDeque<f64>,
    /// How many values there were.
    seen: u64,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AdwinAlarm {
    /// The number of the value, counted from 0, with which the newer part begins.
    pub since: u64,
    /// The mean before.
    pub before: f64,
    /// The mean since.
    pub after: f64,
}

impl Adwin {
    /// The most values that are looked back at.
    pub const MAX_VALUES: usize = 4096;

    /// `None` unless `delta` is between 0 and 1.
    pub fn new(delta: f64) -> Option<Self> {
        let valid = delta > 0.0 && delta < 1.0;
        valid.then(|| Self {
            delta,
            values: VecDeque::new(),
            seen: 0,
        })
    }

    /// Adds a value, and says whether the mean changed. Values that are not between 0 and 1 are
    /// left out.
    pub fn add(&mut self, value: f64) -> Option<AdwinAlarm> {
        if !(0.0..=1.0).contains(&value) {
            return None;
        }
        if self.values.len() == Self::MAX_VALUES {
            self.values.pop_front();
        }
        self.values.push_back(value);
        self.seen = self.seen.saturating_add(1);
        let mut found = None;
        while let Some((split, before, after)) = self.split() {
            self.values.drain(..split);
            let since = self.seen - self.values.len() as u64;
            found = Some(AdwinAlarm {
                since,
                before,
                after,
            });
        }
        found
    }

    /// The mean of the values since the last change.
    pub fn mean(&self) -> Option<f64> {
        let n = self.values.len();
        (n > 0).then(|| self.values.iter().sum::<f64>() / n as f64)
    }

    /// How many values there are since the last change.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The split whose means are furthest apart beyond the bound, with both means.
    fn split(&self) -> Option<(usize, f64, f64)> {
        let n = self.values.len() as f64;
        let confidence = (4.0 * n / self.delta).ln();
        let total: f64 = self.values.iter().sum();
        let (mut before, mut furthest) = (0.0, 0.0);
        let mut found = None;
        for (index, value) in self
            .values
            .iter()
            .enumerate()
            .take(self.values.len().max(1) - 1)
        {
            before += value;
            let (n_before, n_after) = ((index + 1) as f64, n - (index + 1) as f64);
            let means = (before / n_before, (total - before) / n_after);
            let bound = ((1.0 / n_before + 1.0 / n_after) / 2.0 * confidence).sqrt();
            let beyond = (means.0 - means.1).abs() - bound;
            if beyond > furthest {
                furthest = beyond;
                found = Some((index + 1, means.0, means.1));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_found_with_its_beginning() {
        let mut adwin = Adwin::new(0.01).unwrap();
        let mut alarms = Vec::new();
        for i in 0..300_u32 {
            let level = if i < 150 { 0.1 } else { 0.6 };
            alarms.extend(adwin.add(level + f64::from(i % 5) * 0.02));
        }
        assert_eq!(alarms.len(), 1, "{alarms:?}");
        assert!((148..=152).contains(&alarms[0].since), "{alarms:?}");
        assert!((alarms[0].after - alarms[0].before - 0.5).abs() < 0.05);
        assert!((adwin.mean().unwrap() - 0.64).abs() < 0.01);
    }

    #[test]
    fn a_series_that_does_not_change_has_no_alarm() {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut adwin = Adwin::new(0.05).unwrap();
        let alarms = (0..1500).filter(|_| adwin.add(rng.f64()).is_some()).count();
        assert_eq!((alarms, adwin.len()), (0, 1500));
    }

    #[test]
    fn memory_is_bounded_and_odd_values_are_left_out() {
        let mut adwin = Adwin::new(0.05).unwrap();
        assert!(adwin.is_empty() && adwin.mean().is_none());
        for value in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
            assert_eq!(adwin.add(value), None);
        }
        assert_eq!((adwin.len(), Adwin::new(0.0)), (0, None));
    }
}
