//! Images as tensors.

use bytes::Bytes;
use tidegate_core::{DataType, Shape, Tensor};
use tidegate_image::{Header, ImageError, Layout, Numbers, Recipe, Size};

use super::files::{bytes_at_once, each_row};
use crate::program::{Inputs, Op};
use crate::{Column, Reason, RowError};

/// Makes a tensor of the images of a column.
#[derive(Debug)]
pub(crate) struct PrepareImages {
    pub(crate) recipe: Recipe,
    pub(crate) datatype: DataType,
}

impl Op for PrepareImages {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let size = self.size(inputs)?;
        let shape = Shape::new(&self.extents(inputs.rows(), size));
        let shape = shape
            .map_err(|error| inputs.error(0, 0, Reason::Range, format!("is too large: {error}")))?;
        let tensor = if self.datatype == DataType::Uint8 {
            let bytes = self.numbers(inputs, size, |bytes| Numbers::Bytes(bytes))?;
            Tensor::from_vec::<u8>(shape, bytes)
        } else {
            let floats = self.numbers(inputs, size, |floats| Numbers::Floats(floats))?;
            Tensor::from_vec::<f32>(shape, floats)
        };
        Ok(Column::Tensor(
            tensor.expect("there is a number for each element"),
        ))
    }

    fn bytes(&self, inputs: &Inputs<'_>) -> usize {
        let images = inputs.bytes(0).iter().flatten();
        let mut made: usize = 0;
        let scratch = images.filter_map(|image| {
            // What cannot be read is refused before it takes anything.
            let header = Header::read(image).ok()?;
            let size = self.recipe.size(&header).ok()?;
            if self.recipe.fixed_size().is_none() {
                made = made.saturating_add(self.row_bytes(size));
            }
            Some(self.recipe.scratch_bytes(&header, size))
        });
        let scratch = bytes_at_once(scratch.collect());
        made.saturating_add(scratch)
    }
}

impl PrepareImages {
    /// What an image of this size becomes, in bytes.
    pub(crate) fn row_bytes(&self, size: Size) -> usize {
        let elements = size.pixels().saturating_mul(self.recipe.color.channels());
        elements.saturating_mul(self.datatype.element_bytes().unwrap_or(1))
    }

    /// The sides that all images get: those of the first one, if the step fixes none.
    fn size(&self, inputs: &Inputs<'_>) -> Result<Size, RowError> {
        if let Some(size) = self.recipe.fixed_size() {
            return Ok(size);
        }
        let header = Header::read(image(inputs, 0)?);
        header
            .and_then(|header| self.recipe.size(&header))
            .map_err(|error| refuse(inputs, 0, &error))
    }

    fn extents(&self, rows: usize, size: Size) -> Vec<usize> {
        let channels = self.recipe.color.channels();
        match self.recipe.layout {
            Layout::Nchw => vec![rows, channels, size.height, size.width],
            Layout::Nhwc => vec![rows, size.height, size.width, channels],
            Layout::Flat => vec![rows, size.pixels() * channels],
        }
    }

    /// The numbers of all images, one after the other.
    fn numbers<T: Clone + Default + Send>(
        &self,
        inputs: &Inputs<'_>,
        size: Size,
        wrap: impl Fn(&mut [T]) -> Numbers<'_> + Sync + Send,
    ) -> Result<Vec<T>, RowError> {
        let elements = size.pixels() * self.recipe.color.channels();
        let mut numbers = vec![T::default(); inputs.rows() * elements];
        let places = numbers.chunks_exact_mut(elements).collect();
        each_row(places, |row, place| {
            self.place(inputs, row, size, wrap(place))
        })?;
        Ok(numbers)
    }

    /// Puts the numbers of an image in their place.
    fn place(
        &self,
        inputs: &Inputs<'_>,
        row: usize,
        size: Size,
        place: Numbers<'_>,
    ) -> Result<(), RowError> {
        let made = self.recipe.run(image(inputs, row)?, place);
        let made = made.map_err(|error| refuse(inputs, row, &error))?;
        if made == size {
            return Ok(());
        }
        let (width, height) = (made.width, made.height);
        let problem = format!("becomes {width} x {height} pixels, row 0 has other sides");
        Err(inputs.error(0, row, Reason::Range, problem))
    }
}

fn image<'a>(inputs: &Inputs<'a>, row: usize) -> Result<&'a Bytes, RowError> {
    let image = inputs.bytes(0)[row].as_ref();
    image.ok_or_else(|| inputs.error(0, row, Reason::Required, "is missing"))
}

fn refuse(inputs: &Inputs<'_>, row: usize, error: &ImageError) -> RowError {
    let reason = match error {
        ImageError::Format | ImageError::Broken(..) => Reason::Type,
        ImageError::Pixels { .. } | ImageError::Size(_) => Reason::Range,
    };
    inputs.error(0, row, reason, error.to_string())
}
