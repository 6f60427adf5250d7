//! Whether the candidate's outputs are distributed like the control's.

use serde::{Deserialize, Serialize};

use super::arms::Arms;
use super::evidence::log_sum;
use super::shapes::Bins;

/// Bins of a distribution, at most.
pub const MAX_BINS: usize = 64;

/// A test of "each bin comes up for the candidate at most `1 + min_effect` times as often as for the
/// control, and at least so often divided by that", for windows of requests that were assigned by
/// chance. Bins are intervals of a score in order, or classes; they must have been chosen before the
/// first window, e.g. as deciles of the control's scores of the day before.
///
/// Given that an output falls into a bin, it is the candidate's with probability
/// πr/(πr+1−π), where r is how many times as often the bin comes up for the candidate (the argument of
/// Lindon and Malek, "Anytime-valid inference for multinomial count data", 2022, for each bin). The
/// capital on a shape of ratios is multiplied by that probability over the one for the nearest ratio
/// that `min_effect` allows: an e-process, as the likelihood ratio is monotone in r. Capital is
/// spread over shapes of ratios and one that learns from the windows before (the plug-in of Turner, Ly
/// and Grünwald 2024). About the realized π of a window, see
/// [`EventTest`](super::EventTest).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistributionTest {
    bins: Bins,
    min_effect: f64,
    /// The log of the capital on each shape, and on what was learned.
    capital: Vec<f64>,
    total: Arms<Vec<u64>>,
    pending: Arms<Vec<u64>>,
}

/// What the bet that learns adds to the counts of an arm: so many outputs, distributed as both arms are.
const PRIOR_COUNT: f64 = 20.0;

impl DistributionTest {
    /// A test that has seen nothing yet, for 2 to [`MAX_BINS`] bins.
    pub fn new(bins: Bins, count: usize, min_effect: f64) -> Self {
        let count = count.clamp(2, MAX_BINS);
        let shapes = bins.shapes(count);
        let mut capital: Vec<f64> = shapes.iter().map(|shape| shape.weight.ln()).collect();
        capital.push(bins.learned_weight().ln());
        let empty = || Arms::new(vec![0; count], vec![0; count]);
        Self {
            bins,
            min_effect,
            capital,
            total: empty(),
            pending: empty(),
        }
    }

    /// Adds a window: how many outputs of each version fell into each bin. Windows in which one version
    /// had none are joined with the next ones. Histograms with another number of bins are passed over:
    /// the test then has no data, which verdicts say.
    pub fn add(&mut self, window: Arms<&[u64]>) {
        let bins = self.total.control.len();
        if window.candidate.len() != bins || window.control.len() != bins {
            return;
        }
        add_to(&mut self.pending.candidate, window.candidate);
        add_to(&mut self.pending.control, window.control);
        let outputs = Arms::new(sum(&self.pending.candidate), sum(&self.pending.control));
        let Some(exposure) = outputs.exposure() else {
            return;
        };
        let empty = Arms::new(vec![0; bins], vec![0; bins]);
        let window = std::mem::replace(&mut self.pending, empty);
        self.bet(&window, exposure);
        add_to(&mut self.total.candidate, &window.candidate);
        add_to(&mut self.total.control, &window.control);
    }

    fn bet(&mut self, window: &Arms<Vec<u64>>, exposure: f64) {
        let pooled = self.pooled_shares();
        let shapes = self.bins.shapes(pooled.len());
        for (capital, shape) in self.capital.iter_mut().zip(shapes) {
            *capital += log_gain(window, exposure, &pooled, &shape.ratios, self.min_effect);
        }
        let learned = self.learned_ratios(&pooled);
        let gain = log_gain(window, exposure, &pooled, &learned, self.min_effect);
        if let Some(capital) = self.capital.last_mut() {
            *capital += gain;
        }
    }

    /// See [`EventTest::drop_pending`](super::EventTest::drop_pending).
    pub fn drop_pending(&mut self) {
        self.pending.candidate.fill(0);
        self.pending.control.fill(0);
    }

    /// The log of the e-value.
    pub fn log_e(&self) -> f64 {
        log_sum(self.capital.iter().copied())
    }

    /// The outputs that were compared so far.
    pub fn total(&self) -> Arms<&[u64]> {
        Arms::new(&self.total.candidate, &self.total.control)
    }

    /// The share of each bin in both arms, drawn towards equal shares while there is little data.
    fn pooled_shares(&self) -> Vec<f64> {
        let all = (sum(&self.total.candidate) + sum(&self.total.control)) as f64;
        let bins = self.total.control.len() as f64;
        let pairs = self.total.candidate.iter().zip(&self.total.control);
        pairs
            .map(|(one, other)| ((one + other) as f64 + 0.5) / (all + 0.5 * bins))
            .collect()
    }

    fn learned_ratios(&self, pooled: &[f64]) -> Vec<f64> {
        let totals = Arms::new(sum(&self.total.candidate), sum(&self.total.control));
        let smooth = |count: u64, all: u64, share: f64| {
            (count as f64 + PRIOR_COUNT * share) / (all as f64 + PRIOR_COUNT)
        };
        let mut ratios = Vec::with_capacity(pooled.len());
        for (bin, share) in pooled.iter().enumerate() {
            let candidate = smooth(self.total.candidate[bin], totals.candidate, *share);
            let control = smooth(self.total.control[bin], totals.control, *share);
            ratios.push(candidate / control);
        }
        ratios
    }
}

/// What a window does to the log of the capital on a shape.
fn log_gain(
    window: &Arms<Vec<u64>>,
    exposure: f64,
    pooled: &[f64],
    shape: &[f64],
    min_effect: f64,
) -> f64 {
    let mean: f64 = pooled
        .iter()
        .zip(shape)
        .map(|(share, ratio)| share * ratio)
        .sum();
    let largest = 1.0 + min_effect;
    let mut gain = 0.0;
    for (bin, ratio) in shape.iter().enumerate() {
        let (candidate, control) = (window.candidate[bin] as f64, window.control[bin] as f64);
        if candidate + control == 0.0 {
            continue;
        }
        let ratio = ratio / mean;
        let allowed = ratio.clamp(1.0 / largest, largest);
        // (πr/(πr+1−π)) over the same for what is allowed, and the same for the control.
        let norm = (exposure * allowed + 1.0 - exposure) / (exposure * ratio + 1.0 - exposure);
        gain += (candidate + control) * norm.ln();
        if candidate > 0.0 {
            gain += candidate * (ratio / allowed).ln();
        }
    }
    gain
}

fn add_to(sums: &mut [u64], counts: &[u64]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count;
    }
}

fn sum(counts: &[u64]) -> u64 {
    counts.iter().sum()
}

/// The population stability index between two histograms of the same bins, each count raised by a half
/// so that empty bins stay finite: the size of a difference, for reports.
pub fn psi(histograms: Arms<&[u64]>) -> f64 {
    let bins = histograms.control.len() as f64;
    let shares = histograms.map(|counts| {
        let all = sum(counts) as f64 + 0.5 * bins;
        counts
            .iter()
            .map(|count| (*count as f64 + 0.5) / all)
            .collect::<Vec<f64>>()
    });
    let pairs = shares.candidate.iter().zip(&shares.control);
    pairs
        .map(|(one, other)| (one - other) * (one / other).ln())
        .sum()
}

#[cfg(test)]
mod tests;
