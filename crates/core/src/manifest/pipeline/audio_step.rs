//! The steps that make numbers of sounds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

steps! {
    /// A WAV or FLAC file as a tensor of samples from -1 to 1: decoded, mixed to one channel, and
    /// resampled.
    AudioStep {
        /// The column, of type `bytes`.
        input: String,
        /// Samples in a second, in Hz.
        sample_rate: u32,
        /// The longest sound, in seconds. A longer one is refused before it is decoded.
        #[serde(default = "max_seconds")]
        max_seconds: f64,
        /// The number of samples of all sounds, if the model takes only one.
        #[serde(default)]
        length: Option<usize>,
        /// What happens to sounds with fewer samples.
        #[serde(default)]
        shorter: ShorterSound,
        /// What happens to sounds with more samples.
        #[serde(default)]
        longer: LongerSound,
        /// What is done to the samples of each sound.
        #[serde(default)]
        normalize: SoundNormalization,
        /// The result's name; the input's by default.
        #[serde(default)]
        output: Option<String>,
    }

    /// The mel spectrogram of samples, as librosa computes it. The defaults are those of
    /// `librosa.feature.melspectrogram`.
    MelSpectrogramStep {
        /// The tensor that `audio` makes.
        input: String,
        /// Samples of a transform.
        #[serde(default = "n_fft")]
        n_fft: usize,
        /// Samples from one frame to the next; a quarter of `win_length` by default.
        #[serde(default)]
        hop_length: Option<usize>,
        /// Samples of a frame; `n_fft` by default.
        #[serde(default)]
        win_length: Option<usize>,
        /// Their weights.
        #[serde(default)]
        window: FrameWindow,
        /// Whether the first frame has the first sample in its middle.
        #[serde(default = "yes")]
        center: bool,
        /// What stands around the sound then.
        #[serde(default)]
        pad_mode: SoundPadding,
        /// Whether the last frame is left out, as the package `whisper` does it.
        #[serde(default)]
        drop_last_frame: bool,
        /// What magnitudes are raised to: 2 for power, 1 for amplitude.
        #[serde(default = "power")]
        power: f64,
        /// The number of bands.
        #[serde(default = "n_mels")]
        n_mels: usize,
        /// The lowest frequency, in Hz.
        #[serde(default)]
        fmin: f64,
        /// The highest frequency, in Hz; half of the sample rate by default.
        #[serde(default)]
        fmax: Option<f64>,
        /// Which frequency has which mel.
        #[serde(default)]
        scale: MelScaleName,
        /// How high the filters of the bands are.
        #[serde(default)]
        norm: MelNormName,
        /// What becomes of the numbers of the bands.
        #[serde(default)]
        log: MelLog,
        /// Smaller numbers count as this one, for `db` and `natural`.
        #[serde(default = "amin")]
        amin: f64,
        /// For `db`: numbers further below the largest one of the same sound count as this far below.
        /// 0 sets no limit.
        #[serde(default = "top_db")]
        top_db: f64,
        /// How many coefficients of the cosine transform of the bands take their place: MFCC.
        #[serde(default)]
        n_mfcc: Option<usize>,
        /// The order of the axes behind that of the rows.
        #[serde(default)]
        layout: SpectrogramLayout,
        /// The result's name; the input's by default.
        #[serde(default)]
        output: Option<String>,
    }
}

/// What happens to a sound with too few samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShorterSound {
    /// Silence follows it.
    #[default]
    Pad,
    /// The request fails.
    Reject,
}

/// What happens to a sound with too many samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LongerSound {
    /// The request fails.
    #[default]
    Reject,
    /// Its end is cut off.
    Truncate,
}

/// What is done to the samples of a sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SoundNormalization {
    /// Nothing.
    #[default]
    None,
    /// They are divided by the largest absolute one.
    Peak,
    /// Their mean becomes 0 and their variance 1, as the feature extractor of Wav2Vec 2 does it.
    Standard,
}

/// The weights of the samples of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are those of SciPy")]
pub enum FrameWindow {
    #[default]
    Hann,
    Hamming,
}

/// What stands around a sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SoundPadding {
    /// Silence: librosa since 0.10.
    #[default]
    Constant,
    /// Its samples in the opposite direction: torchaudio and `whisper`.
    Reflect,
}

/// Which frequency has which mel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MelScaleName {
    /// The default of librosa.
    #[default]
    Slaney,
    /// The default of torchaudio.
    Htk,
}

/// How high the filters of the bands are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MelNormName {
    /// All have one area: the default of librosa.
    #[default]
    Slaney,
    /// All have the height 1: the default of torchaudio.
    None,
}

/// What becomes of the numbers of the bands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MelLog {
    /// They stay as they are.
    #[default]
    None,
    /// Decibels: `librosa.power_to_db` with `ref = 1`.
    Db,
    /// `log(max(x, amin))`.
    Natural,
    /// As the package `whisper` does it.
    Whisper,
}

/// The order of the axes of a spectrogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SpectrogramLayout {
    /// Bands, then frames.
    #[default]
    BandsFrames,
    /// Frames, then bands.
    FramesBands,
}

fn max_seconds() -> f64 {
    60.0
}

fn n_fft() -> usize {
    2048
}

fn n_mels() -> usize {
    128
}

fn power() -> f64 {
    2.0
}

fn amin() -> f64 {
    1e-10
}

fn top_db() -> f64 {
    80.0
}

fn yes() -> bool {
    true
}
