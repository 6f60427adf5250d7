//! How an image must be turned: the tag `Orientation` of EXIF.

/// A turn that makes an image upright. The names say what is done to the stored image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Orientation {
    #[default]
    Upright,
    MirrorHorizontal,
    Rotate180,
    MirrorVertical,
    Transpose,
    Rotate90,
    Transverse,
    Rotate270,
}

impl Orientation {
    /// Whether it swaps width and height.
    pub(crate) fn swaps(self) -> bool {
        matches!(
            self,
            Self::Transpose | Self::Rotate90 | Self::Transverse | Self::Rotate270
        )
    }

    /// The turn that the block of EXIF asks for. What cannot be read asks for none.
    pub(crate) fn of_exif(exif: &[u8]) -> Self {
        match orientation_tag(exif.strip_prefix(b"Exif\0\0").unwrap_or(exif)) {
            Some(2) => Self::MirrorHorizontal,
            Some(3) => Self::Rotate180,
            Some(4) => Self::MirrorVertical,
            Some(5) => Self::Transpose,
            Some(6) => Self::Rotate90,
            Some(7) => Self::Transverse,
            Some(8) => Self::Rotate270,
            _ => Self::Upright,
        }
    }

    /// The stored place of a pixel of the upright image, whose stored sides are these.
    fn stored(self, x: usize, y: usize, width: usize, height: usize) -> (usize, usize) {
        let (right, bottom) = (width - 1, height - 1);
        match self {
            Self::Upright => (x, y),
            Self::MirrorHorizontal => (right - x, y),
            Self::Rotate180 => (right - x, bottom - y),
            Self::MirrorVertical => (x, bottom - y),
            Self::Transpose => (y, x),
            Self::Rotate90 => (y, bottom - x),
            Self::Transverse => (right - y, bottom - x),
            Self::Rotate270 => (right - y, x),
        }
    }

    /// The upright pixels of a stored image.
    pub(crate) fn apply<const C: usize>(
        self,
        pixels: &[u8],
        width: usize,
        height: usize,
    ) -> Vec<u8> {
        let (columns, rows) = if self.swaps() {
            (height, width)
        } else {
            (width, height)
        };
        let mut upright = Vec::with_capacity(pixels.len());
        for y in 0..rows {
            for x in 0..columns {
                let (stored_x, stored_y) = self.stored(x, y, width, height);
                let at = (stored_y * width + stored_x) * C;
                upright.extend_from_slice(&pixels[at..at + C]);
            }
        }
        upright
    }
}

/// The first entry of the first directory that is an orientation.
fn orientation_tag(tiff: &[u8]) -> Option<u16> {
    const ORIENTATION: u16 = 0x0112;
    const SHORT: u16 = 3;
    let is_little = match tiff.get(..2)? {
        b"II" => true,
        b"MM" => false,
        _ => return None,
    };
    let short = |at: usize| -> Option<u16> {
        let bytes = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if is_little {
            u16::from_le_bytes(bytes)
        } else {
            u16::from_be_bytes(bytes)
        })
    };
    let offset = tiff.get(4..8)?.try_into().ok()?;
    let directory = if is_little {
        u32::from_le_bytes(offset)
    } else {
        u32::from_be_bytes(offset)
    } as usize;
    let count = usize::from(short(directory)?);
    for entry in 0..count {
        let at = directory + 2 + entry * 12;
        if short(at)? == ORIENTATION && short(at + 2)? == SHORT {
            return short(at + 8);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orientation_is_read_in_both_byte_orders() {
        let little = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
        let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0";
        assert_eq!(Orientation::of_exif(little), Orientation::Rotate90);
        assert_eq!(Orientation::of_exif(big), Orientation::Rotate270);
        for cut in 0..little.len() - 4 {
            assert_eq!(Orientation::of_exif(&little[..cut]), Orientation::Upright);
        }
    }

    #[test]
    fn a_turn_moves_pixels_to_where_they_are_upright() {
        // 0 1 2
        // 3 4 5
        let turned = |orientation: Orientation| orientation.apply::<1>(&[0, 1, 2, 3, 4, 5], 3, 2);
        assert_eq!(turned(Orientation::MirrorHorizontal), [2, 1, 0, 5, 4, 3]);
        assert_eq!(turned(Orientation::Rotate180), [5, 4, 3, 2, 1, 0]);
        assert_eq!(turned(Orientation::MirrorVertical), [3, 4, 5, 0, 1, 2]);
        assert_eq!(turned(Orientation::Transpose), [0, 3, 1, 4, 2, 5]);
        assert_eq!(turned(Orientation::Rotate90), [3, 0, 4, 1, 5, 2]);
        assert_eq!(turned(Orientation::Transverse), [5, 2, 4, 1, 3, 0]);
        assert_eq!(turned(Orientation::Rotate270), [2, 5, 1, 4, 0, 3]);
    }
}
