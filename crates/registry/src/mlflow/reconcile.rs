//! MLflow's signature beside the artifact's.
//!
//! MLflow infers its signature from the data that a model was logged with. Its ONNX flavour casts
//! doubles to floats, and checks no output, so that a signature may differ from the graph in a model
//! that MLflow serves well. The graph says what requests must hold: what differs is told and left
//! out of the declared signature.

use tidegate_core::{DeclaredSignature, DeclaredTensor, Signature, TensorSpec};

/// Leaves out of `declared` what the graph says otherwise, and gives a line for each.
pub(super) fn reconcile(declared: &mut DeclaredSignature, graph: &Signature) -> Vec<String> {
    let mut differences = Vec::new();
    for input in &mut declared.inputs {
        if let Some(spec) = counterpart(input, &graph.inputs) {
            differences.extend(without_other_type("input", input, spec));
        }
    }
    declared.outputs.retain_mut(|output| {
        let Some(spec) = counterpart(output, &graph.outputs) else {
            differences.push(unknown_output(output, graph));
            return false;
        };
        differences.extend(without_other_type("output", output, spec));
        differences.extend(without_other_shape(output, spec));
        true
    });
    differences
}

/// The tensor of the graph that is meant. One without a name is the only one of its side.
fn counterpart<'a>(tensor: &DeclaredTensor, specs: &'a [TensorSpec]) -> Option<&'a TensorSpec> {
    match specs {
        [only] if tensor.name.is_empty() => Some(only),
        _ => specs.iter().find(|spec| spec.name == tensor.name),
    }
}

fn without_other_type(
    side: &str,
    tensor: &mut DeclaredTensor,
    spec: &TensorSpec,
) -> Option<String> {
    let declared = tensor
        .datatype
        .filter(|declared| *declared != spec.datatype)?;
    tensor.datatype = None;
    let (name, found) = (spec.name.escape_default(), spec.datatype);
    Some(format!(
        "{side} \"{name}\" is {declared} in MLflow's signature and {found} in the graph: \
         requests must have {found}"
    ))
}

fn without_other_shape(tensor: &mut DeclaredTensor, spec: &TensorSpec) -> Option<String> {
    let (declared, found) = (tensor.shape.as_deref()?, spec.dims.as_deref()?);
    let found: Vec<i64> = found.iter().map(tidegate_core::Dim::to_wire).collect();
    let agrees = |(one, two): (&i64, &i64)| one == two || *one < 0 || *two < 0;
    if declared.len() == found.len() && declared.iter().zip(&found).all(agrees) {
        // An open axis of the declaration says no more than the graph.
        return None;
    }
    let name = spec.name.escape_default();
    let message = format!(
        "output \"{name}\" has shape {declared:?} in MLflow's signature and {found:?} in the graph"
    );
    tensor.shape = None;
    Some(message)
}

fn unknown_output(output: &DeclaredTensor, graph: &Signature) -> String {
    let names: Vec<String> = graph
        .outputs
        .iter()
        .map(|spec| format!("\"{}\"", spec.name.escape_default()))
        .collect();
    let declared = match output.name.as_str() {
        "" => "an output without a name".to_owned(),
        name => format!("output \"{}\"", name.escape_default()),
    };
    format!(
        "{declared} of MLflow's signature is not in the graph, which has {}",
        names.join(", ")
    )
}
