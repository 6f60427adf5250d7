//! Mel spectrograms, as librosa computes them.

mod filters;
mod logarithm;

use std::f64::consts::TAU;
use std::fmt;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use self::filters::Filter;
use self::logarithm::cosines;

/// The longest transform.
const MAX_FFT: usize = 1 << 16;
/// The most bands.
const MAX_BANDS: usize = 1 << 12;

/// The weights of the samples of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window {
    /// Raised cosine, periodic.
    #[default]
    Hann,
    /// Hamming, periodic.
    Hamming,
}

/// What stands before the first sample and behind the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PadMode {
    /// Silence.
    #[default]
    Constant,
    /// The samples, in the opposite direction, without the outermost.
    Reflect,
}

/// Which frequency has which mel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MelScale {
    /// That of Slaney's Auditory Toolbox: linear up to 1000 Hz.
    #[default]
    Slaney,
    /// `2595 * log10(1 + f / 700)`.
    Htk,
}

/// How high the filters of the bands are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MelNorm {
    /// All have one area.
    #[default]
    Slaney,
    /// All have the height 1.
    None,
}

/// What becomes of the numbers of the bands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Logarithm {
    /// They stay as they are.
    #[default]
    None,
    /// `librosa.power_to_db(x, ref=1.0, amin=amin, top_db=top_db)`.
    Decibels {
        /// Smaller numbers count as this one.
        amin: f64,
        /// Numbers that are further below the largest one of the sound count as this far below.
        top_db: Option<f64>,
    },
    /// `log(max(x, amin))`.
    Natural {
        /// Smaller numbers count as this one.
        amin: f64,
    },
    /// As the package `whisper` does it: `log10`, at most 8 below the largest one of the sound, `+ 4`,
    /// `/ 4`.
    Whisper,
}

/// How a spectrogram is made.
#[derive(Clone, Debug)]
pub struct MelOptions {
    /// Samples in a second, in Hz.
    pub sample_rate: u32,
    /// Samples of a transform.
    pub n_fft: usize,
    /// Samples from one frame to the next.
    pub hop_length: usize,
    /// Samples of a frame, in the middle of those of the transform.
    pub win_length: usize,
    /// Their weights.
    pub window: Window,
    /// Whether the first frame has the first sample in its middle.
    pub center: bool,
    /// What stands around the sound then.
    pub pad_mode: PadMode,
    /// Whether the last frame is left out, as `whisper` does it.
    pub drop_last_frame: bool,
    /// What the magnitudes are raised to.
    pub power: f64,
    /// The number of bands.
    pub n_mels: usize,
    /// The lowest frequency, in Hz.
    pub fmin: f64,
    /// The highest frequency, in Hz.
    pub fmax: f64,
    /// Which frequency has which mel.
    pub scale: MelScale,
    /// How high the filters are.
    pub norm: MelNorm,
    /// What becomes of the numbers of the bands.
    pub logarithm: Logarithm,
    /// How many coefficients of the cosine transform of the bands take their place, if any.
    pub n_mfcc: Option<usize>,
    /// Whether a frame has its bands side by side; otherwise a band has its frames.
    pub frames_first: bool,
}

impl MelOptions {
    /// The defaults of librosa at a sample rate.
    pub fn new(sample_rate: u32) -> Self {
        Self {
            sample_rate,
            n_fft: 2048,
            hop_length: 512,
            win_length: 2048,
            window: Window::default(),
            center: true,
            pad_mode: PadMode::default(),
            drop_last_frame: false,
            power: 2.0,
            n_mels: 128,
            fmin: 0.0,
            fmax: f64::from(sample_rate) / 2.0,
            scale: MelScale::default(),
            norm: MelNorm::default(),
            logarithm: Logarithm::default(),
            n_mfcc: None,
            frames_first: false,
        }
    }

    fn check(&self) -> Result<(), String> {
        check_range("n_fft", self.n_fft, 2, MAX_FFT)?;
        check_range("win_length", self.win_length, 1, self.n_fft)?;
        check_range("hop_length", self.hop_length, 1, MAX_FFT)?;
        check_range("n_mels", self.n_mels, 1, MAX_BANDS)?;
        if let Some(count) = self.n_mfcc {
            check_range("n_mfcc", count, 1, self.n_mels)?;
        }
        let nyquist = f64::from(self.sample_rate) / 2.0;
        if !(0.0 <= self.fmin && self.fmin < self.fmax && self.fmax <= nyquist) {
            let (fmin, fmax) = (self.fmin, self.fmax);
            return Err(format!(
                "fmin is {fmin} and fmax {fmax}: they must be in order, from 0 to {nyquist}, which \
                 is half of the sample rate"
            ));
        }
        if !(self.power > 0.0 && self.power.is_finite()) {
            return Err("power must be a number above 0".to_owned());
        }
        self.logarithm.check()
    }
}

fn check_range(name: &str, value: usize, least: usize, most: usize) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("{name} is {value}, it must be {least} to {most}"))
}

/// Makes mel spectrograms. See the crate's documentation.
pub struct Mel {
    options: MelOptions,
    transform: Arc<dyn RealToComplex<f64>>,
    window: Vec<f64>,
    filters: Vec<Filter>,
    /// Rows of the cosine transform, if there is one.
    cosines: Vec<f64>,
}

impl fmt::Debug for Mel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Mel");
        debug
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Mel {
    /// Makes filters and windows ready.
    ///
    /// # Errors
    /// The first option that makes no sense.
    pub fn new(options: MelOptions) -> Result<Self, String> {
        options.check()?;
        let cosines = options
            .n_mfcc
            .map_or(Vec::new(), |count| cosines(count, options.n_mels));
        Ok(Self {
            transform: RealFftPlanner::new().plan_fft_forward(options.n_fft),
            window: window(&options),
            filters: filters::filters(&options),
            cosines,
            options,
        })
    }

    /// The numbers of a frame.
    pub fn bands(&self) -> usize {
        self.options.n_mfcc.unwrap_or(self.options.n_mels)
    }

    /// Whether a frame has its bands side by side.
    pub fn is_frames_first(&self) -> bool {
        self.options.frames_first
    }

    /// The frames of so many samples.
    pub fn frames(&self, samples: usize) -> usize {
        let options = &self.options;
        let padding = if options.center {
            options.n_fft / 2 * 2
        } else {
            0
        };
        let frames = match (samples + padding).checked_sub(options.n_fft) {
            Some(rest) => rest / options.hop_length + 1,
            None => 0,
        };
        frames.saturating_sub(usize::from(options.drop_last_frame))
    }

    /// What a run on so many samples takes besides its result, in bytes.
    pub fn scratch_bytes(&self, samples: usize) -> usize {
        let bands = self.frames(samples).saturating_mul(self.options.n_mels);
        bands.saturating_mul(size_of::<f64>()) + self.options.n_fft * 64
    }

    /// The spectrogram of a sound: [`Mel::frames`] times [`Mel::bands`] numbers.
    ///
    /// # Errors
    /// If the sound is too short.
    pub fn run(&self, samples: &[f32]) -> Result<Vec<f32>, String> {
        let frames = self.frames(samples.len());
        let reach = self.options.n_fft / 2;
        let is_reflected = self.options.center && self.options.pad_mode == PadMode::Reflect;
        if frames == 0 || is_reflected && samples.len() <= reach {
            let (length, n_fft) = (samples.len(), self.options.n_fft);
            return Err(format!(
                "has {length} samples, too few for an n_fft of {n_fft}"
            ));
        }
        let mut bands = self.power_bands(samples, frames);
        self.options.logarithm.apply(&mut bands);
        Ok(self.placed(&bands, frames))
    }

    /// The numbers of the bands, frame by frame.
    fn power_bands(&self, samples: &[f32], frames: usize) -> Vec<f64> {
        let mut bands = Vec::with_capacity(frames * self.options.n_mels);
        let mut frame = self.transform.make_input_vec();
        let mut spectrum = self.transform.make_output_vec();
        let mut scratch = self.transform.make_scratch_vec();
        let mut power = vec![0.0; spectrum.len()];
        for at in 0..frames {
            self.fill(samples, at, &mut frame);
            self.transform
                .process_with_scratch(&mut frame, &mut spectrum, &mut scratch)
                .expect("the buffers have the lengths that the transform asks for");
            for (power, bin) in power.iter_mut().zip(&spectrum) {
                *power = self.powered(*bin);
            }
            bands.extend(self.filters.iter().map(|filter| filter.sum(&power)));
        }
        bands
    }

    /// A magnitude, raised.
    fn powered(&self, bin: Complex<f64>) -> f64 {
        let square = bin.norm_sqr();
        if self.options.power == 2.0 {
            square
        } else {
            square.powf(self.options.power / 2.0)
        }
    }

    /// The samples of a frame, weighted.
    fn fill(&self, samples: &[f32], at: usize, frame: &mut [f64]) {
        let options = &self.options;
        let padding = if options.center { options.n_fft / 2 } else { 0 };
        let begin = (at * options.hop_length) as isize - padding as isize;
        for (offset, (place, weight)) in frame.iter_mut().zip(&self.window).enumerate() {
            let sample = sample(samples, begin + offset as isize, options.pad_mode);
            *place = f64::from(sample) * weight;
        }
    }

    /// The numbers in the order of the result, or their cosine transform.
    fn placed(&self, bands: &[f64], frames: usize) -> Vec<f32> {
        let width = self.bands();
        let mut made = vec![0.0; frames * width];
        for (at, frame) in bands.chunks_exact(self.options.n_mels).enumerate() {
            for band in 0..width {
                let number = match self.cosines.chunks_exact(self.options.n_mels).nth(band) {
                    Some(row) => row.iter().zip(frame).map(|(a, b)| a * b).sum(),
                    None => frame[band],
                };
                let place = if self.options.frames_first {
                    at * width + band
                } else {
                    band * frames + at
                };
                made[place] = number as f32;
            }
        }
        made
    }
}

/// A sample, or what stands around the sound.
fn sample(samples: &[f32], at: isize, mode: PadMode) -> f32 {
    let last = samples.len() as isize - 1;
    let at = match mode {
        PadMode::Reflect if at < 0 => -at,
        PadMode::Reflect if at > last => 2 * last - at,
        _ => at,
    };
    usize::try_from(at)
        .ok()
        .and_then(|at| samples.get(at))
        .copied()
        .unwrap_or(0.0)
}

/// The weights of a frame, in the middle of a transform.
fn window(options: &MelOptions) -> Vec<f64> {
    let length = options.win_length;
    let begin = (options.n_fft - length) / 2;
    let mut window = vec![0.0; options.n_fft];
    for (at, weight) in window[begin..begin + length].iter_mut().enumerate() {
        let cosine = (TAU * at as f64 / length as f64).cos();
        *weight = match options.window {
            Window::Hann => 0.5 - 0.5 * cosine,
            Window::Hamming => 0.54 - 0.46 * cosine,
        };
    }
    window
}
