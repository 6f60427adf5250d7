//! Colors of pixels.

/// What a pixel has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// Red, green and blue.
    #[default]
    Rgb,
    /// Brightness.
    Gray,
}

impl Color {
    /// The bytes of a pixel.
    pub const fn channels(self) -> usize {
        match self {
            Self::Rgb => 3,
            Self::Gray => 1,
        }
    }
}

/// Pixels of 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha) bytes in the color that is wanted.
/// Alpha is left out, and what lies under it stays: as `convert("RGB")` of Pillow does.
pub(crate) fn convert(pixels: Vec<u8>, channels: usize, color: Color) -> Vec<u8> {
    match (channels, color) {
        (1, Color::Gray) | (3, Color::Rgb) => pixels,
        (2, Color::Gray) => pixels.chunks_exact(2).map(|pixel| pixel[0]).collect(),
        (1 | 2, Color::Rgb) => spread(&pixels, channels),
        (_, Color::Rgb) => without_alpha(&pixels),
        (_, Color::Gray) => pixels.chunks_exact(channels).map(brightness).collect(),
    }
}

fn spread(pixels: &[u8], channels: usize) -> Vec<u8> {
    let mut spread = Vec::with_capacity(pixels.len() / channels * 3);
    for pixel in pixels.chunks_exact(channels) {
        spread.extend_from_slice(&[pixel[0]; 3]);
    }
    spread
}

fn without_alpha(pixels: &[u8]) -> Vec<u8> {
    let mut opaque = Vec::with_capacity(pixels.len() / 4 * 3);
    for pixel in pixels.chunks_exact(4) {
        opaque.extend_from_slice(&pixel[..3]);
    }
    opaque
}

/// ITU-R 601-2, rounded as Pillow rounds it.
fn brightness(pixel: &[u8]) -> u8 {
    let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_is_left_out_and_gray_is_spread() {
        assert_eq!(convert(vec![1, 2, 3, 0], 4, Color::Rgb), [1, 2, 3]);
        assert_eq!(convert(vec![7, 0], 2, Color::Rgb), [7, 7, 7]);
        assert_eq!(convert(vec![7, 0], 2, Color::Gray), [7]);
        assert_eq!(convert(vec![255, 0, 0], 3, Color::Gray), [76]);
    }
}
