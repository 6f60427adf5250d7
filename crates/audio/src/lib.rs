//! Sounds of requests as the numbers that models take: decoded, mixed to one channel, resampled,
//! normalized, and as mel spectrograms.
//!
//! In: the bytes of a WAV or FLAC file, which a client sent and which may be anything. Its [`Header`]
//! is read first, without decoding: how long the sound is, and what decoding it takes.
//! [`Recipe::run`] then makes the samples, and [`Mel::run`] a spectrogram of them. Samples and
//! spectrograms are those of librosa, within the tolerances that the tests state. This crate does no
//! I/O.
//!
//! ```
//! use tidegate_audio::{Header, Recipe};
//!
//! let recipe = Recipe { sample_rate: 16_000, ..Recipe::default() };
//! let refused = recipe.run(b"no sound").unwrap_err();
//! assert_eq!(refused.to_string(), "is no WAV or FLAC file");
//! assert!(Header::read(b"ID3").is_err());
//! ```

mod flac;
mod header;
mod mel;
mod recipe;
mod resample;
mod riff;
mod wav;

pub use header::{Format, Header};
pub use mel::{Logarithm, Mel, MelNorm, MelOptions, MelScale, PadMode, Window};
pub use recipe::{Fixed, Normalization, Recipe, SoundBytes};
pub use resample::resampled_length;

/// Why a sound cannot be used. It reads on from the name of a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AudioError {
    /// It is none of the formats.
    #[error("is no WAV or FLAC file")]
    Format,
    /// It begins as one, and cannot be read on.
    #[error("is a {0} file that cannot be read: {1}")]
    Broken(Format, String),
    /// Its rate, its channels or its length are not allowed.
    #[error("{0}")]
    Range(String),
}
