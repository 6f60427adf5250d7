//! From the bytes of an image to the numbers of a model.

use crate::ImageError;
use crate::color::Color;
use crate::decode::{Image, decode};
use crate::header::Header;
use crate::resize::{Window, resize_window};
use crate::size::{Crop, Resize, Size};

/// The order of the axes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Channels, rows, columns.
    #[default]
    Nchw,
    /// Rows, columns, channels.
    Nhwc,
    /// As [`Layout::Nhwc`], in one axis.
    Flat,
}

/// The order of the channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red: that of OpenCV and Caffe.
    Bgr,
}

/// Where the numbers of an image go: as many as [`Recipe::size`] has pixels, times channels.
#[derive(Debug)]
pub enum Numbers<'a> {
    /// `(pixel * scale - mean) / std`.
    Floats(&'a mut [f32]),
    /// The pixels as they are.
    Bytes(&'a mut [u8]),
}

/// How an image becomes numbers.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// What is made of its colors.
    pub color: Color,
    /// The most pixels that it may have, and that it may become.
    pub max_pixels: usize,
    /// Its new size.
    pub resize: Option<Resize>,
    /// The middle that is left of it.
    pub crop: Option<Crop>,
    /// What pixels from 0 to 255 are multiplied with.
    pub scale: f64,
    /// What is subtracted, for each channel in the order of the result.
    pub mean: Vec<f64>,
    /// What that is divided by.
    pub std: Vec<f64>,
    /// The order of the axes.
    pub layout: Layout,
    /// The order of the channels.
    pub order: Order,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            color: Color::default(),
            max_pixels: 50_000_000,
            resize: None,
            crop: None,
            scale: 1.0,
            mean: Vec::new(),
            std: Vec::new(),
            layout: Layout::default(),
            order: Order::default(),
        }
    }
}

impl Recipe {
    /// The sides of the result, if all images get the same ones.
    pub fn fixed_size(&self) -> Option<Size> {
        match (self.crop, self.resize) {
            (Some(Crop { width, height }), _) => Some(Size { width, height }),
            (None, Some(Resize::Exact { size, .. })) => Some(size),
            _ => None,
        }
    }

    /// The sides of what becomes of an image.
    ///
    /// # Errors
    /// If it has too many pixels, or is smaller than what is cut out of it.
    pub fn size(&self, header: &Header) -> Result<Size, ImageError> {
        let most = self.max_pixels;
        let Size { width, height } = header.stored;
        if header.stored.pixels() > most {
            return Err(ImageError::Pixels {
                width,
                height,
                most,
            });
        }
        let upright = header.upright();
        let resized = self.resize.map_or(upright, |resize| resize.size(upright));
        if let Some(crop) = self.crop {
            crop.corner(resized)?;
            return Ok(Size {
                width: crop.width,
                height: crop.height,
            });
        }
        if resized.pixels() > most {
            let (width, height) = (resized.width, resized.height);
            let problem = format!("becomes {width} x {height} pixels, there may be {most} in all");
            return Err(ImageError::Size(problem));
        }
        Ok(resized)
    }

    /// What [`Recipe::run`] takes at most besides its result, in bytes.
    pub fn scratch_bytes(&self, header: &Header, size: Size) -> usize {
        let channels = self.color.channels();
        // Rows that are resized along themselves, weights, and the result as bytes.
        let between = size.width.saturating_mul(header.upright().height);
        let result = size.pixels();
        let weights = (header.stored.width + header.stored.height).saturating_mul(32);
        (between.saturating_add(result))
            .saturating_mul(channels)
            .saturating_add(weights)
            .saturating_add(header.decode_bytes())
    }

    /// Makes the numbers of an image; gives their sides.
    ///
    /// # Errors
    /// If the image cannot be read, is too large or too small, or becomes another number of pixels
    /// than there is room for.
    pub fn run(&self, bytes: &[u8], numbers: Numbers<'_>) -> Result<Size, ImageError> {
        let header = Header::read(bytes)?;
        let size = self.size(&header)?;
        let room = match &numbers {
            Numbers::Floats(numbers) => numbers.len(),
            Numbers::Bytes(numbers) => numbers.len(),
        };
        if room != size.pixels() * self.color.channels() {
            let Size { width, height } = size;
            let problem = format!("becomes {width} x {height} pixels, the one before it others");
            return Err(ImageError::Size(problem));
        }
        let image = decode(bytes, &header, self.color)?;
        let image = self.fitted(image)?;
        match numbers {
            Numbers::Bytes(numbers) => self.place(&image, numbers, |_, value| value),
            Numbers::Floats(numbers) => {
                let tables = self.tables();
                let number = |channel: usize, value: u8| tables[channel][usize::from(value)];
                self.place(&image, numbers, number);
            }
        }
        Ok(size)
    }

    /// The image, resized and cut.
    fn fitted(&self, image: Image) -> Result<Image, ImageError> {
        let filter = self.resize.map(Resize::filter).unwrap_or_default();
        let size = self
            .resize
            .map_or(image.size, |resize| resize.size(image.size));
        let window = match self.crop {
            None => Window::whole(size),
            Some(crop) => {
                let (column, row) = crop.corner(size)?;
                Window {
                    columns: column..column + crop.width,
                    rows: row..row + crop.height,
                }
            }
        };
        if window.size() == image.size && size == image.size {
            return Ok(image);
        }
        Ok(resize_window(&image, size, filter, &window))
    }

    /// The number of each value, for each channel of the result: computed as doubles, and rounded
    /// once.
    fn tables(&self) -> Vec<[f32; 256]> {
        let channels = 0..self.color.channels();
        let table = |channel: usize| {
            let mean = self.mean.get(channel).copied().unwrap_or(0.0);
            let std = self.std.get(channel).copied().unwrap_or(1.0);
            std::array::from_fn(|value| ((value as f64 * self.scale - mean) / std) as f32)
        };
        channels.map(table).collect()
    }

    /// Puts pixels in the order of the result.
    fn place<T: Copy>(&self, image: &Image, numbers: &mut [T], number: impl Fn(usize, u8) -> T) {
        let channels = image.color.channels();
        let is_turned = self.order == Order::Bgr && channels == 3;
        let pixels = image.pixels.chunks_exact(channels);
        match self.layout {
            Layout::Nhwc | Layout::Flat => {
                for (numbers, pixel) in numbers.chunks_exact_mut(channels).zip(pixels) {
                    for (channel, place) in numbers.iter_mut().enumerate() {
                        let from = if is_turned { 2 - channel } else { channel };
                        *place = number(channel, pixel[from]);
                    }
                }
            }
            Layout::Nchw => {
                let planes = numbers.chunks_exact_mut(image.size.pixels());
                for (channel, plane) in planes.enumerate() {
                    let from = if is_turned { 2 - channel } else { channel };
                    for (place, pixel) in plane.iter_mut().zip(pixels.clone()) {
                        *place = number(channel, pixel[from]);
                    }
                }
            }
        }
    }
}
