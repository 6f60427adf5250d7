//! The two passes over pixels. Built twice for processors of today: with AVX2, and without.

use std::ops::Range;

use super::weights::{PRECISION, Weights};

/// One half, which rounds.
const HALF: i32 = 1 << (PRECISION - 1);

/// Resizes some rows along themselves.
pub(super) fn along_rows<const C: usize>(
    pixels: &[u8],
    width: usize,
    rows: Range<usize>,
    weights: &Weights,
) -> Vec<u8> {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: The processor has AVX2.
        return unsafe { along_rows_avx2::<C>(pixels, width, rows, weights) };
    }
    along_rows_plain::<C>(pixels, width, rows, weights)
}

/// Resizes all rows of so many bytes along the columns. `first_row` is the number of the first one.
pub(super) fn along_columns(
    pixels: &[u8],
    row_bytes: usize,
    first_row: usize,
    weights: &Weights,
) -> Vec<u8> {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: The processor has AVX2.
        return unsafe { along_columns_avx2(pixels, row_bytes, first_row, weights) };
    }
    along_columns_plain(pixels, row_bytes, first_row, weights)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn along_rows_avx2<const C: usize>(
    pixels: &[u8],
    width: usize,
    rows: Range<usize>,
    weights: &Weights,
) -> Vec<u8> {
    along_rows_plain::<C>(pixels, width, rows, weights)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn along_columns_avx2(
    pixels: &[u8],
    row_bytes: usize,
    first_row: usize,
    weights: &Weights,
) -> Vec<u8> {
    along_columns_plain(pixels, row_bytes, first_row, weights)
}

#[inline(always)]
fn along_rows_plain<const C: usize>(
    pixels: &[u8],
    width: usize,
    rows: Range<usize>,
    weights: &Weights,
) -> Vec<u8> {
    let mut resized = Vec::with_capacity(rows.len() * weights.iter().count() * C);
    for row in rows {
        let row = &pixels[row * width * C..(row + 1) * width * C];
        for (first, kernel) in weights.iter() {
            let mut sums = [HALF; C];
            let taps = &row[first * C..(first + kernel.len()) * C];
            for (pixel, weight) in taps.chunks_exact(C).zip(kernel) {
                for channel in 0..C {
                    sums[channel] += i32::from(pixel[channel]) * weight;
                }
            }
            resized.extend_from_slice(&sums.map(rounded));
        }
    }
    resized
}

#[inline(always)]
fn along_columns_plain(
    pixels: &[u8],
    row_bytes: usize,
    first_row: usize,
    weights: &Weights,
) -> Vec<u8> {
    let mut resized = Vec::with_capacity(weights.iter().count() * row_bytes);
    let mut sums = vec![0; row_bytes];
    for (first, kernel) in weights.iter() {
        sums.fill(HALF);
        let rows = pixels[(first - first_row) * row_bytes..].chunks_exact(row_bytes);
        for (row, weight) in rows.zip(kernel) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += i32::from(*value) * weight;
            }
        }
        resized.extend(sums.iter().map(|sum| rounded(*sum)));
    }
    resized
}

#[inline(always)]
fn rounded(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}
