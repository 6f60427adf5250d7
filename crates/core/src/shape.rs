//! Shapes of concrete tensors.

use std::fmt;
use std::ops::Deref;

use smallvec::SmallVec;
use thiserror::Error;

/// The extents of a tensor, outermost first; empty for a scalar.
///
/// Every shape has an element count that fits in `usize`.
///
/// ```
/// use tidegate_core::Shape;
///
/// let shape = Shape::from_wire(&[2, 3])?;
/// assert_eq!(shape.element_count(), 6);
/// assert_eq!(shape.with_rows(5)?.to_string(), "[5, 3]");
/// assert!(Shape::from_wire(&[-1, 3]).is_err());
/// # Ok::<(), tidegate_core::ShapeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Shape(SmallVec<[usize; 4]>);

impl Shape {
    /// More dimensions than any real model has; a bound for shapes from requests.
    pub const MAX_RANK: usize = 32;

    /// Most elements that the other extents of an empty shape from a request may have.
    const MAX_HOLLOW_ELEMENTS: usize = 1 << 24;

    /// A shape from extents that this process itself produced.
    ///
    /// # Errors
    /// [`ShapeError::Overflow`] if the element count does not fit, [`ShapeError::Rank`] above
    /// [`Self::MAX_RANK`].
    pub fn new(extents: &[usize]) -> Result<Self, ShapeError> {
        if extents.len() > Self::MAX_RANK {
            return Err(ShapeError::Rank {
                rank: extents.len(),
            });
        }
        let shape = Self(SmallVec::from_slice(extents));
        // A zero extent must not hide an overflow of the others: strides are computed from them
        // all.
        let nonzero = extents.iter().filter(|extent| **extent > 0);
        match nonzero.copied().try_fold(1usize, usize::checked_mul) {
            // Rust allocates at most `isize::MAX` bytes, and an element takes at least one.
            Some(count) if count <= isize::MAX as usize => Ok(shape),
            _ => Err(ShapeError::Overflow {
                shape: format!("{shape}"),
            }),
        }
    }

    /// A shape from signed extents, as requests have them.
    ///
    /// # Errors
    /// As [`Shape::new`], [`ShapeError::Negative`] for an extent below zero, and
    /// [`ShapeError::Overflow`] for an empty shape whose other extents are huge.
    pub fn from_wire(extents: &[i64]) -> Result<Self, ShapeError> {
        if extents.len() > Self::MAX_RANK {
            return Err(ShapeError::Rank {
                rank: extents.len(),
            });
        }
        let mut unsigned: SmallVec<[usize; 4]> = SmallVec::with_capacity(extents.len());
        for (axis, extent) in extents.iter().enumerate() {
            let extent = usize::try_from(*extent).map_err(|_| ShapeError::Negative {
                axis,
                extent: *extent,
            })?;
            unsigned.push(extent);
        }
        let shape = Self::new(&unsigned)?;
        // An empty tensor takes no bytes of a body, so the body's limit does not bound its other
        // extents; an operator that fills them in, such as a sum over the empty axis, would take
        // any memory.
        let hollow: usize = unsigned.iter().filter(|extent| **extent > 0).product();
        if shape.element_count() == 0 && hollow > Self::MAX_HOLLOW_ELEMENTS {
            return Err(ShapeError::Overflow {
                shape: shape.to_string(),
            });
        }
        Ok(shape)
    }

    /// The number of elements; 1 for a scalar.
    pub fn element_count(&self) -> usize {
        self.0.iter().product()
    }

    /// The same shape with another extent on axis 0.
    ///
    /// # Errors
    /// [`ShapeError::Overflow`] if the element count no longer fits.
    pub fn with_rows(&self, rows: usize) -> Result<Self, ShapeError> {
        let mut extents = self.0.clone();
        // A scalar has no axis 0, and stays one.
        if let Some(first) = extents.first_mut() {
            *first = rows;
        }
        Self::new(&extents)
    }
}

impl Deref for Shape {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.as_slice())
    }
}

/// Why a list of extents is not a shape.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ShapeError {
    /// The element count does not fit in memory, or an empty shape has other extents that would
    /// not.
    #[error("shape {shape} has more elements than can be served")]
    Overflow {
        /// The extents as given.
        shape: String,
    },
    /// An extent below zero.
    #[error("shape has extent {extent} on axis {axis}, extents of a request must not be negative")]
    Negative {
        /// The axis, from 0.
        axis: usize,
        /// The extent as given.
        extent: i64,
    },
    /// Too many dimensions.
    #[error(
        "shape has {rank} dimensions, at most {} are supported",
        Shape::MAX_RANK
    )]
    Rank {
        /// The number of dimensions as given.
        rank: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflow_is_refused_even_beside_a_zero() {
        assert!(matches!(
            Shape::from_wire(&[1 << 62, 4]),
            Err(ShapeError::Overflow { .. })
        ));
        assert!(matches!(
            Shape::from_wire(&[0, 1 << 62, 4]),
            Err(ShapeError::Overflow { .. })
        ));
        assert!(matches!(
            Shape::from_wire(&[2, -1]),
            Err(ShapeError::Negative {
                axis: 1,
                extent: -1
            })
        ));
        assert!(matches!(
            Shape::from_wire(&[0, 1 << 40]),
            Err(ShapeError::Overflow { .. })
        ));
        assert_eq!(Shape::from_wire(&[0, 3]).unwrap().element_count(), 0);
        assert_eq!(Shape::new(&[]).unwrap().element_count(), 1);
    }
}
