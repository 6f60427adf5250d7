//! The portable engine: tract, pure Rust, no shared library.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use tidegate_core::{DataType, EngineOptions, Shape, Signature, StringArray, Tensor, TensorView};
use tract_onnx::pb;
use tract_onnx::pb::tensor_shape_proto::dimension;
use tract_onnx::pb::type_proto::Value;
use tract_onnx::prelude as tract;
use tract_onnx::prelude::{Framework, InferenceModelExt, IntoRunnable};

use crate::engines::parallelism;
use crate::{Instance, LoadError, LoadedArtifact, RunError, onnx};

const ENGINE: &str = "portable";

/// An optimized graph, shared by its instances.
pub(crate) struct PortableArtifact {
    plan: Arc<tract::TypedRunnableModel>,
    signature: Signature,
    instances: usize,
    has_loop: bool,
}

/// Reads and optimizes an ONNX file.
pub(crate) fn load(
    path: &Path,
    options: &EngineOptions,
    cores: usize,
) -> Result<PortableArtifact, LoadError> {
    let mut model = onnx::read(path)?;
    let has_loop = onnx::has_loop(&model);
    if onnx::has_one_sided_trees(&model) {
        // tract picks the label before it has made the second class's score, and so always the
        // wrong one.
        let problem = "TreeEnsembleClassifier with two classes gives wrong labels on this engine: use ONNX Runtime";
        return Err(engine_error(problem.to_owned()));
    }
    let graph = model
        .graph
        .as_mut()
        .expect("read refuses a model without a graph");
    let mut signature = onnx::signature(graph)?;
    // An initializer with the name of an input is a constant to this engine: the input cannot be
    // given.
    signature.inputs.retain(|input| !input.optional);
    if let Some(spec) = signature
        .inputs
        .iter()
        .chain(&signature.outputs)
        .find(|s| s.datatype == DataType::Bf16)
    {
        return Err(engine_error(format!(
            "\"{}\" is BF16, which this engine does not have",
            spec.name
        )));
    }
    name_open_dims(graph);
    let build = || {
        tract_onnx::onnx()
            .model_for_proto_model(&model)
            .and_then(InferenceModelExt::into_optimized)
            .and_then(|model| model.into_runnable())
            .map_err(|error| format!("{error:#}"))
    };
    let plan = without_panic(build).map_err(engine_error)?;
    for (at, spec) in signature.outputs.iter().enumerate() {
        let fact = plan
            .model()
            .output_fact(at)
            .map_err(|error| engine_error(format!("{error:#}")))?;
        let constant = fact
            .konst
            .as_ref()
            .filter(|constant| constant.datum_type() == tract::DatumType::TDim);
        if constant.is_some_and(|constant| constant.cast_to::<i64>().is_err()) {
            let problem =
                "is the shape of an input with open extents, which this engine cannot give"
                    .to_owned();
            return Err(LoadError::Unsupported {
                side: "output",
                name: spec.name.clone(),
                problem,
            });
        }
    }
    let file_bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let (instances, _) = parallelism(file_bytes, options, cores);
    Ok(PortableArtifact {
        plan,
        signature,
        instances,
        has_loop,
    })
}

/// tract panics on some graphs and some values instead of returning an error. What it works on is
/// not used again after a panic, so that the panic can be an error here.
fn without_panic<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(text.unwrap_or_else(|| "the engine panicked".to_owned()))
    })
}

/// tract needs a symbol for every open extent; exporters often leave them blank.
fn name_open_dims(graph: &mut pb::GraphProto) {
    let inputs = graph.input.iter_mut().enumerate();
    for (at, input) in inputs {
        let Some(Value::TensorType(tensor)) =
            input.r#type.as_mut().and_then(|kind| kind.value.as_mut())
        else {
            continue;
        };
        for (axis, dim) in tensor
            .shape
            .iter_mut()
            .flat_map(|shape| &mut shape.dim)
            .enumerate()
        {
            let open = match &dim.value {
                None => true,
                Some(dimension::Value::DimValue(extent)) => *extent < 0,
                Some(dimension::Value::DimParam(name)) => name.is_empty(),
            };
            if open {
                // Exporters that leave axis 0 blank mean the batch: one symbol for all inputs.
                let name = if axis == 0 {
                    "open_batch".to_owned()
                } else {
                    format!("open_{at}_{axis}")
                };
                dim.value = Some(dimension::Value::DimParam(name));
            }
        }
    }
}

fn engine_error(message: String) -> LoadError {
    LoadError::Engine {
        engine: ENGINE,
        message,
    }
}

impl LoadedArtifact for PortableArtifact {
    fn engine(&self) -> &'static str {
        ENGINE
    }

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
        let names = self
            .signature
            .inputs
            .iter()
            .map(|input| input.name.clone())
            .collect();
        Ok(Box::new(PortableInstance {
            plan: self.plan.clone(),
            names,
        }))
    }
}

struct PortableInstance {
    plan: Arc<tract::TypedRunnableModel>,
    names: Vec<String>,
}

impl Instance for PortableInstance {
    fn run(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, RunError> {
        let mut values = tract::TVec::new();
        for (tensor, name) in inputs.iter().zip(&self.names) {
            let tensor = tensor.as_ref().expect("this engine has no optional inputs");
            values.push(to_tract(name, tensor)?.into());
        }
        let run = || self.plan.run(values).map_err(|error| format!("{error:#}"));
        let outputs = without_panic(run).map_err(RunError::Engine)?;
        outputs.iter().map(|value| from_tract(value)).collect()
    }
}

fn to_tract(name: &str, tensor: &Tensor) -> Result<tract::Tensor, RunError> {
    let shape = tensor.shape();
    let input_error = |problem: String| RunError::Input {
        name: name.to_owned(),
        problem,
    };

    match tensor.view() {
        TensorView::Strings(strings) => {
            let texts: Result<Vec<String>, _> = strings
                .iter()
                .map(|text| String::from_utf8(text.to_vec()))
                .collect();
            let texts =
                texts.map_err(|_| input_error("holds a string that is not UTF-8".to_owned()))?;
            tract::tract_ndarray::ArrayD::from_shape_vec(&shape[..], texts)
                .map(tract::Tensor::from)
                .map_err(|error| input_error(error.to_string()))
        }
        TensorView::Fixed(bytes) if tensor.datatype() == DataType::Bool => {
            let bools: Vec<bool> = bytes.iter().map(|byte| *byte != 0).collect();
            tract::Tensor::from_shape(shape, &bools).map_err(|error| input_error(error.to_string()))
        }
        TensorView::Fixed(_) if tensor.datatype() == DataType::Bf16 => Err(input_error(
            "is BF16, which this engine does not have".to_owned(),
        )),
        TensorView::Fixed(_) => {
            fixed_to_tract(tensor).map_err(|error| input_error(error.to_string()))
        }
    }
}

fn fixed_to_tract(tensor: &Tensor) -> tract::TractResult<tract::Tensor> {
    macro_rules! build {
        ($rust:ty) => {{
            let elements = tensor
                .to_vec::<$rust>()
                .expect("the element type was matched");
            tract::Tensor::from_shape(tensor.shape(), &elements)
        }};
    }
    match tensor.datatype() {
        DataType::Uint8 => build!(u8),
        DataType::Uint16 => build!(u16),
        DataType::Uint32 => build!(u32),
        DataType::Uint64 => build!(u64),
        DataType::Int8 => build!(i8),
        DataType::Int16 => build!(i16),
        DataType::Int32 => build!(i32),
        DataType::Int64 => build!(i64),
        DataType::Fp16 => build!(tidegate_core::f16),
        DataType::Fp32 => build!(f32),
        DataType::Fp64 => build!(f64),
        DataType::Bf16 | DataType::Bool | DataType::Bytes => unreachable!("handled by the caller"),
    }
}

fn from_tract(value: &tract::Tensor) -> Result<Tensor, RunError> {
    let failed = |error: String| RunError::Engine(format!("output cannot be read: {error}"));
    let shape = Shape::new(value.shape()).map_err(|error| failed(error.to_string()))?;
    let datatype = match value.datum_type() {
        tract::DatumType::Bool => DataType::Bool,
        tract::DatumType::U8 => DataType::Uint8,
        tract::DatumType::U16 => DataType::Uint16,
        tract::DatumType::U32 => DataType::Uint32,
        tract::DatumType::U64 => DataType::Uint64,
        tract::DatumType::I8 => DataType::Int8,
        tract::DatumType::I16 => DataType::Int16,
        tract::DatumType::I32 => DataType::Int32,
        tract::DatumType::I64 => DataType::Int64,
        tract::DatumType::F16 => DataType::Fp16,
        tract::DatumType::F32 => DataType::Fp32,
        tract::DatumType::F64 => DataType::Fp64,
        tract::DatumType::String => DataType::Bytes,
        // Shape arithmetic that reached an output.
        tract::DatumType::TDim => {
            let cast = value
                .cast_to::<i64>()
                .map_err(|error| failed(error.to_string()))?;
            return from_tract(&cast);
        }
        other => return Err(failed(format!("element type {other:?} is not served"))),
    };
    let tensor = match datatype {
        DataType::Bytes => {
            let texts = value
                .to_plain_array_view::<String>()
                .map_err(|error| failed(error.to_string()))?;
            Tensor::from_strings(shape, texts.iter().collect::<StringArray>())
        }
        DataType::Bool => {
            let bools = value
                .to_plain_array_view::<bool>()
                .map_err(|error| failed(error.to_string()))?;
            Tensor::from_wire(
                datatype,
                shape,
                bools
                    .iter()
                    .map(|b| u8::from(*b))
                    .collect::<Vec<_>>()
                    .into(),
            )
        }
        _ => {
            let bytes = value.as_bytes().to_vec();
            Tensor::from_wire(datatype, shape, bytes.into())
        }
    };
    tensor
        .map(Tensor::aligned)
        .map_err(|error| failed(error.to_string()))
}
