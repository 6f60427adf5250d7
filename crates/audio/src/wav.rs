//! WAV: plain numbers behind a header.

use std::ops::Range;

use crate::header::{Body, Format, Header};
use crate::riff::Chunks;

/// Programs that write into a pipe do not know the length, and write one like this or a larger one.
const UNKNOWN_LENGTH: usize = 0x7fff_f000;

const PCM: u16 = 1;
const FLOAT: u16 = 3;
const EXTENSIBLE: u16 = 0xfffe;
/// What follows the number of the format in the identifier of an extensible one.
const SUBFORMAT: &[u8; 14] = b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71";

/// Where the samples are, and how they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Samples {
    bytes: Range<usize>,
    encoding: Encoding,
}

/// How a sample is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    /// From 0 to 255, silence is 128.
    Unsigned8,
    Signed16,
    Signed24,
    Signed32,
    Float32,
    Float64,
}

impl Encoding {
    fn of(format: u16, bits: u16) -> Result<Self, String> {
        match (format, bits) {
            (PCM, 8) => Ok(Self::Unsigned8),
            (PCM, 16) => Ok(Self::Signed16),
            (PCM, 24) => Ok(Self::Signed24),
            (PCM, 32) => Ok(Self::Signed32),
            (FLOAT, 32) => Ok(Self::Float32),
            (FLOAT, 64) => Ok(Self::Float64),
            (PCM | FLOAT, _) => Err(format!("samples of {bits} bits are not known")),
            _ => Err(format!(
                "its encoding {format:#06x} is not known, only PCM and floating point are"
            )),
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Unsigned8 => 1,
            Self::Signed16 => 2,
            Self::Signed24 => 3,
            Self::Signed32 | Self::Float32 => 4,
            Self::Float64 => 8,
        }
    }

    /// A sample from -1 to 1, as libsndfile gives it.
    fn sample(self, bytes: &[u8]) -> f32 {
        match (self, bytes) {
            (Self::Unsigned8, &[byte]) => (f32::from(byte) - 128.0) / 128.0,
            (Self::Signed16, &[a, b]) => f32::from(i16::from_le_bytes([a, b])) / 32_768.0,
            (Self::Signed24, &[a, b, c]) => full_scale(i32::from_le_bytes([0, a, b, c])),
            (Self::Signed32, &[a, b, c, d]) => full_scale(i32::from_le_bytes([a, b, c, d])),
            (Self::Float32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            (Self::Float64, &[a, b, c, d, e, f, g, h]) => {
                f64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32
            }
            _ => unreachable!("a sample has as many bytes as its encoding says"),
        }
    }
}

/// A sample of 32 bits from -1 to 1.
pub(crate) fn full_scale(sample: i32) -> f32 {
    sample as f32 / 2_147_483_648.0
}

pub(crate) fn header(bytes: &[u8]) -> Result<Header, String> {
    let mut format = None;
    for chunk in Chunks::new(bytes) {
        let end = chunk.begin.saturating_add(chunk.length);
        match &chunk.name {
            b"fmt " => {
                let content = bytes.get(chunk.begin..end).ok_or("its header is cut off")?;
                format = Some(FormatChunk::read(content)?);
            }
            b"data" => {
                let format = format.ok_or("its samples come before their format")?;
                let end = if chunk.length >= UNKNOWN_LENGTH {
                    bytes.len()
                } else {
                    end
                };
                if end > bytes.len() {
                    return Err("its end is cut off".to_owned());
                }
                return Ok(format.header(chunk.begin..end));
            }
            _ => {}
        }
    }
    Err("its header is cut off or has no samples".to_owned())
}

/// What the chunk `fmt ` says.
struct FormatChunk {
    sample_rate: u32,
    channels: usize,
    encoding: Encoding,
}

impl FormatChunk {
    fn read(content: &[u8]) -> Result<Self, String> {
        let short = |at: usize| {
            let bytes = content.get(at..at + 2).ok_or("its header is cut off")?;
            Ok::<u16, String>(u16::from_le_bytes([bytes[0], bytes[1]]))
        };
        let (mut format, bits) = (short(0)?, short(14)?);
        if format == EXTENSIBLE {
            if content.get(26..40) != Some(SUBFORMAT) {
                return Err("its extensible encoding is not known".to_owned());
            }
            format = short(24)?;
        }
        let encoding = Encoding::of(format, bits)?;
        let channels = usize::from(short(2)?);
        if usize::from(short(12)?) != channels * encoding.bytes() {
            return Err("its header says two sizes of a sample".to_owned());
        }
        Ok(Self {
            sample_rate: u32::from(short(4)?) | u32::from(short(6)?) << 16,
            channels,
            encoding,
        })
    }

    fn header(self, bytes: Range<usize>) -> Header {
        // Some programs leave half of a last frame.
        let frame_bytes = (self.channels * self.encoding.bytes()).max(1);
        let frames = bytes.len() / frame_bytes;
        Header {
            format: Format::Wav,
            sample_rate: self.sample_rate,
            channels: self.channels,
            frames: Some(frames),
            body: Body::Wav(Samples {
                bytes: bytes.start..bytes.start + frames * frame_bytes,
                encoding: self.encoding,
            }),
        }
    }
}

impl Samples {
    /// The mean of all channels, as `librosa.to_mono` computes it: in single precision, in order.
    pub(crate) fn mono(&self, bytes: &[u8], channels: usize) -> Vec<f32> {
        let sample_bytes = self.encoding.bytes();
        let frames = bytes[self.bytes.clone()].chunks_exact(channels * sample_bytes);
        frames
            .map(|frame| {
                let samples = frame.chunks_exact(sample_bytes);
                let sum: f32 = samples.map(|sample| self.encoding.sample(sample)).sum();
                sum / channels as f32
            })
            .collect()
    }
}
