//! The signature of a graph, which no artifact has.

use tidegate_core::{DeclaredSignature, DeclaredTensor, Dim, Signature, TensorSpec};

use crate::GraphError;

/// The signature that a manifest declares, with a name, a data type and a shape for each tensor.
///
/// # Errors
/// The first tensor that lacks one of them, or has the name of another one.
pub fn declared(signature: &DeclaredSignature) -> Result<Signature, GraphError> {
    Ok(Signature {
        inputs: specs("input", &signature.inputs)?,
        outputs: specs("output", &signature.outputs)?,
    })
}

fn specs(side: &str, tensors: &[DeclaredTensor]) -> Result<Vec<TensorSpec>, GraphError> {
    if tensors.is_empty() {
        let problem = format!("a graph declares its {side}s: add [[signature.{side}s]]");
        return Err(GraphError::new(problem));
    }
    let mut specs: Vec<TensorSpec> = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let name = &tensor.name;
        if name.is_empty() {
            return Err(GraphError::new(format!(
                "an {side} of a graph needs a name"
            )));
        }
        if specs.iter().any(|spec| spec.name == *name) {
            return Err(GraphError::new(format!(
                "{side} \"{name}\" is declared twice"
            )));
        }
        let (Some(datatype), Some(shape)) = (tensor.datatype, &tensor.shape) else {
            let problem = format!("{side} \"{name}\" of a graph needs a datatype and a shape");
            return Err(GraphError::new(problem));
        };
        specs.push(TensorSpec {
            name: name.clone(),
            datatype,
            dims: Some(shape.iter().map(|extent| Dim::from_wire(*extent)).collect()),
            optional: false,
        });
    }
    Ok(specs)
}
