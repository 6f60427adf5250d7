//! From the bytes of a sound to the samples of a model.

use crate::AudioError;
use crate::header::{Body, Header};
use crate::resample::{resample, resample_bytes, resampled_length};

/// What is done to the samples of a sound, each time with its own mean or maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Normalization {
    /// They stay as they are.
    #[default]
    None,
    /// They are divided by the largest absolute one.
    Peak,
    /// `(x - mean) / sqrt(variance + 1e-7)`, as the feature extractor of Wav2Vec 2 has it.
    Standard,
}

/// One length for all sounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// The number of samples.
    pub samples: usize,
    /// Whether silence is added to shorter sounds, at their end.
    pub pads: bool,
    /// Whether the end of longer sounds is cut off.
    pub truncates: bool,
}

/// What making samples of a sound takes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoundBytes {
    /// The samples.
    pub made: usize,
    /// What is needed besides, until they are made.
    pub scratch: usize,
}

/// How a sound becomes samples.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Samples in a second, in Hz.
    pub sample_rate: u32,
    /// The longest sound.
    pub max_seconds: f64,
    /// One length for all sounds.
    pub fixed: Option<Fixed>,
    /// What is done to the samples.
    pub normalization: Normalization,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            sample_rate: 16_000,
            max_seconds: 60.0,
            fixed: None,
            normalization: Normalization::default(),
        }
    }
}

impl Recipe {
    /// The most samples that it makes of a sound.
    pub fn max_samples(&self) -> usize {
        let longest = (self.max_seconds * f64::from(self.sample_rate)).ceil() as usize + 1;
        self.fixed.map_or(longest, |fixed| fixed.samples)
    }

    /// What [`Recipe::run`] takes at most.
    ///
    /// # Errors
    /// If the sound is too long.
    pub fn bytes(&self, header: &Header) -> Result<SoundBytes, AudioError> {
        header.check_seconds(self.max_seconds)?;
        let most = header.frames_of(self.max_seconds);
        let frames = header.frames.unwrap_or(most);
        let resampled = resampled_length(frames, header.sample_rate, self.sample_rate);
        let made = self.fixed.map_or(resampled, |fixed| fixed.samples);
        Ok(SoundBytes {
            made: made * size_of::<f32>(),
            scratch: (frames + resampled) * size_of::<f32>()
                + resample_bytes(header.sample_rate, self.sample_rate)
                + header.decode_bytes(),
        })
    }

    /// Makes the samples of a sound.
    ///
    /// # Errors
    /// If the sound cannot be read, or is too short or too long.
    pub fn run(&self, bytes: &[u8]) -> Result<Vec<f32>, AudioError> {
        let header = Header::read(bytes)?;
        header.check_seconds(self.max_seconds)?;
        let samples = self.mono(bytes, &header)?;
        check_finite(&header, &samples)?;
        let samples = resample(samples, header.sample_rate, self.sample_rate)
            .map_err(|problem| AudioError::Broken(header.format, problem))?;
        let mut samples = self.cut(samples)?;
        self.normalization.apply(&mut samples);
        if let Some(fixed) = self.fixed {
            samples.resize(fixed.samples, 0.0);
        }
        Ok(samples)
    }

    fn mono(&self, bytes: &[u8], header: &Header) -> Result<Vec<f32>, AudioError> {
        let frames = match &header.body {
            Body::Wav(samples) => return Ok(samples.mono(bytes, header.channels)),
            Body::Flac(frames) => frames,
        };
        // Encoders that write while they listen do not say the length.
        let most = header.frames.unwrap_or(header.frames_of(self.max_seconds));
        let samples = frames.mono(bytes, header, most);
        samples.map_err(|problem| AudioError::Broken(header.format, problem))
    }

    /// Cuts a sound that is too long, before it is normalized: what is cut off does not count.
    fn cut(&self, mut samples: Vec<f32>) -> Result<Vec<f32>, AudioError> {
        let Some(fixed) = self.fixed else {
            return Ok(samples);
        };
        let (length, wanted) = (samples.len(), fixed.samples);
        let fits = length == wanted
            || if length < wanted {
                fixed.pads
            } else {
                fixed.truncates
            };
        if !fits {
            let rate = self.sample_rate;
            let problem = format!("has {length} samples at {rate} Hz, the model takes {wanted}");
            return Err(AudioError::Range(problem));
        }
        samples.truncate(wanted);
        Ok(samples)
    }
}

/// Refuses NaN and infinities, which files of floating point can have.
fn check_finite(header: &Header, samples: &[f32]) -> Result<(), AudioError> {
    if samples.iter().all(|sample| sample.is_finite()) {
        return Ok(());
    }
    let problem = "a sample is no finite number".to_owned();
    Err(AudioError::Broken(header.format, problem))
}

impl Normalization {
    fn apply(self, samples: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Peak => {
                let peak = samples
                    .iter()
                    .fold(0f32, |peak, sample| peak.max(sample.abs()));
                // Silence stays silence.
                if peak > 0.0 {
                    samples.iter_mut().for_each(|sample| *sample /= peak);
                }
            }
            Self::Standard => {
                let count = samples.len() as f64;
                let mean = samples.iter().copied().map(f64::from).sum::<f64>() / count;
                let squares = samples
                    .iter()
                    .map(|sample| (f64::from(*sample) - mean).powi(2));
                let deviation = (squares.sum::<f64>() / count + 1e-7).sqrt();
                for sample in samples {
                    *sample = ((f64::from(*sample) - mean) / deviation) as f32;
                }
            }
        }
    }
}
