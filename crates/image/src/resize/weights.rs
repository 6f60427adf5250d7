//! What each pixel of a resized row takes of the pixels of the old one.

use std::f64::consts::PI;
use std::ops::Range;

use super::Filter;

/// Fractional bits of a weight.
pub(super) const PRECISION: u32 = 32 - 8 - 2;

/// Weights for a range of pixels.
#[derive(Debug)]
pub(super) struct Weights {
    taps: Vec<Taps>,
    kernel: Vec<i32>,
}

/// The old pixels that a pixel is made of.
#[derive(Debug)]
struct Taps {
    first: usize,
    count: usize,
    /// Where its weights begin.
    kernel: usize,
}

impl Weights {
    /// Weights for some of the pixels that a side of so many pixels is resized to.
    pub(super) fn new(from: usize, to: usize, filter: Filter, wanted: Range<usize>) -> Self {
        let scale = from as f64 / to as f64;
        // Where the image shrinks, the filter widens with it, so that no pixel is passed over.
        let stretch = scale.max(1.0);
        let support = support(filter) * stretch;
        let mut weights = Self {
            taps: Vec::with_capacity(wanted.len()),
            kernel: Vec::new(),
        };
        let mut kernel = Vec::new();
        for at in wanted {
            let center = (at as f64 + 0.5) * scale;
            // Cut off, as the conversion to int in C.
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            kernel.clear();
            let place = |old: usize| (old as f64 - center + 0.5) * (1.0 / stretch);
            kernel.extend((first..end).map(|old| weight(filter, place(old))));
            weights.push(first, &kernel);
        }
        weights
    }

    fn push(&mut self, first: usize, kernel: &[f64]) {
        let sum: f64 = kernel.iter().fold(0.0, |sum, weight| sum + weight);
        self.taps.push(Taps {
            first,
            count: kernel.len(),
            kernel: self.kernel.len(),
        });
        for weight in kernel {
            let weight = if sum == 0.0 { *weight } else { weight / sum };
            let scaled = weight * f64::from(1 << PRECISION);
            let half = if weight < 0.0 { -0.5 } else { 0.5 };
            self.kernel.push((scaled + half) as i32);
        }
    }

    /// For each pixel the first old one, and the weights from there on.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let taps = self.taps.iter();
        taps.map(|taps| {
            (
                taps.first,
                &self.kernel[taps.kernel..taps.kernel + taps.count],
            )
        })
    }

    /// The old pixels that any of them takes.
    pub(super) fn taken(&self) -> Range<usize> {
        let first = self.taps.first().map_or(0, |taps| taps.first);
        let last = self.taps.last();
        first..last.map_or(0, |taps| taps.first + taps.count)
    }
}

fn support(filter: Filter) -> f64 {
    match filter {
        Filter::Nearest => 0.0,
        Filter::Box => 0.5,
        Filter::Bilinear => 1.0,
        Filter::Bicubic => 2.0,
        Filter::Lanczos => 3.0,
    }
}

fn weight(filter: Filter, x: f64) -> f64 {
    // Keys, "Cubic Convolution Interpolation for Digital Image Processing" (1981); Pillow takes the
    // same value.
    const A: f64 = -0.5;
    match filter {
        Filter::Nearest => 0.0,
        Filter::Box if x > -0.5 && x <= 0.5 => 1.0,
        Filter::Box => 0.0,
        Filter::Bilinear => (1.0 - x.abs()).max(0.0),
        Filter::Bicubic => match x.abs() {
            x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            _ => 0.0,
        },
        Filter::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
        Filter::Lanczos => 0.0,
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * PI;
    x.sin() / x
}
