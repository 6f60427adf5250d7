//! What the first bytes of a sound say, read without decoding it and without memory of its own.

use std::fmt;

use crate::{AudioError, flac, wav};

/// The sample rates of files, in Hz. Others are mistakes.
const RATES: std::ops::RangeInclusive<u32> = 1000..=384_000;
/// The most channels of a file.
const MAX_CHANNELS: usize = 64;

/// The format of a sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// WAV.
    Wav,
    /// FLAC.
    Flac,
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Wav => "WAV",
            Self::Flac => "FLAC",
        })
    }
}

/// How long a sound is, and what it takes to decode it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its format.
    pub format: Format,
    /// Samples of a channel in a second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: usize,
    /// Samples of a channel. Encoders of FLAC that write while they listen do not say it.
    pub frames: Option<usize>,
    pub(crate) body: Body,
}

/// Where the samples are, and how they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Wav(wav::Samples),
    Flac(flac::Frames),
}

impl Header {
    /// Reads the header of a sound.
    ///
    /// # Errors
    /// If it is none of the formats, is cut off, or has a rate or channels that no sound has.
    pub fn read(bytes: &[u8]) -> Result<Self, AudioError> {
        let (format, read) = if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WAVE") {
            (Format::Wav, wav::header(bytes))
        } else if bytes.starts_with(b"fLaC") {
            (Format::Flac, flac::header(bytes))
        } else {
            return Err(AudioError::Format);
        };
        let header = read.map_err(|problem| AudioError::Broken(format, problem))?;
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), AudioError> {
        let Self {
            format,
            sample_rate,
            channels,
            frames,
            ..
        } = self;
        if !RATES.contains(sample_rate) {
            let (least, most) = RATES.into_inner();
            let problem =
                format!("has a sample rate of {sample_rate} Hz, it may be {least} to {most}");
            return Err(AudioError::Range(problem));
        }
        if *channels > MAX_CHANNELS {
            let problem = format!("has {channels} channels, there may be {MAX_CHANNELS}");
            return Err(AudioError::Range(problem));
        }
        if *channels == 0 || *frames == Some(0) {
            let problem = "it has no samples".to_owned();
            return Err(AudioError::Broken(*format, problem));
        }
        Ok(())
    }

    /// Refuses a sound that is longer than so many seconds.
    pub(crate) fn check_seconds(&self, most: f64) -> Result<(), AudioError> {
        match self.frames {
            Some(frames) if frames > self.frames_of(most) => {
                let seconds = frames as f64 / f64::from(self.sample_rate);
                let problem =
                    format!("has {seconds:.1} seconds, there may be {most} (max_seconds)");
                Err(AudioError::Range(problem))
            }
            _ => Ok(()),
        }
    }

    /// The samples of a channel in so many seconds.
    pub(crate) fn frames_of(&self, seconds: f64) -> usize {
        (seconds * f64::from(self.sample_rate)) as usize
    }

    /// What decoding it to one channel takes besides the result, in bytes.
    pub(crate) fn decode_bytes(&self) -> usize {
        match &self.body {
            Body::Wav(_) => 0,
            Body::Flac(frames) => frames.decode_bytes(self.channels),
        }
    }
}
