//! Cumulative sums.

use serde::{Deserialize, Serialize};

use crate::moments::finite;

/// A two-sided cumulative sum chart (Page, "Continuous inspection schemes", 1954) over values that
/// are standard normal while nothing has changed: `(value - mean) / standard deviation` of past
/// windows, or the `z` of a test. It adds up what is above `reference` in either direction, and
/// alarms above `threshold`.
///
/// Among all charts that go as long without a false alarm, it finds a shift of `2 * reference`
/// standard deviations soonest (Lorden 1971, Moustakides 1986).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cusum {
    reference: f64,
    threshold: f64,
    up: Side,
    down: Side,
    /// How many values there were.
    seen: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Side {
    sum: f64,
    /// The number of the first value after the sum was last 0.
    since: u64,
}

/// What a chart says once it alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CusumAlarm {
    /// The number of the value, counted from 0, with which the change most likely began.
    pub since: u64,
    /// Whether values became greater.
    pub up: bool,
}

impl Cusum {
    /// A chart for shifts of `shift` standard deviations, with a false alarm once in `run_length`
    /// values in the mean. `None` unless the shift is above 0 and the run length above 2.
    pub fn new(shift: f64, run_length: f64) -> Option<Self> {
        let valid = shift.is_finite() && shift > 0.0 && run_length.is_finite() && run_length > 2.0;
        if !valid {
            return None;
        }
        let reference = shift / 2.0;
        let threshold = threshold(reference, run_length);
        let (up, down) = (Side::default(), Side::default());
        Some(Self {
            reference,
            threshold,
            up,
            down,
            seen: 0,
        })
    }

    /// The sum above which it alarms.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// Adds a value, and says whether there is an alarm. It goes on until [`Cusum::reset`]. Values
    /// that are not finite are left out.
    pub fn add(&mut self, value: f64) -> Option<CusumAlarm> {
        let value = finite(value)?;
        self.up.add(value - self.reference, self.seen);
        self.down.add(-value - self.reference, self.seen);
        self.seen = self.seen.saturating_add(1);
        self.alarm()
    }

    /// The alarm after the last value, if there is one.
    pub fn alarm(&self) -> Option<CusumAlarm> {
        let up = self.up.sum >= self.down.sum;
        let side = if up { self.up } else { self.down };
        (side.sum > self.threshold).then_some(CusumAlarm {
            since: side.since,
            up,
        })
    }

    /// Begins anew, once the cause of an alarm is dealt with. Numbers go on.
    pub fn reset(&mut self) {
        let side = Side {
            sum: 0.0,
            since: self.seen,
        };
        (self.up, self.down) = (side, side);
    }
}

impl Side {
    fn add(&mut self, value: f64, number: u64) {
        self.sum += value;
        if self.sum <= 0.0 {
            *self = Self {
                sum: 0.0,
                since: number.saturating_add(1),
            };
        }
    }
}

/// The threshold for a mean run length, by the approximation of Siegmund ("Sequential analysis",
/// 1985, section 2.6): one side alarms once in `(exp(2 k b) - 2 k b - 1) / (2 k^2)` values, with
/// `b` 1.166 above the threshold.
fn threshold(reference: f64, run_length: f64) -> f64 {
    let one_side = 2.0 * run_length;
    let length = |threshold: f64| {
        let exponent = 2.0 * reference * (threshold + 1.166);
        (exponent.exp_m1() - exponent) / (2.0 * reference * reference)
    };
    let (mut low, mut high) = (0.0, 1.0);
    while length(high) < one_side {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        *(if length(middle) < one_side {
            &mut low
        } else {
            &mut high
        }) = middle;
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_is_the_tabulated_one() {
        // Montgomery, "Introduction to statistical quality control": k = 0.5 and h = 5 give 465
        // values.
        let chart = Cusum::new(1.0, 465.0).unwrap();
        assert!(
            (chart.threshold() - 5.0).abs() < 0.02,
            "{}",
            chart.threshold()
        );
    }

    #[test]
    fn a_lasting_shift_is_found_with_its_beginning() {
        let mut chart = Cusum::new(1.0, 1000.0).unwrap();
        let noise = [0.3, -0.4, 0.1, -0.2, 0.5, -0.3];
        let alarms: Vec<Option<CusumAlarm>> = (0..60)
            .map(|i| chart.add(noise[i % 6] + if i < 30 { 0.0 } else { -1.0 }))
            .collect();
        let first = alarms.iter().position(Option::is_some).unwrap();
        assert!((30..45).contains(&first), "{first}");
        let alarm = alarms[first].unwrap();
        assert!(!alarm.up && (29..=31).contains(&alarm.since), "{alarm:?}");
        chart.reset();
        assert_eq!(chart.alarm(), None);
    }

    #[test]
    fn false_alarms_are_as_rare_as_stated() {
        let mut rng = fastrand::Rng::with_seed(11);
        let mut chart = Cusum::new(1.0, 200.0).unwrap();
        let mut alarms = 0;
        for _ in 0..40_000 {
            let u = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
            if chart
                .add(u * (std::f64::consts::TAU * rng.f64()).cos())
                .is_some()
            {
                alarms += 1;
                chart.reset();
            }
        }
        // 200 are expected; the approximation and chance allow some more or fewer.
        assert!((150..=250).contains(&alarms), "{alarms}");
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        assert_eq!(Cusum::new(0.0, 100.0), None);
        assert_eq!(Cusum::new(1.0, f64::NAN), None);
        let mut chart = Cusum::new(1.0, 100.0).unwrap();
        assert_eq!(
            (chart.add(f64::NAN), chart.add(f64::INFINITY)),
            (None, None)
        );
        assert_eq!(chart, Cusum::new(1.0, 100.0).unwrap());
    }
}
