//! What the first bytes of an image say, read without decoding it and without memory of its own.

use std::fmt;

use crate::ImageError;
use crate::exif::Orientation;
use crate::size::Size;

/// The format of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JPEG.
    Jpeg,
    /// PNG; of an animation its first image.
    Png,
    /// WebP; of an animation its first image.
    Webp,
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Webp => "WebP",
        })
    }
}

/// How large an image is, and how it is turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its format.
    pub format: Format,
    /// Its sides as they are stored.
    pub stored: Size,
    pub(crate) orientation: Orientation,
}

impl Header {
    /// Reads the header of an image.
    ///
    /// # Errors
    /// If it is none of the formats, or has no sides.
    pub fn read(bytes: &[u8]) -> Result<Self, ImageError> {
        let (format, found) = if bytes.starts_with(b"\xff\xd8\xff") {
            (Format::Jpeg, jpeg(bytes))
        } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            (Format::Png, png(bytes))
        } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            (Format::Webp, webp(bytes))
        } else {
            return Err(ImageError::Format);
        };
        let found = found.filter(|found| found.width > 0 && found.height > 0);
        let Some(found) = found else {
            let problem = "its header is cut off or has no size".to_owned();
            return Err(ImageError::Broken(format, problem));
        };
        Ok(Self {
            format,
            stored: Size {
                width: found.width,
                height: found.height,
            },
            orientation: found.exif.map(Orientation::of_exif).unwrap_or_default(),
        })
    }

    /// Its sides once it is upright.
    pub fn upright(&self) -> Size {
        if self.orientation.swaps() {
            Size {
                width: self.stored.height,
                height: self.stored.width,
            }
        } else {
            self.stored
        }
    }

    /// What decoding it takes at most, in bytes.
    pub fn decode_bytes(&self) -> usize {
        // The result, the same turned upright, and what the decoder itself holds: all coefficients
        // of a progressive JPEG (2 bytes for each of up to 4 channels, and up to a block more at the
        // edges), rows with alpha of a PNG, planes and rows with alpha of a WebP.
        let decoder = match self.format {
            Format::Jpeg => 10,
            Format::Png => 4,
            Format::Webp => 8,
        };
        let padded = self.stored.width.saturating_add(32);
        padded
            .saturating_mul(self.stored.height.saturating_add(32))
            .saturating_mul(decoder + 6)
    }
}

struct Found<'a> {
    width: usize,
    height: usize,
    exif: Option<&'a [u8]>,
}

/// Walks over the segments up to the first scan.
fn jpeg(bytes: &[u8]) -> Option<Found<'_>> {
    let mut exif = None;
    let mut at = 2;
    loop {
        let (marker, segment, next) = jpeg_segment(bytes, at)?;
        match marker {
            0xe1 if exif.is_none() && segment.starts_with(b"Exif\0\0") => exif = Some(segment),
            // Start of a frame; the others in this range are tables.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                return Some(Found {
                    height: short(segment, 1)?,
                    width: short(segment, 3)?,
                    exif,
                });
            }
            0xd9 | 0xda => return None,
            _ => {}
        }
        at = next;
    }
}

/// The marker at a place, its segment, and the place behind it.
fn jpeg_segment(bytes: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    let rest = bytes.get(at..)?;
    if rest.first() != Some(&0xff) {
        return None;
    }
    let fill = rest.iter().take_while(|byte| **byte == 0xff).count();
    let marker = *rest.get(fill)?;
    let begin = at + fill + 1;
    // Those that stand alone.
    if matches!(marker, 0x01 | 0xd0..=0xd9) {
        return Some((marker, &[], begin));
    }
    let end = begin + short(bytes, begin)?;
    Some((marker, bytes.get(begin + 2..end)?, end))
}

/// Whether the end of a JPEG is there. Decoders fill up with gray what was cut off.
pub(crate) fn has_jpeg_end(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some((marker, _, next)) = jpeg_segment(bytes, at) {
        at = next;
        if marker == 0xda {
            let scans = &bytes[at..];
            return scans.windows(2).rev().any(|pair| pair == [0xff, 0xd9]);
        }
    }
    false
}

fn png(bytes: &[u8]) -> Option<Found<'_>> {
    if bytes.get(12..16)? != b"IHDR" {
        return None;
    }
    let (width, height) = (long(bytes, 16)?, long(bytes, 20)?);
    let mut at = 8;
    let mut exif = None;
    while let Some(length) = long(bytes, at) {
        let begin = at + 8;
        let Some(end) = begin.checked_add(length).filter(|end| *end <= bytes.len()) else {
            break;
        };
        if &bytes[at + 4..begin] == b"eXIf" {
            exif = Some(&bytes[begin..end]);
            break;
        }
        at = end + 4;
    }
    Some(Found {
        width,
        height,
        exif,
    })
}

fn webp(bytes: &[u8]) -> Option<Found<'_>> {
    let mut found: Option<Found<'_>> = None;
    let chunks = Chunks { bytes, at: 12 };
    for (name, chunk) in chunks {
        match (name, &mut found) {
            (b"EXIF", Some(found)) if found.exif.is_none() => found.exif = Some(chunk),
            (b"VP8X", None) => {
                let width = triple(chunk, 4)? + 1;
                let height = triple(chunk, 7)? + 1;
                found = Some(Found {
                    width,
                    height,
                    exif: None,
                });
            }
            (b"VP8 " | b"VP8L", None) => {
                let (width, height) = webp_frame(name, chunk)?;
                found = Some(Found {
                    width,
                    height,
                    exif: None,
                });
            }
            (b"VP8 " | b"VP8L", Some(found)) => check_inside(name, chunk, found)?,
            (b"ANMF", Some(found)) => {
                let inner = Chunks {
                    bytes: chunk,
                    at: 16,
                };
                for (name, chunk) in inner {
                    if matches!(name, b"VP8 " | b"VP8L") {
                        check_inside(name, chunk, found)?;
                    }
                }
            }
            _ => {}
        }
    }
    found
}

/// Refuses a frame that is larger than its image: the decoder believes it, and reserves memory.
fn check_inside(name: &[u8; 4], chunk: &[u8], found: &Found<'_>) -> Option<()> {
    let (width, height) = webp_frame(name, chunk)?;
    (width <= found.width && height <= found.height).then_some(())
}

fn webp_frame(name: &[u8; 4], chunk: &[u8]) -> Option<(usize, usize)> {
    if name == b"VP8L" {
        let packed = u32::from_le_bytes(chunk.get(1..5)?.try_into().ok()?) as usize;
        return Some(((packed & 0x3fff) + 1, (packed >> 14 & 0x3fff) + 1));
    }
    let side = |at| {
        let bytes: [u8; 2] = chunk.get(at..at + 2)?.try_into().ok()?;
        Some(usize::from(u16::from_le_bytes(bytes) & 0x3fff))
    };
    Some((side(6)?, side(8)?))
}

/// The chunks of RIFF.
struct Chunks<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = (&'a [u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.bytes.get(self.at..self.at.checked_add(4)?)?;
        let length = self.bytes.get(self.at + 4..self.at + 8)?.try_into().ok()?;
        let length = u32::from_le_bytes(length) as usize;
        let begin = self.at + 8;
        // The last one may be cut off: the decoder says so.
        let end = begin.saturating_add(length).min(self.bytes.len());
        self.at = begin.saturating_add(length.saturating_add(length & 1));
        Some((name.try_into().ok()?, &self.bytes[begin..end]))
    }
}

fn short(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes: [u8; 2] = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
    Some(usize::from(u16::from_be_bytes(bytes)))
}

fn triple(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 3)?;
    Some(usize::from(bytes[0]) | usize::from(bytes[1]) << 8 | usize::from(bytes[2]) << 16)
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(u32::from_be_bytes(bytes) as usize)
}
