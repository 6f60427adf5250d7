//! Sounds as tensors.

use bytes::Bytes;
use tidegate_audio::{AudioError, Header, Mel, Recipe};
use tidegate_core::{Shape, Tensor};

use super::files::{bytes_at_once, each_row};
use crate::program::{Inputs, Op};
use crate::{Column, Reason, RowError};

/// Makes a tensor of samples of the sounds of a column.
#[derive(Debug)]
pub(crate) struct PrepareAudio {
    pub(crate) recipe: Recipe,
}

impl Op for PrepareAudio {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let rows = each_row(vec![(); inputs.rows()], |row, ()| {
            let samples = self.recipe.run(sound(inputs, row)?);
            samples.map_err(|error| refuse(inputs, row, &error))
        })?;
        let length = rows.first().map_or(0, Vec::len);
        if let Some(row) = rows.iter().position(|samples| samples.len() != length) {
            let found = rows[row].len();
            let problem = format!(
                "becomes {found} samples, row 0 has {length}: send sounds of one length together, \
                 or set \"length\" in the step"
            );
            return Err(inputs.error(0, row, Reason::Length, problem));
        }
        Ok(tensor(&[inputs.rows(), length], rows.concat()))
    }

    fn bytes(&self, inputs: &Inputs<'_>) -> usize {
        let mut decoded = Vec::new();
        let mut made: usize = 0;
        for sound in inputs.bytes(0).iter().flatten() {
            // What cannot be read is refused before it takes anything.
            let Ok(header) = Header::read(sound) else {
                continue;
            };
            let Ok(bytes) = self.recipe.bytes(&header) else {
                continue;
            };
            decoded.push(bytes.scratch);
            // Samples of each row by itself, and then in one tensor.
            made = made.saturating_add(bytes.made.saturating_mul(2));
        }
        made.saturating_add(bytes_at_once(decoded))
    }
}

/// Makes a mel spectrogram of each row of samples.
#[derive(Debug)]
pub(crate) struct MelSpectrogram {
    pub(crate) mel: Mel,
}

impl Op for MelSpectrogram {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let samples = inputs.tensor(0).as_slice::<f32>();
        let samples = samples.expect("`audio` makes single precision");
        let rows = inputs.rows();
        let length = samples.len() / rows.max(1);
        let (frames, bands) = (self.mel.frames(length), self.mel.bands());
        let mut made = Vec::with_capacity(rows * frames * bands);
        for (row, sound) in samples.chunks_exact(length.max(1)).enumerate() {
            let numbers = self.mel.run(sound);
            made.extend_from_slice(
                &numbers.map_err(|problem| inputs.error(0, row, Reason::Length, problem))?,
            );
        }
        let extents = if self.mel.is_frames_first() {
            [rows, frames, bands]
        } else {
            [rows, bands, frames]
        };
        Ok(tensor(&extents, made))
    }
}

fn tensor(extents: &[usize], numbers: Vec<f32>) -> Column {
    let shape = Shape::new(extents).expect("numbers of this count fit in memory");
    let tensor = Tensor::from_vec(shape, numbers);
    Column::Tensor(tensor.expect("there is a number for each element"))
}

fn sound<'a>(inputs: &Inputs<'a>, row: usize) -> Result<&'a Bytes, RowError> {
    let sound = inputs.bytes(0)[row].as_ref();
    sound.ok_or_else(|| inputs.error(0, row, Reason::Required, "is missing"))
}

fn refuse(inputs: &Inputs<'_>, row: usize, error: &AudioError) -> RowError {
    let reason = match error {
        AudioError::Format | AudioError::Broken(..) => Reason::Type,
        AudioError::Range(_) => Reason::Range,
    };
    inputs.error(0, row, reason, error.to_string())
}
