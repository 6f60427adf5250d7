//! What a sequence begins with.

use std::path::{Path, PathBuf};

use tidegate_core::{
    DataType, Dim, Shape, StateSpec, StringArray, Tensor, TensorBuffer, TensorSpec,
};

use crate::{VersionPlan, check, source};

/// The folder of a model of Triton's layout that has initial states.
const TRITON_STATES: &str = "initial_state";

/// The initial state for an input.
///
/// # Errors
/// What is wrong with its file or its shape.
pub(super) fn tensor(
    plan: &VersionPlan,
    input: &TensorSpec,
    state: &StateSpec,
) -> Result<Tensor, String> {
    let shape = initial_shape(input, state)?;
    let Some(file) = state.initial_file() else {
        return zeros(input.datatype, shape)
            .ok_or_else(|| format!("state \"{}\" is too large", input.name));
    };
    let path = state_file(plan, file)?;
    let bytes = read(&path, plan).map_err(|problem| format!("{}: {problem}", path.display()))?;
    let tensor = Tensor::from_wire(input.datatype, shape, bytes.into());
    tensor
        .map(Tensor::aligned)
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn state_file(plan: &VersionPlan, file: &str) -> Result<PathBuf, String> {
    let folder = check::folder(plan);
    let folder = match (&plan.triton, folder.parent()) {
        (Some(_), Some(model)) => model.join(TRITON_STATES),
        _ => folder,
    };
    source::inside(check::root(&folder), file).map_err(|error| error.to_string())
}

fn read(path: &Path, plan: &VersionPlan) -> Result<Vec<u8>, String> {
    let spec = plan.manifest.sequences.as_ref();
    let most = spec.map_or(0, |spec| spec.max_state_bytes) as u64;
    let file = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if file.len() > most {
        let bytes = file.len();
        return Err(format!(
            "it has {bytes} bytes, sequences.max_state_bytes is {most}"
        ));
    }
    std::fs::read(path).map_err(|error| error.to_string())
}

/// The shape that a sequence begins with: that of the model; what the model leaves open is as
/// declared, or 1.
fn initial_shape(input: &TensorSpec, state: &StateSpec) -> Result<Shape, String> {
    let name = &input.name;
    let declared = state.shape.as_deref();
    let dims = match (&input.dims, declared) {
        (Some(dims), _) => dims.clone(),
        (None, Some(shape)) => vec![Dim::Any; shape.len()],
        (None, None) => {
            return Err(format!(
                "state \"{name}\" has any shape in the model: it needs a shape"
            ));
        }
    };
    if declared.is_some_and(|shape| shape.len() != dims.len()) {
        return Err(format!(
            "state \"{name}\" has shape {:?}, the model says {:?}",
            declared.unwrap_or_default(),
            input.wire_shape()
        ));
    }
    let mut extents = Vec::with_capacity(dims.len());
    for (axis, dim) in dims.iter().enumerate() {
        let declared = declared.map_or(Dim::Any, |shape| Dim::from_wire(shape[axis]));
        extents.push(match (dim, declared) {
            (Dim::Fixed(extent), Dim::Any) => *extent,
            (Dim::Any, Dim::Fixed(extent)) => extent,
            (Dim::Any, Dim::Any) => 1,
            (Dim::Fixed(one), Dim::Fixed(other)) if *one == other => other,
            (Dim::Fixed(one), Dim::Fixed(other)) => {
                return Err(format!(
                    "state \"{name}\" has {other} on axis {axis}, the model says {one}"
                ));
            }
        });
    }
    Shape::new(&extents).map_err(|error| error.to_string())
}

fn zeros(datatype: DataType, shape: Shape) -> Option<Tensor> {
    if datatype == DataType::Bytes {
        let texts: StringArray = std::iter::repeat_n("", shape.element_count()).collect();
        return Tensor::from_strings(shape, texts).ok();
    }
    TensorBuffer::new(datatype, shape).map(TensorBuffer::finish)
}
