//! The portable engine: tract, which is pure Rust and needs no shared library.

mod graph;
mod values;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use tidegate_core::{EngineOptions, Signature, Tensor};
use tract_onnx::prelude as tract;

use crate::engines::parallelism;
use crate::{Allocator, Engine, EngineStatus, Instance, LoadError, LoadedArtifact, RunError, onnx};

pub(crate) const NAME: &str = "portable";

/// The engine that is part of every binary.
pub(crate) struct PortableEngine;

impl Engine for PortableEngine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn description(&self) -> &'static str {
        "Pure Rust: no shared library, but fewer operators"
    }

    fn platform(&self) -> &'static str {
        "tidegate_portable"
    }

    fn extensions(&self) -> &'static [&'static str] {
        onnx::EXTENSIONS
    }

    fn allocator(&self) -> Allocator {
        Allocator::Process
    }

    /// A run has one thread; `intra_op_threads` only changes how many instances there are.
    fn options(&self) -> &'static [&'static str] {
        &["instances", "intra_op_threads"]
    }

    fn status(&self) -> EngineStatus {
        EngineStatus::BuiltIn
    }

    fn load(
        &self,
        path: &Path,
        options: &EngineOptions,
        cores: usize,
    ) -> Result<Arc<dyn LoadedArtifact>, LoadError> {
        let mut model = onnx::read(path)?;
        let signature = graph::supported_signature(&model)?;
        let has_loop = onnx::has_loop(&model);
        graph::name_open_dims(&mut model);
        let plan = without_panic(|| graph::plan(&model)).map_err(engine_error)?;
        graph::check_outputs(&plan, &signature)?;
        let file_bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let (instances, _) = parallelism(file_bytes, options, cores);
        Ok(Arc::new(PortableArtifact {
            plan,
            signature,
            instances,
            has_loop,
        }))
    }
}

fn engine_error(message: String) -> LoadError {
    LoadError::Engine {
        engine: NAME,
        message,
    }
}

/// Turns a panic into an error: tract panics on some graphs and some values. What it worked on is
/// not used after a panic, so nothing is left in a broken state.
fn without_panic<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(text.unwrap_or_else(|| "the engine panicked".to_owned()))
    })
}

/// An optimized graph, shared by its instances.
struct PortableArtifact {
    plan: Arc<tract::TypedRunnableModel>,
    signature: Signature,
    instances: usize,
    has_loop: bool,
}

impl LoadedArtifact for PortableArtifact {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn default_instances(&self) -> usize {
        self.instances
    }

    fn run_time_is_bounded(&self) -> bool {
        !self.has_loop
    }

    fn instance(&self) -> Result<Box<dyn Instance>, LoadError> {
        let inputs = self.signature.inputs.iter();
        Ok(Box::new(PortableInstance {
            plan: self.plan.clone(),
            names: inputs.map(|input| input.name.clone()).collect(),
        }))
    }
}

struct PortableInstance {
    plan: Arc<tract::TypedRunnableModel>,
    names: Vec<String>,
}

impl Instance for PortableInstance {
    fn run(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, RunError> {
        let mut tensors = tract::TVec::new();
        for (tensor, name) in inputs.iter().zip(&self.names) {
            let tensor = tensor.as_ref().expect("this engine has no optional inputs");
            tensors.push(values::to_tract(name, tensor)?.into());
        }
        let outputs =
            without_panic(|| self.plan.run(tensors).map_err(|error| format!("{error:#}")))
                .map_err(RunError::Engine)?;
        outputs
            .iter()
            .map(|value| values::from_tract(value))
            .collect()
    }
}
