//! What executes an artifact: one trait, several engines.
//!
//! In: the path of an artifact, how to run it, and batches of tensors. Out: a signature, instances,
//! and their outputs. This room knows nothing of requests, queues, names or versions.

mod engine;
mod engines;
mod onnx;
mod onnxruntime;
mod portable;

pub use engine::{Instance, LoadError, LoadedArtifact, RunError};
pub use engines::{Engines, OnnxRuntimeStatus};
pub use onnx::ArtifactSummary;
