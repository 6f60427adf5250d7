//! The ONNX Runtime engine, over its shared library.

mod library;
mod preallocated;
mod values;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use ort::logging::LogLevel;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SessionInputValue, SessionInputs};
use ort::value::{Outlet, TensorElementType, ValueType};
use smallvec::SmallVec;
use tidegate_core::{
    DataType, Dim, EngineOptions, GraphOptimization, Signature, Tensor, TensorSpec,
};

pub(crate) use library::OnnxRuntime;

use self::preallocated::Direct;

use crate::engines::parallelism;
use crate::{Instance, LoadError, LoadedArtifact, RunError, onnx};

const ENGINE: &str = "onnxruntime";
/// A larger file is not read a second time to look for loops: it is taken to have one.
const READ_LIMIT_BYTES: u64 = 64 << 20;

impl OnnxRuntime {
    /// Reads an ONNX file; the first session is made here, so that what cannot be loaded fails
    /// here.
    pub(crate) fn load(
        &self,
        path: &Path,
        options: &EngineOptions,
        cores: usize,
    ) -> Result<OnnxRuntimeArtifact, LoadError> {
        let file_bytes = std::fs::metadata(path)
            .map_err(|source| LoadError::Read {
                path: path.to_owned(),
                source,
            })?
            .len();
        let (instances, threads) = parallelism(file_bytes, options, cores);
        let mut artifact = OnnxRuntimeArtifact {
            runtime: self.clone(),
            path: path.to_owned(),
            threads,
            optimization: options.graph_optimization,
            signature: Signature::default(),
            instances,
            has_loop: file_bytes > READ_LIMIT_BYTES
                || onnx::read(path).map_or(true, |model| onnx::has_loop(&model)),
            first: parking_lot::Mutex::new(None),
        };
        let session = artifact.session()?;
        artifact.signature = signature(&session)?;
        artifact.first = parking_lot::Mutex::new(Some(session));
        Ok(artifact)
    }
}

/// A file that sessions are made from.
pub(crate) struct OnnxRuntimeArtifact {
    runtime: OnnxRuntime,
    path: PathBuf,
    threads: usize,
    optimization: GraphOptimization,
    signature: Signature,
    instances: usize,
    has_loop: bool,
    /// The session that was made to read the signature; the first instance takes it.
    first: parking_lot::Mutex<Option<Session>>,
}

impl OnnxRuntimeArtifact {
    /// ONNX Runtime says that a session may run in many threads at once; the binding's authors
    /// found that untrue, so each instance has a session of its own.
    fn session(&self) -> Result<Session, LoadError> {
        let built = self
            .builder()
            .and_then(|mut builder| builder.commit_from_file(&self.path));
        built.map_err(|error| LoadError::Engine {
            engine: ENGINE,
            message: error.message().to_owned(),
        })
    }

    fn builder(&self) -> ort::Result<SessionBuilder> {
        let level = match self.optimization {
            GraphOptimization::None => GraphOptimizationLevel::Disable,
            GraphOptimization::Basic => GraphOptimizationLevel::Level1,
            GraphOptimization::Extended => GraphOptimizationLevel::Level2,
            GraphOptimization::All => GraphOptimizationLevel::All,
        };
        // Spinning threads win microseconds on an idle machine and take whole cores from the
        // neighbours on a busy one.
        let builder = Session::builder(self.runtime.environment())?
            .with_optimization_level(level)?
            .with_intra_threads(self.threads)?
            .with_intra_op_spinning(false)?
            .with_log_level(LogLevel::Error)?;
        Ok(builder)
    }
}

impl LoadedArtifact for OnnxRuntimeArtifact {
    fn engine(&self) -> &'static str {
        ENGINE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn default_instances(&self) -> usize {
        self.instances
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn run_time_is_bounded(&self) -> bool {
        !self.has_loop
    }

    fn instance(&self) -> Result<Box<dyn Instance>, LoadError> {
        let first = self.first.lock().take();
        let session = first.map_or_else(|| self.session(), Ok)?;
        let direct = Direct::new(&self.signature);
        Ok(Box::new(OnnxRuntimeInstance {
            session,
            inputs: self.signature.inputs.clone(),
            direct,
        }))
    }
}

fn signature(session: &Session) -> Result<Signature, LoadError> {
    let required = session
        .inputs()
        .iter()
        .map(|input| input_spec(input.name(), input.dtype(), false));
    let defaults = session.overridable_initializers();
    let optional = defaults
        .iter()
        .map(|input| input_spec(input.name(), input.dtype(), true));
    let outputs = session.outputs().iter().map(output_spec);
    Ok(Signature {
        inputs: required.chain(optional).collect::<Result<_, _>>()?,
        outputs: outputs.collect::<Result<_, _>>()?,
    })
}

fn input_spec(name: &str, kind: &ValueType, optional: bool) -> Result<TensorSpec, LoadError> {
    match kind {
        ValueType::Tensor { .. } => tensor_spec("input", name, kind, optional),
        _ => Err(LoadError::Unsupported {
            side: "input",
            name: name.to_owned(),
            problem: format!("is a {kind}, only tensors can be sent in a request"),
        }),
    }
}

fn output_spec(output: &Outlet) -> Result<TensorSpec, LoadError> {
    match output.dtype() {
        ValueType::Sequence(item) if values::is_class_scores(item) => Ok(TensorSpec {
            name: output.name().to_owned(),
            datatype: DataType::Fp32,
            dims: Some(vec![Dim::Any, Dim::Any]),
            optional: false,
        }),
        kind @ ValueType::Tensor { .. } => tensor_spec("output", output.name(), kind, false),
        kind => Err(LoadError::Unsupported {
            side: "output",
            name: output.name().to_owned(),
            problem: format!("is a {kind}, which has no tensor form"),
        }),
    }
}

fn tensor_spec(
    side: &'static str,
    name: &str,
    kind: &ValueType,
    optional: bool,
) -> Result<TensorSpec, LoadError> {
    let ValueType::Tensor { ty, shape, .. } = kind else {
        unreachable!("the caller matched a tensor")
    };
    let datatype = datatype(*ty).ok_or_else(|| LoadError::Unsupported {
        side,
        name: name.to_owned(),
        problem: format!("has element type {ty}, which is not served"),
    })?;
    // The runtime shows a scalar and a tensor of unknown rank alike: neither can be held against a
    // request.
    let dims: Option<Vec<Dim>> =
        (!shape.is_empty()).then(|| shape.iter().map(|extent| Dim::from_wire(*extent)).collect());
    Ok(TensorSpec {
        name: name.to_owned(),
        datatype,
        dims,
        optional,
    })
}

fn datatype(ty: TensorElementType) -> Option<DataType> {
    Some(match ty {
        TensorElementType::Bool => DataType::Bool,
        TensorElementType::Uint8 => DataType::Uint8,
        TensorElementType::Uint16 => DataType::Uint16,
        TensorElementType::Uint32 => DataType::Uint32,
        TensorElementType::Uint64 => DataType::Uint64,
        TensorElementType::Int8 => DataType::Int8,
        TensorElementType::Int16 => DataType::Int16,
        TensorElementType::Int32 => DataType::Int32,
        TensorElementType::Int64 => DataType::Int64,
        TensorElementType::Float16 => DataType::Fp16,
        TensorElementType::Bfloat16 => DataType::Bf16,
        TensorElementType::Float32 => DataType::Fp32,
        TensorElementType::Float64 => DataType::Fp64,
        TensorElementType::String => DataType::Bytes,
        _ => return None,
    })
}

struct OnnxRuntimeInstance {
    session: Session,
    inputs: Vec<TensorSpec>,
    /// The short way, until a run shows that it is not for this graph.
    direct: Option<Direct>,
}

impl Instance for OnnxRuntimeInstance {
    fn run(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, RunError> {
        // Values borrow the tensors' memory, so an unaligned one is copied here, where it outlives
        // the run.
        let aligned: SmallVec<[Option<Tensor>; 4]>;
        let inputs = if inputs.iter().flatten().all(Tensor::is_aligned) {
            inputs
        } else {
            aligned = inputs
                .iter()
                .map(|tensor| tensor.clone().map(Tensor::aligned))
                .collect();
            &aligned
        };
        let Some(direct) = &self.direct else {
            return self.run_general(inputs);
        };
        match direct.run(&mut self.session, inputs) {
            Ok(Some(outputs)) => Ok(outputs),
            Ok(None) => self.run_general(inputs),
            Err(_) => {
                // Either the input is bad, or an output has another shape than its spec and rows
                // promise.
                let outputs = self.run_general(inputs)?;
                self.direct = None;
                Ok(outputs)
            }
        }
    }
}

impl OnnxRuntimeInstance {
    /// A run that takes every kind of value and any shape of output.
    fn run_general(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, RunError> {
        let mut values: SmallVec<[SessionInputValue<'_>; 4]> = SmallVec::new();
        let mut names: Option<Vec<&str>> = None;
        for (spec, tensor) in self.inputs.iter().zip(inputs) {
            if let Some(tensor) = tensor {
                values.push(values::to_value(&spec.name, tensor)?);
            }
            if tensor.is_none() || spec.optional {
                names.get_or_insert_default();
            }
        }
        if let Some(names) = &mut names {
            let given = self
                .inputs
                .iter()
                .zip(inputs)
                .filter(|(_, tensor)| tensor.is_some());
            names.extend(given.map(|(spec, _)| spec.name.as_str()));
        }
        let session_inputs: SessionInputs<'_, '_> = match names {
            None => SessionInputs::ValueSlice(&values),
            Some(names) => SessionInputs::ValueMap(
                names
                    .into_iter()
                    .map(Cow::Borrowed)
                    .zip(values.drain(..))
                    .collect(),
            ),
        };
        let outputs = self
            .session
            .run(session_inputs)
            .map_err(|e| RunError::Engine(e.message().to_owned()))?;
        outputs
            .values()
            .map(|value| values::from_value(&value))
            .collect()
    }
}
