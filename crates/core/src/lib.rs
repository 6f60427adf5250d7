//! The words that every other room speaks: tensors, data types, signatures and manifests.
//!
//! In: bytes and shapes that others read from a wire or a file. Out: checked values — once a [`Tensor`] or a
//! [`Signature`] exists, it is right. This crate does no I/O, knows no async and no engine.

mod datatype;
mod manifest;
mod shape;
mod signature;
mod strings;
mod tensor;

pub use half::{bf16, f16};

pub use datatype::{DataType, UnknownDataType};
pub use manifest::{Batching, EngineChoice, EngineOptions, GraphOptimization, Manifest, OutputSpec};
pub use shape::{Shape, ShapeError};
pub use signature::{Dim, Signature, SignatureError, TensorSpec};
pub use strings::{StringArray, StringArrayBuilder, StringsError};
pub use tensor::{Element, Tensor, TensorBuffer, TensorError, TensorView};
