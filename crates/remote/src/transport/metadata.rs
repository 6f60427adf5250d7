//! Signatures: as servers say them, and as people declare them.

use tidegate_core::{DataType, DeclaredTensor, Dim, Manifest, Signature, TensorSpec};

use crate::failure::{CallFailure, shown};

/// Most inputs, and most outputs, of a model.
const MAX_TENSORS: usize = 1024;

/// One input or output as a server says it.
pub(super) struct TensorMetadata {
    pub(super) name: String,
    pub(super) datatype: String,
    pub(super) shape: Vec<i64>,
}

/// The signature that a server says; `None` if it does not know inputs or outputs.
pub(super) fn signature(
    inputs: Vec<TensorMetadata>,
    outputs: Vec<TensorMetadata>,
) -> Result<Option<Signature>, CallFailure> {
    if inputs.is_empty() || outputs.is_empty() {
        return Ok(None);
    }
    Ok(Some(Signature {
        inputs: specs("input", inputs)?,
        outputs: specs("output", outputs)?,
    }))
}

fn specs(side: &str, tensors: Vec<TensorMetadata>) -> Result<Vec<TensorSpec>, CallFailure> {
    if tensors.len() > MAX_TENSORS {
        let problem = format!("says that the model has more than {MAX_TENSORS} {side}s");
        return Err(CallFailure::invalid(problem));
    }
    let mut specs: Vec<TensorSpec> = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let name = tensor.name;
        if specs.iter().any(|spec| spec.name == name) {
            let problem = format!("says that the model has {side} \"{}\" twice", shown(&name));
            return Err(CallFailure::invalid(problem));
        }
        let datatype: Result<DataType, _> = tensor.datatype.parse();
        let datatype = datatype.map_err(|_| {
            let (name, found) = (shown(&name), shown(&tensor.datatype));
            CallFailure::invalid(format!(
                "says that {side} \"{name}\" is of type \"{found}\""
            ))
        })?;
        let dims = tensor
            .shape
            .into_iter()
            .map(Dim::from_wire)
            .collect::<Vec<_>>();
        specs.push(TensorSpec {
            name,
            datatype,
            // Servers leave the shape out where they do not know it.
            dims: (!dims.is_empty()).then_some(dims),
            optional: false,
        });
    }
    Ok(specs)
}

/// The signature that a manifest declares, if it is complete: every input and output with its name
/// and type.
pub(crate) fn declared(manifest: &Manifest) -> Option<Signature> {
    let declared = &manifest.signature;
    if declared.inputs.is_empty() || declared.outputs.is_empty() {
        return None;
    }
    Some(Signature {
        inputs: declared
            .inputs
            .iter()
            .map(declared_spec)
            .collect::<Option<_>>()?,
        outputs: declared
            .outputs
            .iter()
            .map(declared_spec)
            .collect::<Option<_>>()?,
    })
}

fn declared_spec(tensor: &DeclaredTensor) -> Option<TensorSpec> {
    if tensor.name.is_empty() {
        return None;
    }
    let shape = tensor.shape.as_ref();
    Some(TensorSpec {
        name: tensor.name.clone(),
        datatype: tensor.datatype?,
        dims: shape.map(|shape| shape.iter().map(|extent| Dim::from_wire(*extent)).collect()),
        optional: false,
    })
}

/// What is missing where a server has no signature and the manifest does not declare one.
pub(crate) fn name_of_empty() -> &'static str {
    "does not say the inputs and outputs of the model: declare each with name and datatype in \
     [[signature.inputs]] and [[signature.outputs]] of model.toml"
}
