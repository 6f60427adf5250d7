//! What can be wrong with a tensor.

use thiserror::Error;

use crate::{DataType, Shape, ShapeError, StringsError};

/// Why bytes or elements do not make a tensor of the wanted shape.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TensorError {
    /// The wire data is too long or too short.
    #[error("shape {shape} of {datatype} takes {wanted} bytes, the data has {found}")]
    ByteCount {
        /// The shape asked for.
        shape: Shape,
        /// The data type asked for.
        datatype: DataType,
        /// Bytes that they take.
        wanted: usize,
        /// Bytes that were found.
        found: usize,
    },
    /// Too many or too few elements.
    #[error("shape {shape} takes {} elements, the data has {found}", shape.element_count())]
    ElementCount {
        /// The shape asked for.
        shape: Shape,
        /// Elements that were found.
        found: usize,
    },
    /// Parts that cannot be joined along axis 0.
    #[error("tensors of shape {one} and {other} cannot be joined along axis 0")]
    Mismatch {
        /// The first part's shape.
        one: Shape,
        /// The shape that differs.
        other: Shape,
    },
    /// A join of no parts.
    #[error("there is no tensor to join")]
    NothingToJoin,
    /// The machine does not give so much memory.
    #[error("there is no memory for a tensor of {bytes} bytes")]
    OutOfMemory {
        /// Bytes of its elements.
        bytes: usize,
    },
    /// A byte of a `BOOL` tensor that is neither 0 nor 1.
    #[error("element {at} of a BOOL tensor is {found}, expected 0 or 1")]
    NotBool {
        /// The element.
        at: usize,
        /// Its byte.
        found: u8,
    },
    /// The shape itself is wrong.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The byte strings are cut off.
    #[error(transparent)]
    Strings(#[from] StringsError),
}
