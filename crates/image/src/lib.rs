//! Images of requests as the numbers that models take: decoded, turned upright, resized, cropped and
//! normalized.
//!
//! In: the bytes of a JPEG, PNG or WebP file, which a client sent and which may be anything. Its
//! [`Header`] is read first, without decoding: how large the image is, and what decoding it takes.
//! [`Recipe::run`] then makes the numbers. Resizing gives bit for bit what Pillow gives, and sizes are
//! those of torchvision's `Resize` and `CenterCrop`. This crate does no I/O.
//!
//! ```
//! use tidegate_image::{Crop, Filter, Header, Numbers, Recipe, Resize};
//!
//! let recipe = Recipe {
//!     resize: Some(Resize::Shortest { size: 256, filter: Filter::Bilinear }),
//!     crop: Some(Crop { width: 224, height: 224 }),
//!     ..Recipe::default()
//! };
//! let refused = recipe.run(b"no image", Numbers::Bytes(&mut [])).unwrap_err();
//! assert_eq!(refused.to_string(), "is no JPEG, PNG or WebP file");
//! assert!(Header::read(b"GIF89a").is_err());
//! ```

mod color;
mod decode;
mod exif;
mod header;
mod recipe;
mod resize;
mod size;

pub use color::Color;
pub use decode::{Image, decode};
pub use header::{Format, Header};
pub use recipe::{Layout, Numbers, Order, Recipe};
pub use resize::{Filter, resize};
pub use size::{Crop, Resize, Size};

/// Why an image cannot be used. It reads on from the name of a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// It is none of the formats.
    #[error("is no JPEG, PNG or WebP file")]
    Format,
    /// It begins as one, and cannot be read on.
    #[error("is a {0} file that cannot be read: {1}")]
    Broken(Format, String),
    /// It has more pixels than it may.
    #[error("has {width} x {height} pixels, there may be {most} in all (max_pixels)")]
    Pixels {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// The maximum.
        most: usize,
    },
    /// Its sides do not fit.
    #[error("{0}")]
    Size(String),
}
