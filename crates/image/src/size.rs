//! Sizes as torchvision computes them.

use crate::ImageError;
use crate::resize::Filter;

/// The sides of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Size {
    /// The number of pixels.
    pub fn pixels(self) -> usize {
        self.width.saturating_mul(self.height)
    }
}

/// Another size for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// The shorter side gets this length, the other one follows: torchvision's `Resize(size)`.
    Shortest {
        /// Pixels.
        size: usize,
        /// How pixels are weighted.
        filter: Filter,
    },
    /// Both sides: torchvision's `Resize((height, width))`, and Pillow's `resize`.
    Exact {
        /// The sides.
        size: Size,
        /// How pixels are weighted.
        filter: Filter,
    },
}

impl Resize {
    /// How pixels are weighted.
    pub fn filter(self) -> Filter {
        match self {
            Self::Shortest { filter, .. } | Self::Exact { filter, .. } => filter,
        }
    }

    /// The sides that an image gets.
    pub fn size(self, from: Size) -> Size {
        match self {
            Self::Exact { size, .. } => size,
            Self::Shortest { size, .. } => {
                let is_tall = from.width <= from.height;
                let (short, long) = if is_tall {
                    (from.width, from.height)
                } else {
                    (from.height, from.width)
                };
                // int(size * long / short) of Python, whose division is that of doubles.
                let long = (size.saturating_mul(long) as f64 / short as f64) as usize;
                if is_tall {
                    Size {
                        width: size,
                        height: long,
                    }
                } else {
                    Size {
                        width: long,
                        height: size,
                    }
                }
            }
        }
    }
}

/// The middle of an image: torchvision's `CenterCrop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Crop {
    /// The first column and the first row of the middle.
    ///
    /// # Errors
    /// If the image is smaller.
    pub fn corner(self, from: Size) -> Result<(usize, usize), ImageError> {
        if from.width < self.width || from.height < self.height {
            return Err(ImageError::Size(format!(
                "has {} x {} pixels, and {} x {} are cut out of it",
                from.width, from.height, self.width, self.height
            )));
        }
        Ok((
            half(from.width - self.width),
            half(from.height - self.height),
        ))
    }
}

/// `int(round(length / 2.0))` of Python, which rounds halves to the even neighbour.
fn half(length: usize) -> usize {
    length / 2 + usize::from(length % 4 == 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_side_is_cut_off_and_not_rounded() {
        let size = |width, height| {
            let filter = Filter::Bilinear;
            Resize::Shortest { size: 256, filter }.size(Size { width, height })
        };
        assert_eq!(
            size(500, 375),
            Size {
                width: 341,
                height: 256
            }
        );
        assert_eq!(
            size(375, 500),
            Size {
                width: 256,
                height: 341
            }
        );
        assert_eq!(
            size(100, 100),
            Size {
                width: 256,
                height: 256
            }
        );
    }

    #[test]
    fn the_middle_is_rounded_to_the_even_neighbour() {
        let halves: Vec<usize> = (0..9).map(half).collect();
        assert_eq!(halves, [0, 0, 1, 2, 2, 2, 3, 4, 4]);
    }
}
