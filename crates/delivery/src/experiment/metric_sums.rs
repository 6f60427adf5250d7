//! What is known of a metric of one arm, in sums that can be merged.

use serde::{Deserialize, Serialize};

use crate::sequential::mixture::{normal_bound, normal_rho};
use crate::sequential::{Arms, Interval};

/// Sums over users: of a metric, and of something that was known of them before the experiment. Each
/// user counts once, with everything that happened to them, since requests of one user are alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricSums {
    /// How many users.
    pub users: f64,
    /// Their mean.
    pub mean: f64,
    /// The mean of what was known before.
    pub mean_before: f64,
    /// The sum of squared deviations of the metric.
    pub squares: f64,
    /// The sum of squared deviations of what was known before.
    pub squares_before: f64,
    /// The sum of products of both deviations.
    pub products: f64,
}

/// The candidate's mean minus the control's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// The difference.
    pub estimate: f64,
    /// Its standard error.
    pub error: f64,
    /// The users of both arms.
    pub users: Arms<f64>,
}

impl MetricSums {
    /// Adds a user; without something known before, `before` is 0 for all.
    pub fn add(&mut self, value: f64, before: f64) {
        let one = Self {
            users: 1.0,
            mean: value,
            mean_before: before,
            ..Self::default()
        };
        *self = self.merge(one);
    }

    /// The sums of both together (Chan, Golub and LeVeque 1979).
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let users = self.users + other.users;
        if users == 0.0 {
            return self;
        }
        let (delta, delta_before) = (other.mean - self.mean, other.mean_before - self.mean_before);
        let (part, weight) = (other.users / users, self.users * other.users / users);
        Self {
            users,
            mean: self.mean + delta * part,
            mean_before: self.mean_before + delta_before * part,
            squares: self.squares + other.squares + delta * delta * weight,
            squares_before: self.squares_before
                + other.squares_before
                + delta_before * delta_before * weight,
            products: self.products + other.products + delta * delta_before * weight,
        }
    }

    /// The variance of the metric; `None` with fewer than two users.
    pub fn variance(&self) -> Option<f64> {
        (self.users >= 2.0).then(|| self.squares / (self.users - 1.0))
    }
}

impl Arms<MetricSums> {
    /// The difference of the means; `None` with fewer than two users in an arm.
    pub fn effect(self) -> Option<Effect> {
        let variance = |sums: MetricSums| sums.variance().map(|variance| variance / sums.users);
        let error = (variance(self.candidate)? + variance(self.control)?).sqrt();
        let estimate = self.candidate.mean - self.control.mean;
        Some(Effect {
            estimate,
            error,
            users: self.map(|sums| sums.users),
        })
    }
}

impl Effect {
    /// Where the effect lies with probability 1 − `alpha`, at one time that was fixed beforehand.
    pub fn fixed_interval(&self, alpha: f64) -> Interval {
        use statrs::distribution::{ContinuousCDF, Normal};
        self.within(Normal::standard().inverse_cdf(1.0 - alpha / 2.0) * self.error)
    }

    /// Where the effect lies with probability 1 − `alpha`, at all times together, asymptotically
    /// (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory", 2024). It is
    /// narrowest for `users_opt` users in both arms. Do not look before there are some hundred.
    pub fn sequential_interval(&self, alpha: f64, users_opt: f64) -> Interval {
        let users = self.users.candidate + self.users.control;
        // In units of the variance of one user, the intrinsic time is the number of users.
        let deviation = self.error * users.sqrt();
        let bound = normal_bound(users, alpha, normal_rho(users_opt, alpha));
        self.within(deviation * bound / users)
    }

    fn within(&self, half: f64) -> Interval {
        Interval {
            low: self.estimate - half,
            high: self.estimate + half,
        }
    }
}
