//! The words that every other room speaks: tensors, data types, signatures and manifests.
//!
//! In: bytes and shapes that others read from a wire or a file. Out: checked values — once a
//! [`Tensor`] or a [`Signature`] exists, it is right. This crate does no I/O, knows no async and no
//! engine.

mod datatype;
mod manifest;
mod names;
mod shape;
mod signature;
mod strings;
mod tensor;
mod trace;

pub use half::{bf16, f16};
pub use names::{InvalidModelName, ModelName};

pub use datatype::{DataType, UnknownDataType};
pub use manifest::{
    Batching, Category, Column, DeclaredSignature, DeclaredTensor, EngineChoice, EngineOptions,
    FileSpec, GoldenSample, GraphOptimization, Lineage, Manifest, OutputSpec, ResourceLimits,
    Tolerance, WarmupSample,
};
pub use shape::{Shape, ShapeError};
pub use signature::{Dim, Signature, SignatureError, TensorSpec};
pub use strings::{StringArray, StringArrayBuilder, StringsError};
pub use tensor::{Element, Tensor, TensorBuffer, TensorError, TensorView};
pub use trace::TraceContext;
