//! Whether something happens to more of the candidate's requests, where each version has pauses of its
//! own.

use serde::{Deserialize, Serialize};

use super::arms::Arms;
use super::evidence::log_sum;
use super::mean::{MeanDifference, WindowSums};
use super::window::Counts;

/// A test of "the candidate's share of events is at most `min_effect` above the control's", in which a
/// block of [`BLOCK_WINDOWS`] windows is one observation.
///
/// [`EventTest`](super::EventTest) takes requests for independent of each other, given what both versions
/// share. If a version pauses, e.g. to collect garbage, all its requests of that time are slow, and ten
/// slow requests are one accident. Here a block counts as one: D is the difference of both shares, and the
/// hypothesis is that its expectation, given the blocks before, is at most `min_effect`. Half of the
/// capital bets 1 + λ(D−δ), which is right for any distribution of D in [−1, 1] (Waudby-Smith and Ramdas
/// 2024), and finds large differences. The other half is on [`MeanDifference`], which finds small ones
/// after some time, and is right asymptotically. It needs more requests than the other test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockTest {
    min_effect: f64,
    /// The log of the capital on each of [`STAKES`].
    capital: Vec<f64>,
    mean: MeanDifference,
    total: Arms<Counts>,
    pending: Arms<Counts>,
    pending_windows: u32,
}

/// The windows of a block; it has more while one version has too few requests.
pub const BLOCK_WINDOWS: u32 = 10;
/// The requests of the candidate that a block needs.
const MIN_REQUESTS: u64 = 10;
/// The parts of the capital that a block can lose.
const STAKES: [f64; 4] = [0.1, 0.3, 0.6, 0.9];

impl BlockTest {
    /// A test that has seen nothing yet. `min_effect` is a difference of shares, from 0 to 1.
    pub fn new(min_effect: f64) -> Self {
        Self {
            min_effect,
            capital: vec![0.0; STAKES.len()],
            mean: MeanDifference::default(),
            total: Arms::default(),
            pending: Arms::default(),
            pending_windows: 0,
        }
    }

    /// Adds a window.
    pub fn add(&mut self, window: Arms<Counts>) {
        self.pending.add_counts(window);
        self.pending_windows += 1;
        let shares = self.pending.map(Counts::share);
        let (Some(candidate), Some(control)) = (shares.candidate, shares.control) else {
            return;
        };
        let is_large = self.pending.candidate.requests >= MIN_REQUESTS;
        if !is_large || self.pending_windows < BLOCK_WINDOWS {
            return;
        }
        let excess = candidate - control - self.min_effect;
        for (capital, stake) in self.capital.iter_mut().zip(STAKES) {
            *capital += (stake / (1.0 + self.min_effect) * excess).ln_1p();
        }
        let block = std::mem::take(&mut self.pending);
        self.pending_windows = 0;
        self.mean.add(block.map(|counts| WindowSums {
            count: counts.requests,
            sum: counts.events as f64,
        }));
        self.total.add_counts(block);
    }

    /// See [`EventTest::drop_pending`](super::EventTest::drop_pending).
    pub fn drop_pending(&mut self) {
        self.pending = Arms::default();
        self.pending_windows = 0;
    }

    /// The log of the e-value.
    pub fn log_e(&self) -> f64 {
        let bets = log_sum(self.capital.iter().copied()) - (STAKES.len() as f64).ln();
        log_sum([bets, self.mean.log_e(self.min_effect)].into_iter()) - 2_f64.ln()
    }

    /// What was compared so far.
    pub fn total(&self) -> Arms<Counts> {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of 300 tests ever reject at 0.05 within 1500 windows, where each version pauses by
    /// itself for three windows of three hundred, and all its requests of a pause are slow.
    fn rejections(added: f64, is_constant: bool) -> usize {
        let rejects = |seed: &u64| {
            let mut random = fastrand::Rng::with_seed(*seed);
            let mut test = BlockTest::new(0.0);
            let mut pauses = [0_u32; 2];
            (0..1500).any(|_| {
                let mut draw = |arm: usize, requests: u64, added: f64| {
                    pauses[arm] = pauses[arm].saturating_sub(1);
                    if !is_constant && random.f64() < 0.01 {
                        pauses[arm] = 3;
                    }
                    let share = if pauses[arm] > 0 { 1.0 } else { 0.01 + added };
                    let events = (0..requests).filter(|_| random.f64() < share).count();
                    Counts::new(events as u64, requests)
                };
                test.add(Arms::new(draw(0, 5, added), draw(1, 95, 0.0)));
                test.log_e() >= 20_f64.ln()
            })
        };
        (0..300).filter(rejects).count()
    }

    #[test]
    fn pauses_of_one_version_are_no_difference() {
        assert!(rejections(0.0, false) <= 15);
        assert!(rejections(0.0, true) <= 15);
    }

    #[test]
    fn a_difference_is_found_among_pauses() {
        assert!(rejections(0.2, false) > 285);
        assert!(rejections(0.02, true) > 285);
    }
}
