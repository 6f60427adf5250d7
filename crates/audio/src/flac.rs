//! FLAC, decoded frame by frame, so that memory is known before.

use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use symphonia_bundle_flac::{FlacDecoder, FlacReader};
use symphonia_core::audio::{Audio, GenericAudioBufferRef};
use symphonia_core::codecs::CodecParameters;
use symphonia_core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia_core::formats::{FormatOptions, FormatReader};
use symphonia_core::io::{MediaSourceStream, ReadOnlySource};

use crate::header::{Body, Format, Header};
use crate::wav::full_scale;

/// The name of the format, the head of a block, and the block `STREAMINFO`.
const HEAD_BYTES: usize = 4 + 4 + STREAM_INFO_BYTES;
const STREAM_INFO_BYTES: usize = 34;
/// In the head of a block: it is the last one before the frames.
const LAST: u8 = 0x80;

/// Where the frames begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frames {
    begin: usize,
    /// The most samples of a frame.
    block: usize,
}

pub(crate) fn header(bytes: &[u8]) -> Result<Header, String> {
    let info = bytes.get(8..HEAD_BYTES).ok_or("its header is cut off")?;
    if bytes[4] & !LAST != 0 || bytes[5..8] != [0, 0, STREAM_INFO_BYTES as u8] {
        return Err("its header does not begin with STREAMINFO".to_owned());
    }
    // 20 bits of the rate, 3 of the channels, 5 of the bits of a sample, 36 of the length.
    let packed = u64::from_be_bytes(info[10..18].try_into().expect("it has 34 bytes"));
    let frames = usize::try_from(packed & 0xf_ffff_ffff).unwrap_or(usize::MAX);
    let block = u16::from_be_bytes([info[2], info[3]]);
    Ok(Header {
        format: Format::Flac,
        sample_rate: (packed >> 44) as u32,
        channels: (packed >> 41 & 7) as usize + 1,
        frames: (frames > 0).then_some(frames),
        body: Body::Flac(Frames {
            begin: frames_begin(bytes)?,
            block: usize::from(block),
        }),
    })
}

/// Walks over the blocks before the frames: tags and pictures, which nobody reads.
fn frames_begin(bytes: &[u8]) -> Result<usize, String> {
    let mut at = 4;
    loop {
        let head: &[u8] = bytes.get(at..at + 4).ok_or("its header is cut off")?;
        at += 4 + u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
        if head[0] & LAST != 0 {
            return Ok(at);
        }
    }
}

impl Frames {
    /// What decoding takes besides its result, in bytes: a frame as it is stored, twice, and decoded.
    pub(crate) fn decode_bytes(&self, channels: usize) -> usize {
        self.block.max(1 << 16) * channels * 4 * size_of::<i32>()
    }

    /// The mean of all channels. `most` is the most samples that there may be.
    pub(crate) fn mono(
        &self,
        bytes: &[u8],
        header: &Header,
        most: usize,
    ) -> Result<Vec<f32>, String> {
        // The decoder relies on checksums in places, and panics on frames with a right checksum that
        // no encoder writes.
        let decode = || self.decode(bytes, header, most);
        let mono = catch_unwind(AssertUnwindSafe(decode));
        mono.unwrap_or_else(|_| Err("a frame of it is broken".to_owned()))
    }

    fn decode(&self, bytes: &[u8], header: &Header, most: usize) -> Result<Vec<f32>, String> {
        let mut mono = Vec::with_capacity(most);
        let mut reader = self.reader(bytes)?;
        let mut decoder = decoder(&*reader)?;
        while let Some(packet) = reader.next_packet().map_err(|error| error.to_string())? {
            // The reader skips frames that it cannot read.
            if packet.pts.get() != mono.len() as i64 {
                return Err("a frame of it is broken or missing".to_owned());
            }
            let block = decoder.decode(&packet).map_err(|error| error.to_string())?;
            if block.frames() > most - mono.len() {
                return Err(longer_than_said(header, most));
            }
            add_mono(&block, &mut mono)?;
        }
        match header.frames {
            Some(frames) if frames != mono.len() => {
                let made = mono.len();
                Err(format!("its header says {frames} samples, it has {made}"))
            }
            _ if mono.is_empty() => Err("it has no samples".to_owned()),
            _ => Ok(mono),
        }
    }

    /// The frames with the shortest header before them.
    fn reader<'a>(&self, bytes: &'a [u8]) -> Result<Box<dyn FormatReader + 'a>, String> {
        let mut head = bytes[..HEAD_BYTES].to_vec();
        head[4] |= LAST;
        let frames = bytes.get(self.begin..).ok_or("its header is cut off")?;
        let source = ReadOnlySource::new(Cursor::new(head).chain(frames));
        let stream = MediaSourceStream::new(Box::new(source), Default::default());
        let reader = FlacReader::try_new(stream, FormatOptions::default());
        Ok(Box::new(reader.map_err(|error| error.to_string())?))
    }
}

fn decoder(reader: &dyn FormatReader) -> Result<FlacDecoder, String> {
    let params = reader
        .tracks()
        .first()
        .and_then(|track| track.codec_params.as_ref());
    let Some(CodecParameters::Audio(params)) = params else {
        return Err("it has no sound".to_owned());
    };
    let decoder = FlacDecoder::try_new(params, &AudioDecoderOptions::default());
    decoder.map_err(|error| error.to_string())
}

#[cold]
fn longer_than_said(header: &Header, most: usize) -> String {
    match header.frames {
        Some(frames) => format!("its header says {frames} samples, it has more"),
        None => format!("it has more than {most} samples (max_seconds)"),
    }
}

/// Adds the mean of the channels of a block: in single precision, in order, as for WAV.
fn add_mono(block: &GenericAudioBufferRef<'_>, mono: &mut Vec<f32>) -> Result<(), String> {
    let GenericAudioBufferRef::S32(block) = block else {
        return Err("its samples are of another type".to_owned());
    };
    let begin = mono.len();
    let mut channels = 0;
    for plane in block.iter_planes() {
        mono.resize(begin + plane.len(), 0.0);
        for (sum, sample) in mono[begin..].iter_mut().zip(plane) {
            *sum += full_scale(*sample);
        }
        channels += 1;
    }
    for sum in &mut mono[begin..] {
        *sum /= channels as f32;
    }
    Ok(())
}
