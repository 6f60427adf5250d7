//! The seam between the engines and everything above them.

use std::path::PathBuf;

use thiserror::Error;
use tidegate_core::{Signature, Tensor};

/// An artifact that an engine has read and can run.
pub trait LoadedArtifact: Send + Sync {
    /// The name of the engine, as metrics and messages show it.
    fn engine(&self) -> &'static str;

    /// What the artifact takes and gives.
    fn signature(&self) -> &Signature;

    /// How many instances suit this machine and this artifact.
    fn default_instances(&self) -> usize;

    /// How many threads a run keeps busy.
    fn threads(&self) -> usize {
        1
    }

    /// Whether the time of a run follows from the size of its inputs. It does not where the graph
    /// loops as often as its inputs say.
    fn run_time_is_bounded(&self) -> bool;

    /// One more copy that can run a batch of its own.
    ///
    /// # Errors
    /// [`LoadError::Engine`] if the engine refuses, for example for want of memory.
    fn instance(&self) -> Result<Box<dyn Instance>, LoadError>;
}

/// A copy of an artifact that runs one batch at a time.
pub trait Instance: Send {
    /// Runs the inputs, in the order of the signature, `None` for an optional input that was left
    /// out, and gives the outputs in the order of the signature.
    ///
    /// # Errors
    /// [`RunError::Input`] if the values cannot be run, [`RunError::Engine`] for everything else.
    fn run(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, RunError>;
}

/// Why an artifact cannot be served.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// ONNX Runtime was asked for and its library is not there.
    #[error("engine \"onnxruntime\" is not available: {reason}")]
    OnnxRuntimeMissing {
        /// Where it was looked for, or why it cannot be used.
        reason: String,
    },
    /// An input or output of a kind that is not served.
    #[error("{side} \"{name}\" {problem}")]
    Unsupported {
        /// `input` or `output`.
        side: &'static str,
        /// Its name.
        name: String,
        /// What it is and what to do.
        problem: String,
    },
    /// The engine does not take the artifact.
    #[error("the {engine} engine cannot load the model: {message}")]
    Engine {
        /// The engine's name.
        engine: &'static str,
        /// What the engine says.
        message: String,
    },
}

/// Why a batch has no outputs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RunError {
    /// The engine cannot take these values.
    #[error("input \"{name}\" {problem}")]
    Input {
        /// The input.
        name: String,
        /// What is wrong with its values.
        problem: String,
    },
    /// The engine failed.
    #[error("the model failed: {0}")]
    Engine(String),
}
