//! A summary of an ONNX file, read from its protobuf.

mod nodes;
mod weights;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use tidegate_core::{DataType, Dim, Signature, TensorSpec};
use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{self, tensor_shape_proto::dimension};
use tract_onnx::prelude::Framework;

use self::nodes::nodes;
use crate::LoadError;

/// The extensions of ONNX files.
pub(crate) const EXTENSIONS: &[&str] = &["onnx"];

/// The facts about an artifact that matter before it is served.
#[derive(Clone, Debug)]
pub struct ArtifactSummary {
    /// The exporter that wrote the file, such as `skl2onnx 1.20.0`.
    pub producer: String,
    /// Operator sets and their versions, as `domain → version`; the default domain is `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    /// How often each operator occurs in the graph, by `domain.Operator`; the default domain is left
    /// out.
    pub operators: BTreeMap<String, usize>,
    /// Bytes of the weights inside the file.
    pub weight_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Tensors with weights that are not a number.
    pub nan_weights: Vec<String>,
    /// The files beside it that have weights, relative to its folder.
    pub weight_files: Vec<String>,
    /// Its inputs and outputs, or why they cannot be read.
    pub signature: Result<Signature, String>,
}

impl ArtifactSummary {
    /// Whether axis 0 of every input and output takes any extent, as a batch axis must.
    pub fn batch_axis_is_dynamic(&self) -> bool {
        self.signature.as_ref().is_ok_and(|signature| {
            let mut specs = signature.inputs.iter().chain(&signature.outputs);
            !signature.inputs.is_empty()
                // A tensor of unknown shape may have the axis; the first run shows whether it has.
                && specs.all(|spec| spec.dims.is_none() || spec.has_dynamic_first_axis())
        })
    }

    /// A first guess at the memory of one loaded instance: the file, and its weights again as the
    /// engine packs them.
    pub fn memory_estimate_bytes(&self) -> u64 {
        self.file_bytes + self.weight_bytes
    }
}

/// Reads the summary of a file.
pub(crate) fn summarize(path: &Path) -> Result<ArtifactSummary, LoadError> {
    let model = read(path)?;
    let graph = model.graph.clone().unwrap_or_default();
    let file_bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let producer = format!("{} {}", model.producer_name, model.producer_version);
    Ok(ArtifactSummary {
        producer: producer.trim().to_owned(),
        opsets: opsets(&model),
        operators: operators(&graph),
        weight_bytes: weight_bytes(&graph),
        nan_weights: weights::not_a_number(&model),
        weight_files: weights::external_files(&model),
        file_bytes,
        signature: signature(&graph).map_err(|error| error.to_string()),
    })
}

/// The path by which an engine finds the weights of a model: what a link points to where the
/// weights lie beside that.
pub(crate) fn path_beside_weights(path: &Path) -> PathBuf {
    // Files that have their weights in others are small.
    const READ_LIMIT_BYTES: u64 = 64 << 20;
    let is_small = std::fs::metadata(path).is_ok_and(|file| file.len() <= READ_LIMIT_BYTES);
    if !path.is_symlink() || !is_small {
        return path.to_owned();
    }
    match parse(path) {
        Ok(model) => weights::beside_weights(&model, path),
        Err(_) => path.to_owned(),
    }
}

/// Reads the whole protobuf of a file.
pub(crate) fn read(path: &Path) -> Result<pb::ModelProto, LoadError> {
    let model = parse(path)?;
    weights::check_external_files(&model, &weights::beside_weights(&model, path))?;
    Ok(model)
}

fn parse(path: &Path) -> Result<pb::ModelProto, LoadError> {
    let mut file = std::fs::File::open(path).map_err(|source| LoadError::Read {
        path: path.to_owned(),
        source,
    })?;
    let model = tract_onnx::onnx().proto_model_for_read(&mut file);
    let model = model.map_err(|error| not_onnx(&format!("{error:#}")))?;
    if model.graph.is_none() {
        return Err(not_onnx("it has no graph"));
    }
    Ok(model)
}

fn not_onnx(message: &str) -> LoadError {
    LoadError::Engine {
        engine: "portable",
        message: format!("the file is not an ONNX model: {message}"),
    }
}

const DEFAULT_DOMAIN: &str = "ai.onnx";

fn opsets(model: &pb::ModelProto) -> BTreeMap<String, i64> {
    let mut opsets = BTreeMap::new();
    for opset in &model.opset_import {
        let domain = match opset.domain.as_str() {
            "" => DEFAULT_DOMAIN,
            domain => domain,
        };
        opsets.insert(domain.to_owned(), opset.version);
    }
    opsets
}

fn operators(graph: &pb::GraphProto) -> BTreeMap<String, usize> {
    let mut operators = BTreeMap::new();
    for node in &graph.node {
        let name = match node.domain.as_str() {
            "" | DEFAULT_DOMAIN => node.op_type.clone(),
            domain => format!("{domain}.{}", node.op_type),
        };
        *operators.entry(name).or_insert(0) += 1;
    }
    operators
}

/// Whether a graph, or one inside it, has an operator that repeats its work as often as the values
/// of its inputs say: `Loop`, `Scan`, and the search operators of text generation.
pub(crate) fn has_loop(model: &pb::ModelProto) -> bool {
    nodes(model).into_iter().any(|node| {
        let operator = node.op_type.as_str();
        matches!(operator, "Loop" | "Scan" | "Sampling") || operator.ends_with("Search")
    })
}

/// Whether there are trees for two classes that score only one of them, as LightGBM and XGBoost
/// export them.
pub(crate) fn has_one_sided_trees(model: &pb::ModelProto) -> bool {
    nodes(model)
        .into_iter()
        .any(|node| node.op_type == "TreeEnsembleClassifier" && is_one_sided(node))
}

fn is_one_sided(node: &pb::NodeProto) -> bool {
    let numbers = attribute(node, "classlabels_int64s").map_or(0, |labels| labels.ints.len());
    let texts = attribute(node, "classlabels_strings").map_or(0, |labels| labels.strings.len());
    let scored = attribute(node, "class_ids").map_or(&[][..], |ids| &ids.ints);
    numbers.max(texts) < 3 && scored.iter().all(|class| *class == 0)
}

/// The names of the classes of each output that is a sequence of maps from classes to scores, in the
/// order of the graph (the operator `ZipMap`).
pub(crate) fn classes_of_maps(model: &pb::ModelProto) -> HashMap<String, Vec<String>> {
    let mut classes = HashMap::new();
    let graph_nodes = model.graph.iter().flat_map(|graph| &graph.node);
    for node in graph_nodes.filter(|node| node.op_type == "ZipMap") {
        let texts = attribute(node, "classlabels_strings").map(|labels| &labels.strings);
        let numbers = attribute(node, "classlabels_int64s").map(|labels| &labels.ints);
        let names: Vec<String> = match (texts, numbers) {
            (Some(texts), _) if !texts.is_empty() => texts
                .iter()
                .map(|text| String::from_utf8_lossy(text).into_owned())
                .collect(),
            (_, Some(numbers)) => numbers.iter().map(i64::to_string).collect(),
            _ => continue,
        };
        for output in &node.output {
            classes.insert(output.clone(), names.clone());
        }
    }
    classes
}

fn attribute<'a>(node: &'a pb::NodeProto, name: &str) -> Option<&'a pb::AttributeProto> {
    node.attribute
        .iter()
        .find(|attribute| attribute.name == name)
}

/// Bytes of the weights inside the file. Trees have them in the attributes of nodes, other models
/// in initializers.
fn weight_bytes(graph: &pb::GraphProto) -> u64 {
    let initializers = graph.initializer.iter().map(tensor_bytes);
    let attributes = graph
        .node
        .iter()
        .flat_map(|node| &node.attribute)
        .map(attribute_bytes);
    initializers.chain(attributes).sum::<usize>() as u64
}

fn tensor_bytes(tensor: &pb::TensorProto) -> usize {
    tensor.raw_data.len()
        + 4 * (tensor.float_data.len() + tensor.int32_data.len())
        + 8 * (tensor.int64_data.len() + tensor.double_data.len())
}

fn attribute_bytes(attribute: &pb::AttributeProto) -> usize {
    let strings: usize = attribute.strings.iter().map(Vec::len).sum();
    let constant = attribute.t.as_ref();
    4 * attribute.floats.len()
        + 8 * attribute.ints.len()
        + strings
        + constant.map_or(0, |tensor| tensor.raw_data.len())
}

/// The signature of a graph. Inputs that have an initializer of the same name are optional.
pub(crate) fn signature(graph: &pb::GraphProto) -> Result<Signature, LoadError> {
    let mut inputs = Vec::new();
    for value in &graph.input {
        // Before IR version 4 every initializer was listed among the inputs too: such inputs are
        // weights.
        let has_default = graph
            .initializer
            .iter()
            .any(|tensor| tensor.name == value.name);
        inputs.push(spec("input", value, has_default)?);
    }
    let outputs = graph
        .output
        .iter()
        .map(|value| spec("output", value, false));
    Ok(Signature {
        inputs,
        outputs: outputs.collect::<Result<_, _>>()?,
    })
}

fn spec(
    side: &'static str,
    value: &pb::ValueInfoProto,
    optional: bool,
) -> Result<TensorSpec, LoadError> {
    let kind = value.r#type.as_ref().and_then(|kind| kind.value.as_ref());
    let Some(Value::TensorType(tensor)) = kind else {
        let problem = "is a sequence or a map, which the portable engine does not support; export the model with zipmap=False";
        return Err(unsupported(side, value, problem));
    };
    let Some(datatype) = datatype(tensor.elem_type) else {
        let problem = "has an element type that is not supported";
        return Err(unsupported(side, value, problem));
    };
    let dims = tensor
        .shape
        .as_ref()
        .map(|shape| shape.dim.iter().map(dim).collect());
    Ok(TensorSpec {
        name: value.name.clone(),
        datatype,
        dims,
        optional,
    })
}

fn unsupported(side: &'static str, value: &pb::ValueInfoProto, problem: &str) -> LoadError {
    LoadError::Unsupported {
        side,
        name: value.name.clone(),
        problem: problem.to_owned(),
    }
}

fn dim(dim: &pb::tensor_shape_proto::Dimension) -> Dim {
    match &dim.value {
        Some(dimension::Value::DimValue(extent)) => Dim::from_wire(*extent),
        Some(dimension::Value::DimParam(_)) | None => Dim::Any,
    }
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
