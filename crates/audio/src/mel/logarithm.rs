//! Logarithms of the numbers of bands, and their cosine transform.

use std::f64::consts::PI;

use super::Logarithm;

/// What `whisper` takes for smaller numbers.
const WHISPER_AMIN: f64 = 1e-10;

impl Logarithm {
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::Decibels { amin, .. } | Self::Natural { amin }
                if amin.is_nan() || *amin <= 0.0 =>
            {
                Err("amin must be above 0".to_owned())
            }
            Self::Decibels {
                top_db: Some(top_db),
                ..
            } if top_db.is_nan() || *top_db < 0.0 => Err("top_db must be 0 or above".to_owned()),
            _ => Ok(()),
        }
    }

    /// Of all numbers of one sound: the largest one of them counts.
    pub(super) fn apply(self, numbers: &mut [f64]) {
        match self {
            Self::None => {}
            Self::Natural { amin } => each(numbers, |number| number.max(amin).ln()),
            Self::Decibels { amin, top_db } => {
                each(numbers, |number| 10.0 * number.max(amin).log10());
                if let Some(top_db) = top_db {
                    at_least_below_largest(numbers, top_db);
                }
            }
            Self::Whisper => {
                each(numbers, |number| number.max(WHISPER_AMIN).log10());
                at_least_below_largest(numbers, 8.0);
                each(numbers, |number| (number + 4.0) / 4.0);
            }
        }
    }
}

fn each(numbers: &mut [f64], function: impl Fn(f64) -> f64) {
    for number in numbers {
        *number = function(*number);
    }
}

/// Raises numbers that are further below the largest one.
fn at_least_below_largest(numbers: &mut [f64], distance: f64) {
    let largest = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    each(numbers, |number| number.max(largest - distance));
}

/// The first rows of the DCT-II, orthonormal: `scipy.fft.dct(x, type=2, norm="ortho")`.
pub(super) fn cosines(rows: usize, length: usize) -> Vec<f64> {
    let mut cosines = Vec::with_capacity(rows * length);
    for row in 0..rows {
        let scale = if row == 0 { 1.0 } else { 2.0 };
        let scale = (scale / length as f64).sqrt();
        for at in 0..length {
            let angle = PI * row as f64 * (2 * at + 1) as f64 / (2 * length) as f64;
            cosines.push(scale * angle.cos());
        }
    }
    cosines
}
