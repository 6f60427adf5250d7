//! The step that makes numbers of images.

use tidegate_core::{
    ChannelOrder, DataType, Dim, ImageColor, ImageFilter, ImageLayout, ImageResize, ImageStep,
};
use tidegate_image::{Color, Crop, Filter, Layout, Order, Recipe, Resize, Size};

use super::Compiler;
use crate::error::CompileError;
use crate::ops::PrepareImages;
use crate::program::{Element, Kind, Memory};

/// The longest side that an image may get.
const MAX_SIDE: usize = 1 << 16;
/// The most pixels that a manifest can allow: the decoder takes sixteen bytes for each.
const MAX_PIXELS: usize = 1_000_000_000;
/// What a step is said to take at least: decoding even a small image is nothing for the threads that
/// serve connections.
const MIN_SCRATCH_BYTES: usize = 1 << 20;

impl Compiler<'_> {
    pub(super) fn image(&mut self, step: &ImageStep) -> Result<(), CompileError> {
        let source = self.names.find_kind(&step.input, Kind::Bytes)?;
        self.builder.size_by_content();
        if !matches!(step.datatype, DataType::Fp32 | DataType::Uint8) {
            let problem = format!("it makes FP32 or UINT8, not {}", step.datatype);
            return Err(CompileError::new(problem));
        }
        let op = PrepareImages {
            recipe: recipe(step)?,
            datatype: step.datatype,
        };
        let fixed = op.recipe.fixed_size();
        let element = Element {
            datatype: step.datatype,
            dims: Some(dims(&op.recipe, fixed)),
            sound: None,
        };
        let memory = Memory {
            row: fixed.map_or(0, |size| op.row_bytes(size)),
            scratch: MIN_SCRATCH_BYTES,
            ..Memory::default()
        };
        let name = source.name.clone();
        let made = self
            .builder
            .push_tensor(op, vec![source], element, name, memory);
        let output = step.output.as_deref().unwrap_or(&step.input);
        self.names
            .define_result(output, &[step.input.as_str()], vec![made])
    }
}

/// The extents of a row.
fn dims(recipe: &Recipe, size: Option<Size>) -> Vec<Dim> {
    let channels = Dim::Fixed(recipe.color.channels());
    let side = |side: fn(Size) -> usize| size.map_or(Dim::Any, |size| Dim::Fixed(side(size)));
    let (height, width) = (side(|size| size.height), side(|size| size.width));
    match recipe.layout {
        Layout::Flat => {
            let elements = size.map(|size| size.pixels() * recipe.color.channels());
            vec![elements.map_or(Dim::Any, Dim::Fixed)]
        }
        Layout::Nchw => vec![channels, height, width],
        Layout::Nhwc => vec![height, width, channels],
    }
}

fn recipe(step: &ImageStep) -> Result<Recipe, CompileError> {
    let color = match step.color {
        ImageColor::Rgb => Color::Rgb,
        ImageColor::Gray => Color::Gray,
    };
    check_numbers(step, color.channels())?;
    let crop = step.crop.as_ref().map(|crop| Crop {
        width: crop.width,
        height: crop.height,
    });
    let resize = step.resize.as_ref().map(resize).transpose()?;
    check_crop(crop, resize)?;
    if step.max_pixels == 0 || step.max_pixels > MAX_PIXELS {
        let problem = format!("max_pixels must be 1 to {MAX_PIXELS}");
        return Err(CompileError::new(problem));
    }
    Ok(Recipe {
        color,
        max_pixels: step.max_pixels,
        resize,
        crop,
        scale: step.scale.unwrap_or(1.0),
        mean: step.mean.clone(),
        std: step.std.clone(),
        layout: match step.layout {
            ImageLayout::Nchw => Layout::Nchw,
            ImageLayout::Nhwc => Layout::Nhwc,
            ImageLayout::Flat => Layout::Flat,
        },
        order: match step.channels {
            ChannelOrder::Rgb => Order::Rgb,
            ChannelOrder::Bgr => Order::Bgr,
        },
    })
}

fn resize(spec: &ImageResize) -> Result<Resize, CompileError> {
    let filter = match spec.filter {
        ImageFilter::Nearest => Filter::Nearest,
        ImageFilter::Box => Filter::Box,
        ImageFilter::Bilinear => Filter::Bilinear,
        ImageFilter::Bicubic => Filter::Bicubic,
        ImageFilter::Lanczos => Filter::Lanczos,
    };
    match (spec.shortest, spec.width, spec.height) {
        (Some(size), None, None) => {
            check_side(size)?;
            Ok(Resize::Shortest { size, filter })
        }
        (None, Some(width), Some(height)) => {
            check_side(width)?;
            check_side(height)?;
            let size = Size { width, height };
            Ok(Resize::Exact { size, filter })
        }
        _ => {
            let problem = "resize takes either \"shortest\", or \"width\" and \"height\"";
            Err(CompileError::new(problem))
        }
    }
}

fn check_side(side: usize) -> Result<(), CompileError> {
    if (1..=MAX_SIDE).contains(&side) {
        return Ok(());
    }
    let problem = format!("a side of {side} pixels: there must be 1 to {MAX_SIDE}");
    Err(CompileError::new(problem))
}

/// Refuses a middle that no resized image can have.
fn check_crop(crop: Option<Crop>, resize: Option<Resize>) -> Result<(), CompileError> {
    let Some(Crop { width, height }) = crop else {
        return Ok(());
    };
    check_side(width)?;
    check_side(height)?;
    let (from_width, from_height) = match resize {
        Some(Resize::Exact { size, .. }) => (size.width, size.height),
        // Neither side gets shorter than this, and one of them gets as short.
        Some(Resize::Shortest { size, .. }) if width.min(height) > size => (size, size),
        _ => return Ok(()),
    };
    if width <= from_width && height <= from_height {
        return Ok(());
    }
    let problem = format!(
        "the crop of {width} x {height} is larger than {from_width} x {from_height}, to which \
         images are resized"
    );
    Err(CompileError::new(problem))
}

fn check_numbers(step: &ImageStep, channels: usize) -> Result<(), CompileError> {
    if step.datatype == DataType::Uint8 {
        if step.scale.is_some() || !step.mean.is_empty() || !step.std.is_empty() {
            let problem = "UINT8 has the pixels as they are: scale, mean and std need FP32";
            return Err(CompileError::new(problem));
        }
        return Ok(());
    }
    for (name, numbers) in [("mean", &step.mean), ("std", &step.std)] {
        if !numbers.is_empty() && numbers.len() != channels {
            let count = numbers.len();
            let problem = format!("{name} has {count} numbers for {channels} channels");
            return Err(CompileError::new(problem));
        }
    }
    if step.std.contains(&0.0) {
        return Err(CompileError::new("std has a 0, and is divided by"));
    }
    Ok(())
}
