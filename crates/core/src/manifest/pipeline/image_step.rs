//! The step that makes numbers of images.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::DataType;

steps! {
    /// A JPEG, PNG or WebP file as a tensor: decoded, turned upright by its EXIF orientation, resized,
    /// cropped and normalized. 16 bits become 8, and alpha is left out.
    ImageStep {
        /// The column, of type `bytes`.
        input: String,
        /// What is made of its colors.
        #[serde(default)]
        color: ImageColor,
        /// The most pixels that an image may have. It is refused before it is decoded.
        #[serde(default = "max_pixels")]
        max_pixels: usize,
        /// Its new size.
        #[serde(default)]
        resize: Option<ImageResize>,
        /// The middle that is left of it, as `CenterCrop` of torchvision.
        #[serde(default)]
        crop: Option<ImageCrop>,
        /// What pixels from 0 to 255 are multiplied with, such as 0.00392156862745098 for 1 / 255.
        #[serde(default)]
        scale: Option<f64>,
        /// What is subtracted then, for each channel in the order of `channels`.
        #[serde(default)]
        mean: Vec<f64>,
        /// What that is divided by, for each channel.
        #[serde(default)]
        std: Vec<f64>,
        /// The order of the axes behind that of the rows.
        #[serde(default)]
        layout: ImageLayout,
        /// The order of the channels of a colored image.
        #[serde(default)]
        channels: ChannelOrder,
        /// `FP32`, or `UINT8` for pixels as they are.
        #[serde(default = "single")]
        datatype: DataType,
        /// The result's name; the input's by default.
        #[serde(default)]
        output: Option<String>,
    }

    /// Another size for an image: of the shorter side, or of both.
    ImageResize {
        /// The shorter side; the other one follows, as `Resize(shortest)` of torchvision has it.
        #[serde(default)]
        shortest: Option<usize>,
        /// The width.
        #[serde(default)]
        width: Option<usize>,
        /// The height.
        #[serde(default)]
        height: Option<usize>,
        /// How pixels are weighted.
        #[serde(default)]
        filter: ImageFilter,
    }

    /// The middle of an image.
    ImageCrop {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
    }
}

/// What is made of the colors of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImageColor {
    /// Three channels.
    #[default]
    Rgb,
    /// One channel: the brightness.
    Gray,
}

/// How pixels are weighted when an image gets another size, by the names of Pillow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImageFilter {
    /// The nearest pixel.
    Nearest,
    /// All pixels alike.
    Box,
    /// The default of torchvision.
    #[default]
    Bilinear,
    /// The default of Pillow.
    Bicubic,
    /// A sinc of three lobes.
    Lanczos,
}

/// The order of the axes of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImageLayout {
    /// Channels, rows, columns: PyTorch.
    #[default]
    Nchw,
    /// Rows, columns, channels: TensorFlow.
    Nhwc,
    /// As `nhwc`, all in one axis: models that take an image as columns.
    Flat,
}

/// The order of the channels of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red: OpenCV and Caffe.
    Bgr,
}

fn max_pixels() -> usize {
    50_000_000
}

fn single() -> DataType {
    DataType::Fp32
}
