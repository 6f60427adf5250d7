//! What an ONNX file says of itself, read from its protobuf.

use std::collections::BTreeMap;
use std::path::Path;

use tidegate_core::{DataType, Dim, Signature, TensorSpec};
use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{self, tensor_shape_proto::dimension};
use tract_onnx::prelude::Framework;

mod weights;

use crate::LoadError;

/// What a person wants to know of an artifact before serving it.
#[derive(Clone, Debug)]
pub struct ArtifactSummary {
    /// Who wrote the file, such as `skl2onnx 1.20.0`.
    pub producer: String,
    /// Operator sets and their versions, as `domain → version`; the default domain is `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    /// Operators and how often each stands in the graph, as `domain.Operator`, without the default
    /// domain.
    pub operators: BTreeMap<String, usize>,
    /// Bytes of the weights inside the file.
    pub weight_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Tensors with weights that are not a number.
    pub nan_weights: Vec<String>,
    /// What it takes and gives.
    pub signature: Result<Signature, String>,
}

impl ArtifactSummary {
    /// Whether axis 0 of every input and output takes any extent, as a batch axis must.
    pub fn batch_axis_is_dynamic(&self) -> bool {
        self.signature.as_ref().is_ok_and(|signature| {
            let mut specs = signature.inputs.iter().chain(&signature.outputs);
            !signature.inputs.is_empty()
                && specs.all(|spec| spec.dims.is_none() || spec.has_dynamic_first_axis())
        })
    }

    /// A first guess at the memory of one loaded instance: the file, and its weights again as the
    /// engine packs them.
    pub fn memory_estimate_bytes(&self) -> u64 {
        self.file_bytes + self.weight_bytes
    }
}

/// Reads the whole protobuf of a file.
pub(crate) fn read(path: &Path) -> Result<pb::ModelProto, LoadError> {
    let mut file = std::fs::File::open(path).map_err(|source| LoadError::Read {
        path: path.to_owned(),
        source,
    })?;
    let model = tract_onnx::onnx().proto_model_for_read(&mut file);
    let model = model.map_err(|error| not_onnx(&format!("{error:#}")))?;
    if model.graph.is_none() {
        return Err(not_onnx("it has no graph"));
    }
    weights::stay_inside(&model, path)?;
    Ok(model)
}

fn not_onnx(message: &str) -> LoadError {
    LoadError::Engine {
        engine: "portable",
        message: format!("the file is no ONNX model: {message}"),
    }
}

/// Reads what a file says of itself.
pub(crate) fn summarize(path: &Path) -> Result<ArtifactSummary, LoadError> {
    let model = read(path)?;
    let graph = model.graph.clone().unwrap_or_default();
    let file_bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut operators = BTreeMap::new();
    for node in &graph.node {
        let name = match node.domain.as_str() {
            "" | "ai.onnx" => node.op_type.clone(),
            domain => format!("{domain}.{}", node.op_type),
        };
        *operators.entry(name).or_insert(0) += 1;
    }
    let opset_name = |domain: &str| {
        if domain.is_empty() {
            "ai.onnx".to_owned()
        } else {
            domain.to_owned()
        }
    };
    Ok(ArtifactSummary {
        producer: format!("{} {}", model.producer_name, model.producer_version)
            .trim()
            .to_owned(),
        opsets: model
            .opset_import
            .iter()
            .map(|opset| (opset_name(&opset.domain), opset.version))
            .collect(),
        operators,
        weight_bytes: weight_bytes(&graph),
        nan_weights: weights::not_a_number(&model),
        file_bytes,
        signature: signature(&graph).map_err(|error| error.to_string()),
    })
}

/// Whether a graph, or one inside it, repeats itself as often as its inputs say: `Loop`, `Scan`,
/// and the search operators of text generation.
pub(crate) fn has_loop(model: &pb::ModelProto) -> bool {
    let loops =
        |node: &pb::NodeProto| matches!(node.op_type.as_str(), "Loop" | "Scan" | "Sampling");
    nodes(model)
        .into_iter()
        .any(|node| loops(node) || node.op_type.ends_with("Search"))
}

/// Whether there are trees for two classes that score one of them only, as LightGBM and XGBoost
/// make them.
pub(crate) fn has_one_sided_trees(model: &pb::ModelProto) -> bool {
    let is_one_sided = |node: &pb::NodeProto| {
        let attribute = |name: &str| {
            node.attribute
                .iter()
                .find(|attribute| attribute.name == name)
        };
        let numbers = attribute("classlabels_int64s").map_or(0, |labels| labels.ints.len());
        let texts = attribute("classlabels_strings").map_or(0, |labels| labels.strings.len());
        let scored = attribute("class_ids").map_or(&[][..], |ids| &ids.ints);
        numbers.max(texts) < 3 && scored.iter().all(|class| *class == 0)
    };
    nodes(model)
        .into_iter()
        .any(|node| node.op_type == "TreeEnsembleClassifier" && is_one_sided(node))
}

/// The nodes of a model, of its functions, and of the graphs inside its nodes.
fn nodes(model: &pb::ModelProto) -> Vec<&pb::NodeProto> {
    let functions = model.functions.iter().flat_map(|function| &function.node);
    let mut nodes: Vec<&pb::NodeProto> = model
        .graph
        .iter()
        .flat_map(|graph| &graph.node)
        .chain(functions)
        .collect();
    let mut at = 0;
    while let Some(node) = nodes.get(at) {
        let graphs = node
            .attribute
            .iter()
            .flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
        nodes.extend(graphs.flat_map(|graph| &graph.node));
        at += 1;
    }
    nodes
}

/// Weights stand in initializers, or, for trees, in the attributes of nodes.
fn weight_bytes(graph: &pb::GraphProto) -> u64 {
    let initializers = graph.initializer.iter().map(|tensor| {
        let packed =
            tensor.raw_data.len() + 4 * tensor.float_data.len() + 4 * tensor.int32_data.len();
        packed + 8 * tensor.int64_data.len() + 8 * tensor.double_data.len()
    });
    let attributes = graph
        .node
        .iter()
        .flat_map(|node| &node.attribute)
        .map(|attribute| {
            4 * attribute.floats.len()
                + 8 * attribute.ints.len()
                + attribute.strings.iter().map(Vec::len).sum::<usize>()
                + attribute
                    .t
                    .as_ref()
                    .map_or(0, |tensor| tensor.raw_data.len())
        });
    initializers.chain(attributes).sum::<usize>() as u64
}

/// The signature of a graph; inputs that have an initializer of the same name are optional.
pub(crate) fn signature(graph: &pb::GraphProto) -> Result<Signature, LoadError> {
    let has_default = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    let inputs = graph
        .input
        .iter()
        .map(|value| spec("input", value, has_default(&value.name)));
    let outputs = graph
        .output
        .iter()
        .map(|value| spec("output", value, false));
    Ok(Signature {
        inputs: inputs.collect::<Result<_, _>>()?,
        outputs: outputs.collect::<Result<_, _>>()?,
    })
}

fn spec(
    side: &'static str,
    value: &pb::ValueInfoProto,
    optional: bool,
) -> Result<TensorSpec, LoadError> {
    let unsupported = |problem: &str| LoadError::Unsupported {
        side,
        name: value.name.clone(),
        problem: problem.to_owned(),
    };
    let tensor = match value.r#type.as_ref().and_then(|kind| kind.value.as_ref()) {
        Some(Value::TensorType(tensor)) => tensor,
        None => {
            return Err(unsupported(
                "is a sequence or a map, which the portable engine does not give; export the model with zipmap=False",
            ));
        }
    };
    let datatype = datatype(tensor.elem_type)
        .ok_or_else(|| unsupported("has an element type that is not served"))?;
    let dims = tensor.shape.as_ref().map(|shape| {
        let dim = |dim: &pb::tensor_shape_proto::Dimension| match &dim.value {
            Some(dimension::Value::DimValue(extent)) => Dim::from_wire(*extent),
            Some(dimension::Value::DimParam(_)) | None => Dim::Any,
        };
        shape.dim.iter().map(dim).collect()
    });
    Ok(TensorSpec {
        name: value.name.clone(),
        datatype,
        dims,
        optional,
    })
}

/// The numbers of ONNX's `TensorProto.DataType`.
fn datatype(number: i32) -> Option<DataType> {
    Some(match number {
        1 => DataType::Fp32,
        2 => DataType::Uint8,
        3 => DataType::Int8,
        4 => DataType::Uint16,
        5 => DataType::Int16,
        6 => DataType::Int32,
        7 => DataType::Int64,
        8 => DataType::Bytes,
        9 => DataType::Bool,
        10 => DataType::Fp16,
        11 => DataType::Fp64,
        12 => DataType::Uint32,
        13 => DataType::Uint64,
        16 => DataType::Bf16,
        _ => return None,
    })
}
