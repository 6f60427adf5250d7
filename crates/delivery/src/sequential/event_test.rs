//! Whether something happens to more of the candidate's requests than of the control's.

use serde::{Deserialize, Serialize};

use super::arms::Arms;
use super::evidence::log_sum;
use super::window::Counts;

/// A test of "the candidate's share of events is at most `min_effect` above the control's", for
/// windows of requests that were assigned by chance.
///
/// Of a request with arm Z (1 for the candidate, with probability π) and outcome Y (1 for an event),
/// X = (Z−π)/(π(1−π))·(Y−ŷ) has the expectation p₁−p₀, whatever ŷ is that was fixed before. The
/// capital is multiplied by 1 + λ(X−δ) with δ = `min_effect`: an e-process under the hypothesis
/// (inverse propensity weights as in Howard et al. 2021, 4.2; betting as in Waudby-Smith and Ramdas,
/// "Estimating means of bounded random variables by betting", 2024). With δ = 0, ŷ = p̄ and
/// λ = π(1−π)(p₁−p₀)/(p̄(1−p̄)) this is the growth-rate optimal test of Turner, Ly and Grünwald
/// ("Generic e-variables for exact sequential k-sample tests", 2024). As p₁−p₀ is not known, capital is
/// spread over rate ratios p₁/p₀, and ŷ is the share of events in all windows before.
///
/// π is the part of the window's requests that the candidate really got. Given that part, events fall
/// on arms without replacement, and the expectation of a convex function of such draws is at most that
/// of independent ones (Hoeffding 1963, theorem 4); so the evenly spread sequence of requests without
/// sticky key only makes the test more careful. Shares of events may change from window to window as
/// they like, if they do so for both arms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventTest {
    min_effect: f64,
    /// The log of the capital on each of [`RATIOS`].
    capital: Vec<f64>,
    /// What all windows had.
    total: Arms<Counts>,
    /// Requests that wait for others to be compared with.
    pending: Arms<Counts>,
}

/// The rate ratios that are bet on: an increase by 6 % to one by the factor 123, in steps of two.
const RATIOS: [f64; 12] = [
    1.06, 1.12, 1.24, 1.48, 1.96, 2.92, 4.84, 8.68, 16.36, 31.72, 62.44, 123.88,
];
/// The largest part of the capital on one ratio that one request may lose.
const MAX_STAKE: f64 = 0.95;

impl EventTest {
    /// A test that has seen nothing yet. `min_effect` is a difference of shares, from 0 to 1.
    pub fn new(min_effect: f64) -> Self {
        Self {
            min_effect,
            capital: vec![0.0; RATIOS.len()],
            total: Arms::default(),
            pending: Arms::default(),
        }
    }

    /// Adds a window. Windows in which one version had no requests are joined with the next ones.
    pub fn add(&mut self, window: Arms<Counts>) {
        self.pending.add_counts(window);
        let Some(exposure) = self.pending.requests().exposure() else {
            return;
        };
        let window = std::mem::take(&mut self.pending);
        let expected = self.total.pooled_share();
        for (capital, ratio) in self.capital.iter_mut().zip(RATIOS) {
            *capital += Bet::new(ratio, exposure, expected, self.min_effect).log_gain(window);
        }
        self.total.add_counts(window);
    }

    /// Forgets requests that wait for others: the weights change, so those to come are not comparable.
    pub fn drop_pending(&mut self) {
        self.pending = Arms::default();
    }

    /// The log of the e-value.
    pub fn log_e(&self) -> f64 {
        log_sum(self.capital.iter().copied()) - (RATIOS.len() as f64).ln()
    }

    /// What was compared so far.
    pub fn total(&self) -> Arms<Counts> {
        self.total
    }
}

/// One bet, for all requests of a window: the logs of what the capital is multiplied by.
struct Bet {
    candidate: (f64, f64),
    control: (f64, f64),
}

impl Bet {
    /// `ratio` is the rate ratio that it bets on, `expected` the share of events in both arms.
    fn new(ratio: f64, exposure: f64, expected: f64, min_effect: f64) -> Self {
        let control_share = expected / (exposure * ratio + 1.0 - exposure);
        let difference = (ratio - 1.0) * control_share;
        let rest = 1.0 - exposure;
        let wanted = exposure * rest * difference / (expected * (1.0 - expected));
        let largest_loss = (expected / exposure).max((1.0 - expected) / rest) + min_effect;
        let lambda = wanted.min(MAX_STAKE / largest_loss);
        let log_factor = |x: f64| (lambda * (x - min_effect)).ln_1p();
        Self {
            candidate: (
                log_factor((1.0 - expected) / exposure),
                log_factor(-expected / exposure),
            ),
            control: (
                log_factor((expected - 1.0) / rest),
                log_factor(expected / rest),
            ),
        }
    }

    fn log_gain(&self, window: Arms<Counts>) -> f64 {
        let gain = |(event, other): (f64, f64), counts: Counts| {
            event * counts.events as f64 + other * counts.others() as f64
        };
        gain(self.candidate, window.candidate) + gain(self.control, window.control)
    }
}

#[cfg(test)]
mod tests;
