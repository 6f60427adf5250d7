//! The steps that make numbers of sounds.

use tidegate_audio::{
    Fixed, Logarithm, Mel, MelNorm, MelOptions, MelScale, Normalization, PadMode, Recipe, Window,
};
use tidegate_core::{
    AudioStep, DataType, Dim, FrameWindow, LongerSound, MelLog, MelNormName, MelScaleName,
    MelSpectrogramStep, ShorterSound, SoundNormalization, SoundPadding, SpectrogramLayout,
};

use super::Compiler;
use crate::error::CompileError;
use crate::ops::{MelSpectrogram, PrepareAudio};
use crate::program::{Element, Kind, Memory, Sound};

/// The sample rates that a model can have, in Hz.
const RATES: std::ops::RangeInclusive<u32> = 1000..=192_000;
/// The longest sound that a manifest can allow: one hour.
const MAX_SECONDS: f64 = 3600.0;
/// What a step is said to take at least: decoding even a short sound is nothing for the threads that
/// serve connections.
const MIN_SCRATCH_BYTES: usize = 1 << 20;

impl Compiler<'_> {
    pub(super) fn audio(&mut self, step: &AudioStep) -> Result<(), CompileError> {
        let source = self.names.find_kind(&step.input, Kind::Bytes)?;
        self.builder.size_by_content();
        let recipe = recipe(step)?;
        let element = Element {
            datatype: DataType::Fp32,
            dims: Some(vec![step.length.map_or(Dim::Any, Dim::Fixed)]),
            sound: Some(Sound {
                sample_rate: recipe.sample_rate,
                max_samples: recipe.max_samples(),
            }),
        };
        let memory = Memory {
            scratch: MIN_SCRATCH_BYTES,
            ..Memory::default()
        };
        let name = source.name.clone();
        let op = PrepareAudio { recipe };
        let made = self
            .builder
            .push_tensor(op, vec![source], element, name, memory);
        self.define(step.output.as_deref(), &step.input, vec![made])
    }

    pub(super) fn mel_spectrogram(
        &mut self,
        step: &MelSpectrogramStep,
    ) -> Result<(), CompileError> {
        let source = self.names.find_kind(&step.input, Kind::Tensor)?;
        let element = source.element.as_deref();
        let Some(sound) = element.and_then(|element| element.sound) else {
            let problem = format!("\"{}\" is no sound that `audio` makes", step.input);
            return Err(CompileError::new(problem));
        };
        let samples = element.and_then(|element| element.dims.as_deref());
        let samples = match samples {
            Some([Dim::Fixed(samples)]) => Some(*samples),
            _ => None,
        };
        let mel = Mel::new(options(step, sound.sample_rate)).map_err(CompileError::new)?;
        if let Some(samples) = samples.filter(|samples| mel.frames(*samples) == 0) {
            let problem = format!("sounds of {samples} samples have no frame");
            return Err(CompileError::new(problem));
        }
        let bands = Dim::Fixed(mel.bands());
        let frames = samples.map_or(Dim::Any, |samples| Dim::Fixed(mel.frames(samples)));
        let dims = match step.layout {
            SpectrogramLayout::BandsFrames => vec![bands, frames],
            SpectrogramLayout::FramesBands => vec![frames, bands],
        };
        let most = sound.max_samples;
        let memory = Memory {
            row: mel.frames(most) * mel.bands() * size_of::<f32>(),
            scratch: mel.scratch_bytes(most).max(MIN_SCRATCH_BYTES),
            ..Memory::default()
        };
        let element = Element {
            datatype: DataType::Fp32,
            dims: Some(dims),
            sound: None,
        };
        let name = source.name.clone();
        let op = MelSpectrogram { mel };
        let made = self
            .builder
            .push_tensor(op, vec![source], element, name, memory);
        self.define(step.output.as_deref(), &step.input, vec![made])
    }
}

fn recipe(step: &AudioStep) -> Result<Recipe, CompileError> {
    let (rate, seconds) = (step.sample_rate, step.max_seconds);
    if !RATES.contains(&rate) {
        let (least, most) = RATES.into_inner();
        let problem = format!("sample_rate is {rate}, it must be {least} to {most}");
        return Err(CompileError::new(problem));
    }
    if !(seconds > 0.0 && seconds <= MAX_SECONDS) {
        let problem = format!("max_seconds is {seconds}, it must be above 0, and at most 3600");
        return Err(CompileError::new(problem));
    }
    let longest = (MAX_SECONDS * f64::from(rate)) as usize;
    if let Some(length) = step
        .length
        .filter(|length| *length == 0 || *length > longest)
    {
        let problem = format!("length is {length}, it must be 1 to {longest}");
        return Err(CompileError::new(problem));
    }
    Ok(Recipe {
        sample_rate: rate,
        max_seconds: seconds,
        fixed: step.length.map(|samples| Fixed {
            samples,
            pads: step.shorter == ShorterSound::Pad,
            truncates: step.longer == LongerSound::Truncate,
        }),
        normalization: match step.normalize {
            SoundNormalization::None => Normalization::None,
            SoundNormalization::Peak => Normalization::Peak,
            SoundNormalization::Standard => Normalization::Standard,
        },
    })
}

fn options(step: &MelSpectrogramStep, sample_rate: u32) -> MelOptions {
    let defaults = MelOptions::new(sample_rate);
    let win_length = step.win_length.unwrap_or(step.n_fft);
    MelOptions {
        n_fft: step.n_fft,
        hop_length: step.hop_length.unwrap_or(win_length / 4),
        win_length,
        window: match step.window {
            FrameWindow::Hann => Window::Hann,
            FrameWindow::Hamming => Window::Hamming,
        },
        center: step.center,
        pad_mode: match step.pad_mode {
            SoundPadding::Constant => PadMode::Constant,
            SoundPadding::Reflect => PadMode::Reflect,
        },
        drop_last_frame: step.drop_last_frame,
        power: step.power,
        n_mels: step.n_mels,
        fmin: step.fmin,
        fmax: step.fmax.unwrap_or(defaults.fmax),
        scale: match step.scale {
            MelScaleName::Slaney => MelScale::Slaney,
            MelScaleName::Htk => MelScale::Htk,
        },
        norm: match step.norm {
            MelNormName::Slaney => MelNorm::Slaney,
            MelNormName::None => MelNorm::None,
        },
        logarithm: logarithm(step),
        n_mfcc: step.n_mfcc,
        frames_first: step.layout == SpectrogramLayout::FramesBands,
        ..defaults
    }
}

fn logarithm(step: &MelSpectrogramStep) -> Logarithm {
    match step.log {
        MelLog::None => Logarithm::None,
        MelLog::Db => Logarithm::Decibels {
            amin: step.amin,
            top_db: (step.top_db != 0.0).then_some(step.top_db),
        },
        MelLog::Natural => Logarithm::Natural { amin: step.amin },
        MelLog::Whisper => Logarithm::Whisper,
    }
}
