//! A number with its confidence interval.

use std::f64::consts::SQRT_2;

use serde::{Deserialize, Serialize};
use statrs::function::beta::checked_beta_reg;
use statrs::function::erf::erfc_inv;

use crate::moments::{Moments, finite};

/// A value, its confidence interval, and how many labels it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
    /// How many labels the value rests on.
    pub n: u64,
}

/// How often an interval has the true value in it: above 0 and below 1; 0.95 by default.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Confidence(f64);

impl Confidence {
    /// `None` if it is not between 0 and 1.
    pub fn new(confidence: f64) -> Option<Self> {
        (confidence > 0.0 && confidence < 1.0).then_some(Self(confidence))
    }

    /// The quantile of the normal distribution that leaves half of the rest above it.
    pub(crate) fn z(self) -> f64 {
        SQRT_2 * erfc_inv(1.0 - self.0)
    }

    /// The same of Student's distribution.
    fn t(self, degrees_of_freedom: f64) -> f64 {
        let outside = 1.0 - self.0;
        let chance = |t: f64| {
            let x = degrees_of_freedom / (degrees_of_freedom + t * t);
            checked_beta_reg(degrees_of_freedom / 2.0, 0.5, x).unwrap_or(0.0)
        };
        // By bisection: the chance falls with t, which is above z.
        let (mut low, mut high) = (self.z(), 2.0 * self.z() + 1.0);
        while chance(high) > outside && high < 1e300 {
            high *= 2.0;
        }
        while high - low > 1e-14 * high {
            let middle = low + (high - low) / 2.0;
            if middle <= low || middle >= high {
                break;
            }
            *(if chance(middle) > outside {
                &mut low
            } else {
                &mut high
            }) = middle;
        }
        high
    }
}

impl Default for Confidence {
    fn default() -> Self {
        Self(0.95)
    }
}

impl TryFrom<f64> for Confidence {
    type Error = &'static str;

    fn try_from(confidence: f64) -> Result<Self, Self::Error> {
        Self::new(confidence).ok_or("a confidence must be between 0 and 1")
    }
}

impl From<Confidence> for f64 {
    fn from(confidence: Confidence) -> Self {
        confidence.0
    }
}

impl Estimate {
    /// A share, with the interval of Wilson ("Probable inference, the law of succession, and
    /// statistical inference", 1927), which holds for few labels and for shares near 0 and 1.
    /// `None` for none.
    pub fn share(hits: u64, n: u64, confidence: Confidence) -> Option<Self> {
        if n == 0 || hits > n {
            return None;
        }
        Self::of_share(hits as f64 / n as f64, n, confidence)
    }

    /// As [`Estimate::share`], of a share that need not be one of whole hits.
    pub(crate) fn of_share(value: f64, n: u64, confidence: Confidence) -> Option<Self> {
        if n == 0 || !(0.0..=1.0).contains(&value) {
            return None;
        }
        let z = confidence.z();
        let (rows, squared) = (n as f64, z * z);
        let scale = 1.0 + squared / rows;
        let middle = (value + squared / (2.0 * rows)) / scale;
        let variance = value * (1.0 - value) / rows + squared / (4.0 * rows * rows);
        let half = z * variance.sqrt() / scale;
        let (low, high) = (
            (middle - half).clamp(0.0, value),
            (middle + half).clamp(value, 1.0),
        );
        Some(Self {
            value,
            low,
            high,
            n,
        })
    }

    /// A mean, with the interval of Student's distribution. `None` for fewer than two numbers, of
    /// which nothing can be said.
    pub fn mean(moments: &Moments, confidence: Confidence) -> Option<Self> {
        let (value, error) = (moments.mean()?, moments.standard_error()?);
        let half = confidence.t((moments.count() - 1) as f64) * error;
        let (low, high) = (finite(value - half)?, finite(value + half)?);
        Some(Self {
            value,
            low,
            high,
            n: moments.count(),
        })
    }

    pub(super) fn at_least_zero(self) -> Self {
        Self {
            low: self.low.max(0.0),
            ..self
        }
    }

    pub(crate) fn within_one(self) -> Self {
        Self {
            low: self.low.max(0.0),
            high: self.high.min(1.0),
            ..self
        }
    }

    /// The estimate of an ascending function of this one.
    pub(super) fn map(self, function: impl Fn(f64) -> f64) -> Option<Self> {
        let [value, low, high] = [self.value, self.low, self.high].map(|end| finite(function(end)));
        Some(Self {
            value: value?,
            low: low?,
            high: high?,
            n: self.n,
        })
    }

    /// A value with a standard error that is about normal, kept within a range.
    pub(crate) fn normal(
        value: f64,
        error: f64,
        n: u64,
        confidence: Confidence,
        range: [f64; 2],
    ) -> Option<Self> {
        let (value, half) = (finite(value)?, finite(confidence.z() * error)?);
        let (low, high) = ((value - half).max(range[0]), (value + half).min(range[1]));
        Some(Self {
            value,
            low,
            high,
            n,
        })
    }
}
