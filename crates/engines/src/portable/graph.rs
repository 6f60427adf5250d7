//! Preparation of an ONNX graph for tract, and what tract cannot do with it.

use std::sync::Arc;

use tidegate_core::{DataType, Signature};
use tract_onnx::pb;
use tract_onnx::pb::tensor_shape_proto::dimension;
use tract_onnx::pb::type_proto::Value;
use tract_onnx::prelude as tract;
use tract_onnx::prelude::{Framework, InferenceModelExt, IntoRunnable};

use super::engine_error;
use crate::{LoadError, onnx};

/// The signature, if this engine can serve the model.
pub(super) fn supported_signature(model: &pb::ModelProto) -> Result<Signature, LoadError> {
    if onnx::has_one_sided_trees(model) {
        // tract picks the label before it has computed the score of the second class. The label is
        // always the wrong one.
        let problem = "TreeEnsembleClassifier with two classes gives wrong labels on this engine: use ONNX Runtime";
        return Err(engine_error(problem.to_owned()));
    }
    let graph = model
        .graph
        .as_ref()
        .expect("read refuses a model without a graph");
    let mut signature = onnx::signature(graph)?;
    // An initializer with the name of an input is a constant to this engine: the input cannot be
    // given.
    signature.inputs.retain(|input| !input.optional);
    let mut specs = signature.inputs.iter().chain(&signature.outputs);
    if let Some(spec) = specs.find(|spec| spec.datatype == DataType::Bf16) {
        return Err(engine_error(format!(
            "\"{}\" is BF16, which this engine does not support",
            spec.name
        )));
    }
    Ok(signature)
}

/// Gives every open extent a symbol. tract needs one, and exporters often leave it blank.
pub(super) fn name_open_dims(model: &mut pb::ModelProto) {
    let inputs = model.graph.iter_mut().flat_map(|graph| &mut graph.input);
    for (at, input) in inputs.enumerate() {
        let kind = input.r#type.as_mut().and_then(|kind| kind.value.as_mut());
        let Some(Value::TensorType(tensor)) = kind else {
            continue;
        };
        let dims = tensor.shape.iter_mut().flat_map(|shape| &mut shape.dim);
        for (axis, dim) in dims.enumerate() {
            if !is_open(dim) {
                continue;
            }
            // Exporters that leave axis 0 blank mean the batch: one symbol for all inputs.
            let name = match axis {
                0 => "open_batch".to_owned(),
                _ => format!("open_{at}_{axis}"),
            };
            dim.value = Some(dimension::Value::DimParam(name));
        }
    }
}

fn is_open(dim: &pb::tensor_shape_proto::Dimension) -> bool {
    match &dim.value {
        None => true,
        Some(dimension::Value::DimValue(extent)) => *extent < 0,
        Some(dimension::Value::DimParam(name)) => name.is_empty(),
    }
}

/// Optimizes the graph.
pub(super) fn plan(model: &pb::ModelProto) -> Result<Arc<tract::TypedRunnableModel>, String> {
    tract_onnx::onnx()
        .model_for_proto_model(model)
        .and_then(InferenceModelExt::into_optimized)
        .and_then(|model| model.into_runnable())
        .map_err(|error| format!("{error:#}"))
}

/// Refuses an output that is the shape of an input with open extents. tract makes a constant of it,
/// and the constant is a formula.
pub(super) fn check_outputs(
    plan: &tract::TypedRunnableModel,
    signature: &Signature,
) -> Result<(), LoadError> {
    for (at, spec) in signature.outputs.iter().enumerate() {
        let fact = plan
            .model()
            .output_fact(at)
            .map_err(|error| engine_error(format!("{error:#}")))?;
        let Some(constant) = &fact.konst else {
            continue;
        };
        let is_formula = constant.datum_type() == tract::DatumType::TDim;
        if is_formula && constant.cast_to::<i64>().is_err() {
            let problem =
                "is the shape of an input with open extents, which this engine cannot give";
            return Err(LoadError::Unsupported {
                side: "output",
                name: spec.name.clone(),
                problem: problem.to_owned(),
            });
        }
    }
    Ok(())
}
