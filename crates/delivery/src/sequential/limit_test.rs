//! Whether something happens to more of the requests than a limit says.

use serde::{Deserialize, Serialize};

use super::evidence::log_sum;
use super::window::Counts;

/// A test of "the share of events is at most `limit`", without a control: for paired requests, such
/// as the mirrored ones on which candidate and control disagree.
///
/// The capital on an alternative q is multiplied by q/p₀ for an event and by (1−q)/(1−p₀) otherwise,
/// with p₀ = `limit`; smaller shares than the limit only lower its expectation (monotone likelihood
/// ratio). Capital is spread over q.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitTest {
    limit: f64,
    total: Counts,
}

/// The alternatives that are bet on, as parts of the way from the limit to 1.
const PARTS_OF_WAY: [f64; 10] = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.9];
/// A limit of 0 would be refuted by a single event, which any defect elsewhere can cause.
const LEAST_LIMIT: f64 = 1e-6;

impl LimitTest {
    /// A test that has seen nothing yet. `limit` is from 0 to below 1.
    pub fn new(limit: f64) -> Self {
        let limit = limit.clamp(LEAST_LIMIT, 1.0 - LEAST_LIMIT);
        Self {
            limit,
            total: Counts::default(),
        }
    }

    /// Adds requests.
    pub fn add(&mut self, counts: Counts) {
        self.total.requests += counts.requests;
        self.total.events += counts.events;
    }

    /// The log of the e-value.
    pub fn log_e(&self) -> f64 {
        let (events, others) = (self.total.events as f64, self.total.others() as f64);
        let logs = PARTS_OF_WAY.iter().map(|part| {
            let q = self.limit + part * (1.0 - self.limit);
            let rest = (1.0 - q) / (1.0 - self.limit);
            events * (q / self.limit).ln() + others * rest.ln()
        });
        log_sum(logs) - (PARTS_OF_WAY.len() as f64).ln()
    }

    /// What was seen so far.
    pub fn total(&self) -> Counts {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of 1000 tests with a limit of 2 % ever reject at 0.05 within 2000 requests.
    fn rejections(share: f64) -> usize {
        let rejects = |seed: &u64| {
            let mut random = fastrand::Rng::with_seed(*seed);
            let mut test = LimitTest::new(0.02);
            (0..2000).any(|_| {
                test.add(Counts::new(u64::from(random.f64() < share), 1));
                test.log_e() >= 20_f64.ln()
            })
        };
        (0..1000).filter(rejects).count()
    }

    #[test]
    fn a_share_at_the_limit_is_accepted_and_a_larger_one_found() {
        assert!(rejections(0.02) <= 50);
        assert!(rejections(0.05) > 950);
    }
}
