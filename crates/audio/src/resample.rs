//! Another sample rate.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

/// The length of the filter, in samples of the lower rate: it begins to stop at 0.91 of that rate's
/// Nyquist frequency and has stopped there, as the quality HQ of soxr does, which librosa takes. Rates
/// whose smallest common block is longer, such as 22050 and 16000 Hz, get a longer filter, which passes
/// more: up to 0.98.
const FILTER_LENGTH: usize = 300;

/// The number of samples that so many become, as `librosa.resample` has it.
pub fn resampled_length(length: usize, from: u32, to: u32) -> usize {
    if from == to {
        return length;
    }
    // In this order: rounding can add one to it.
    (length as f64 * (f64::from(to) / f64::from(from))).ceil() as usize
}

/// What resampling takes besides its input and its result, in bytes.
pub(crate) fn resample_bytes(from: u32, to: u32) -> usize {
    if from == to {
        return 0;
    }
    // Blocks of both sides with as much silence, their spectra, the filter's, and what the transforms
    // need for themselves: a length that is prime takes the most.
    let (block_in, block_out) = blocks(from, to);
    (block_in + block_out) * 32 * size_of::<f32>()
}

/// The samples of a block at both rates: a multiple of the smallest ones whose lengths have the ratio
/// of the rates. Both are even, so that the filter delays by a whole number of samples.
fn blocks(from: u32, to: u32) -> (usize, usize) {
    let divisor = greatest_common_divisor(from, to);
    let (from, to) = ((from / divisor) as usize, (to / divisor) as usize);
    let pairs = (FILTER_LENGTH as f64 / (2 * from.min(to)) as f64).round() as usize;
    let count = 2 * pairs.max(1);
    (count * from, count * to)
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 {
        return a;
    }
    greatest_common_divisor(b, a % b)
}

/// The samples at another rate: [`resampled_length`] of them.
pub(crate) fn resample(samples: Vec<f32>, from: u32, to: u32) -> Result<Vec<f32>, String> {
    if from == to {
        return Ok(samples);
    }
    let (block, _) = blocks(from, to);
    let mut resampler = Fft::<f32>::new_custom(
        from as usize,
        to as usize,
        block,
        1,
        1,
        WindowFunction::BlackmanHarris2,
        FixedSync::Input,
    )
    .map_err(|error| error.to_string())?;
    let length = resampled_length(samples.len(), from, to);
    let room = resampler.process_all_needed_output_len(samples.len());
    let mut resampled = vec![0.0; room.max(length)];
    let room = resampled.len();
    let input = InterleavedSlice::new(&samples, 1, samples.len());
    let input = input.map_err(|error| error.to_string())?;
    let output = InterleavedSlice::new_mut(&mut resampled, 1, room);
    let mut output = output.map_err(|error| error.to_string())?;
    let (_, made) = resampler
        .process_all_into_buffer(&input, &mut output, samples.len(), None)
        .map_err(|error| error.to_string())?;
    // Where rounding has added one to the length, silence follows, as in `librosa.util.fix_length`.
    resampled.truncate(made);
    resampled.resize(length, 0.0);
    Ok(resampled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_librosa() {
        assert_eq!(resampled_length(48_000, 48_000, 16_000), 48_000 / 3);
        assert_eq!(resampled_length(44_101, 44_100, 22_050), 22_051);
        // 147 * (48000 / 44100) of doubles is a little above 160.
        assert_eq!(resampled_length(147, 44_100, 48_000), 161);
        assert_eq!(resampled_length(5, 8_000, 8_000), 5);
    }

    #[test]
    fn blocks_are_even_and_have_the_ratio_of_the_rates() {
        for (from, to) in [
            (44_100, 16_000),
            (8_000, 16_000),
            (16_000, 22_050),
            (47_999, 16_000),
        ] {
            let (a, b) = blocks(from, to);
            assert_eq!(a * to as usize, b * from as usize);
            assert!(a % 2 == 0 && b % 2 == 0 && a.min(b) >= FILTER_LENGTH * 9 / 10);
        }
    }
}
