//! Resizing as Pillow 13 does it, bit for bit: weights of 22 fractional bits, one pass along the rows
//! and one along the columns, each rounded to bytes. (Pillow, `src/libImaging/Resample.c` and
//! `Geometry.c`.)

mod pass;
mod weights;

use std::ops::Range;

use self::weights::Weights;
use crate::color::Color;
use crate::decode::Image;
use crate::size::Size;

/// How pixels are weighted. All but `Nearest` take in every pixel when an image gets smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// The nearest pixel.
    Nearest,
    /// All pixels alike.
    Box,
    /// A triangle.
    #[default]
    Bilinear,
    /// A cubic with a = -0.5.
    Bicubic,
    /// A sinc of three lobes.
    Lanczos,
}

/// A part of an image.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub(crate) columns: Range<usize>,
    pub(crate) rows: Range<usize>,
}

impl Window {
    pub(crate) fn whole(size: Size) -> Self {
        Self {
            columns: 0..size.width,
            rows: 0..size.height,
        }
    }

    pub(crate) fn size(&self) -> Size {
        Size {
            width: self.columns.len(),
            height: self.rows.len(),
        }
    }
}

/// The image in another size.
pub fn resize(image: &Image, size: Size, filter: Filter) -> Image {
    resize_window(image, size, filter, &Window::whole(size))
}

/// A part of the image in another size. Only that part is computed.
pub(crate) fn resize_window(image: &Image, size: Size, filter: Filter, window: &Window) -> Image {
    let pixels = match image.color {
        Color::Rgb => resized::<3>(image, size, filter, window),
        Color::Gray => resized::<1>(image, size, filter, window),
    };
    Image {
        size: window.size(),
        color: image.color,
        pixels,
    }
}

fn resized<const C: usize>(image: &Image, size: Size, filter: Filter, window: &Window) -> Vec<u8> {
    if filter == Filter::Nearest || image.size == size {
        return nearest::<C>(image, size, window);
    }
    let columns = Weights::new(image.size.height, size.height, filter, window.rows.clone());
    let rows = Weights::new(image.size.width, size.width, filter, window.columns.clone());
    let Size { width, height } = image.size;
    if is_columns_first(image.size, size) {
        let between = pass::along_columns(&image.pixels, width * C, 0, &columns);
        return pass::along_rows::<C>(&between, width, 0..window.rows.len(), &rows);
    }
    // A side that stays is not resized.
    let taken = if height == size.height {
        window.rows.clone()
    } else {
        columns.taken()
    };
    let between = if width == size.width {
        let part = Window {
            columns: window.columns.clone(),
            rows: taken.clone(),
        };
        cut::<C>(&image.pixels, width, &part)
    } else {
        pass::along_rows::<C>(&image.pixels, width, taken.clone(), &rows)
    };
    if height == size.height {
        return between;
    }
    pass::along_columns(&between, window.columns.len() * C, taken.start, &columns)
}

/// Whether Pillow resizes the columns first: where that leaves out much more than the rows would. The
/// order shows in the last bit of some values. (Found by comparing with it, and held by a test.)
fn is_columns_first(from: Size, to: Size) -> bool {
    let fewer_rows = from.height.saturating_sub(to.height);
    let is_resized = from.width != to.width && fewer_rows > 0;
    is_resized && fewer_rows as i64 > 2 * (from.width as i64 - to.width as i64)
}

/// A part of an image, as it is.
fn cut<const C: usize>(pixels: &[u8], width: usize, window: &Window) -> Vec<u8> {
    let mut part = Vec::with_capacity(window.size().pixels() * C);
    for row in window.rows.clone() {
        let begin = row * width;
        let columns = (begin + window.columns.start) * C..(begin + window.columns.end) * C;
        part.extend_from_slice(&pixels[columns]);
    }
    part
}

fn nearest<const C: usize>(image: &Image, size: Size, window: &Window) -> Vec<u8> {
    let columns = nearest_places(image.size.width, size.width);
    let rows = nearest_places(image.size.height, size.height);
    let mut pixels = Vec::with_capacity(window.size().pixels() * C);
    for row in &rows[window.rows.clone()] {
        for column in &columns[window.columns.clone()] {
            let at = (row * image.size.width + column) * C;
            pixels.extend_from_slice(&image.pixels[at..at + C]);
        }
    }
    pixels
}

/// Adds up the steps, as Pillow does: multiplying gives another place now and then.
fn nearest_places(from: usize, to: usize) -> Vec<usize> {
    let step = from as f64 / to as f64;
    let mut at = step * 0.5;
    let mut places = Vec::with_capacity(to);
    for _ in 0..to {
        places.push((at as usize).min(from - 1));
        at += step;
    }
    places
}
