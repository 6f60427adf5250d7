//! Engines execute artifacts, such as an ONNX file. They all stand behind one trait, [`Engine`].
//!
//! In: the path of an artifact, options, and batches of tensors. Out: a signature, instances, and
//! their outputs. This crate must never depend on requests, queues, model names or versions.
//!
//! To add an engine, write a module that implements [`Engine`] and add a line to the list in
//! `engines.rs`. The command line, the configuration, the manifest's JSON Schema and the search for
//! model files read that list. The engine `remote`, which has no files of its own, is in a crate
//! above this one and joins with [`Engines::with`].
//!
//! ```
//! use std::path::Path;
//!
//! use tidegate_core::{EngineChoice, EngineOptions};
//! use tidegate_engines::Engines;
//!
//! let engines = Engines::portable_only();
//! let path = Path::new(concat!(
//!     env!("CARGO_MANIFEST_DIR"),
//!     "/../../examples/models/digits/model.onnx",
//! ));
//! let artifact = engines.load(path, &EngineChoice::Auto, &EngineOptions::default())?;
//! assert_eq!(artifact.signature().inputs[0].name, "image");
//! let mut instance = artifact.instance()?;
//! # let image = tidegate_core::Shape::new(&[2, 64]).expect("two rows of 64 pixels");
//! # let image = tidegate_core::Tensor::from_vec(image, vec![0f32; 128]).expect("it fits");
//! let outputs = instance.run(&[Some(image)])?;
//! assert_eq!(outputs[0].rows(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod engine;
mod engines;
mod error;
mod onnx;
mod onnxruntime;
mod portable;

pub use engine::{
    Allocator, ConcurrentRunner, Engine, EngineStatus, FinishedRun, Instance, LoadedArtifact,
    RunContext, RunFuture,
};
pub use engines::{
    Engines, ONNX_RUNTIME, PORTABLE, REMOTE, all, artifact_in, check_name, is_artifact,
};
pub use error::{LoadError, RunError, UpstreamFailure};
pub use onnx::ArtifactSummary;
