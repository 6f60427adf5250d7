//! Decoding: one decoder for each format, and limits before each.

use std::io::Cursor;

use image_webp::WebPDecoder;
use png::{ColorType, Limits, Transformations};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::color::{self, Color};
use crate::header::{self, Format, Header};
use crate::size::Size;
use crate::{ImageError, exif::Orientation};

/// What metadata of an image may take, which is not used.
const METADATA_BYTES: usize = 1 << 20;

/// The pixels of an image, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its sides.
    pub size: Size,
    /// What a pixel has.
    pub color: Color,
    /// A byte for each channel of each pixel.
    pub pixels: Vec<u8>,
}

/// Pixels as a decoder gives them.
struct Decoded {
    size: Size,
    channels: usize,
    pixels: Vec<u8>,
}

/// Decodes an image and turns it upright. 16 bits become the upper 8, palettes their colors, CMYK
/// becomes RGB as in Pillow, and alpha is left out.
///
/// # Errors
/// If it is broken or cut off. Its size must have been checked: this reserves
/// [`Header::decode_bytes`].
pub fn decode(bytes: &[u8], header: &Header, color: Color) -> Result<Image, ImageError> {
    let decoded = match header.format {
        Format::Jpeg => jpeg(bytes, header.stored),
        Format::Png => png(bytes, header.stored),
        Format::Webp => webp(bytes),
    };
    let broken = |problem| ImageError::Broken(header.format, problem);
    let decoded = decoded.map_err(broken)?;
    if decoded.size != header.stored {
        return Err(broken("it says two sizes".to_owned()));
    }
    let stored = header.stored;
    let pixels = color::convert(decoded.pixels, decoded.channels, color);
    Ok(Image {
        size: header.upright(),
        color,
        pixels: upright(pixels, header.orientation, stored, color),
    })
}

fn upright(pixels: Vec<u8>, orientation: Orientation, stored: Size, color: Color) -> Vec<u8> {
    let Size { width, height } = stored;
    match color {
        _ if orientation == Orientation::Upright => pixels,
        Color::Gray => orientation.apply::<1>(&pixels, width, height),
        Color::Rgb => orientation.apply::<3>(&pixels, width, height),
    }
}

fn jpeg(bytes: &[u8], size: Size) -> Result<Decoded, String> {
    if !header::has_jpeg_end(bytes) {
        return Err("its end is cut off".to_owned());
    }
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(size.width)
        .set_max_height(size.height);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder
        .decode_headers()
        .map_err(|error| format!("{error:?}"))?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    if (Size { width, height }) != size {
        return Err("it says two sizes".to_owned());
    }
    let is_gray = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let wanted = if is_gray {
        ColorSpace::Luma
    } else {
        ColorSpace::RGB
    };
    decoder.set_options(options.jpeg_set_out_colorspace(wanted));
    let pixels = decoder.decode().map_err(|error| format!("{error:?}"))?;
    let channels = if is_gray { 1 } else { 3 };
    Ok(Decoded {
        size,
        channels,
        pixels,
    })
}

fn png(bytes: &[u8], size: Size) -> Result<Decoded, String> {
    let limits = Limits {
        // A row and the one before it, with up to 8 bytes for each pixel.
        bytes: METADATA_BYTES.saturating_add(size.width.saturating_mul(32)),
    };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(Transformations::normalize_to_color8());
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
    let (width, height) = reader.info().size();
    let found = Size {
        width: width as usize,
        height: height as usize,
    };
    let length = reader.output_buffer_size().filter(|_| found == size);
    let mut pixels = vec![0; length.ok_or("it says two sizes")?];
    let frame = reader
        .next_frame(&mut pixels)
        .map_err(|error| error.to_string())?;
    // The first image of an animation can be smaller than the whole.
    let channels = match frame.color_type {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb => 3,
        ColorType::Rgba => 4,
        ColorType::Indexed => return Err("its palette is missing".to_owned()),
    };
    pixels.truncate(frame.buffer_size());
    Ok(Decoded {
        size: Size {
            width: frame.width as usize,
            height: frame.height as usize,
        },
        channels,
        pixels,
    })
}

fn webp(bytes: &[u8]) -> Result<Decoded, String> {
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    decoder.set_memory_limit(METADATA_BYTES);
    let (width, height) = decoder.dimensions();
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let length = decoder.output_buffer_size().ok_or("it is too large")?;
    let mut pixels = vec![0; length];
    decoder
        .read_image(&mut pixels)
        .map_err(|error| error.to_string())?;
    Ok(Decoded {
        size: Size {
            width: width as usize,
            height: height as usize,
        },
        channels,
        pixels,
    })
}
