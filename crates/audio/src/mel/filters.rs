//! The filters of the bands: triangles over the bins of a transform.

use super::{MelNorm, MelOptions, MelScale};

/// The weights of a band, from the first bin that has one.
pub(super) struct Filter {
    begin: usize,
    weights: Vec<f64>,
}

impl Filter {
    /// The number of a band.
    pub(super) fn sum(&self, power: &[f64]) -> f64 {
        let bins = power[self.begin..].iter().zip(&self.weights);
        bins.map(|(power, weight)| power * weight).sum()
    }
}

/// `librosa.filters.mel`: neighbours overlap by half, and each begins where the one before it is
/// highest.
pub(super) fn filters(options: &MelOptions) -> Vec<Filter> {
    let edges = edges(options);
    edges
        .windows(3)
        .map(|edges| filter(options, [edges[0], edges[1], edges[2]]))
        .collect()
}

fn filter(options: &MelOptions, [low, middle, high]: [f64; 3]) -> Filter {
    let bins = options.n_fft / 2 + 1;
    let height = match options.norm {
        MelNorm::Slaney => 2.0 / (high - low),
        MelNorm::None => 1.0,
    };
    let mut begin = bins;
    let mut weights = Vec::new();
    for bin in 0..bins {
        let frequency = bin as f64 * f64::from(options.sample_rate) / options.n_fft as f64;
        let rise = (frequency - low) / (middle - low);
        let fall = (high - frequency) / (high - middle);
        let weight = rise.min(fall);
        if weight <= 0.0 {
            continue;
        }
        begin = begin.min(bin);
        weights.resize(bin - begin, 0.0);
        // librosa rounds to single precision, before the height and behind it.
        let rounded = f64::from(weight as f32);
        weights.push(f64::from((rounded * height) as f32));
    }
    Filter { begin, weights }
}

/// The frequencies where filters begin, are highest and end: even steps on the mel scale.
fn edges(options: &MelOptions) -> Vec<f64> {
    let low = options.scale.mel(options.fmin);
    let high = options.scale.mel(options.fmax);
    let last = options.n_mels + 1;
    let step = (high - low) / last as f64;
    (0..=last)
        .map(|at| {
            if at == last {
                high
            } else {
                low + at as f64 * step
            }
        })
        .map(|mel| options.scale.hertz(mel))
        .collect()
}

/// The scale of Slaney is linear below this frequency, in Hz.
const LINEAR_BELOW: f64 = 1000.0;
/// What a mel is there, in Hz.
const LINEAR_STEP: f64 = 200.0 / 3.0;

/// The natural logarithm of the ratio of a mel above it.
fn log_step() -> f64 {
    6.4f64.ln() / 27.0
}

impl MelScale {
    fn mel(self, hertz: f64) -> f64 {
        match self {
            Self::Htk => 2595.0 * (1.0 + hertz / 700.0).log10(),
            Self::Slaney if hertz < LINEAR_BELOW => hertz / LINEAR_STEP,
            Self::Slaney => LINEAR_BELOW / LINEAR_STEP + (hertz / LINEAR_BELOW).ln() / log_step(),
        }
    }

    fn hertz(self, mel: f64) -> f64 {
        let linear_mels = LINEAR_BELOW / LINEAR_STEP;
        match self {
            Self::Htk => 700.0 * (10f64.powf(mel / 2595.0) - 1.0),
            Self::Slaney if mel < linear_mels => mel * LINEAR_STEP,
            Self::Slaney => LINEAR_BELOW * (log_step() * (mel - linear_mels)).exp(),
        }
    }
}
