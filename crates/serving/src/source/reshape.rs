//! Shapes that clients see and the model does not have: `reshape` in a `config.pbtxt`.

use tidegate_core::{DataType, Dim, Shape, Signature, Tensor, TensorSpec};
use tidegate_protocol::inference::{ModelConfig, ModelTensorReshape};

use super::triton::dims;
use crate::{ErrorCode, InferError};

/// What becomes of the inputs and the outputs of a version, in the order of its signature.
#[derive(Debug, Default)]
pub(crate) struct Reshapes {
    inputs: Vec<Option<Reshape>>,
    outputs: Vec<Option<Reshape>>,
}

/// The two shapes of one tensor, both with the batch axis.
#[derive(Debug)]
struct Reshape {
    name: String,
    /// What clients send or get.
    outer: Vec<Dim>,
    /// What the model takes or gives.
    inner: Vec<Dim>,
}

impl Reshapes {
    /// Those of a configuration that fits the model, whose signature then shows clients' shapes.
    pub(crate) fn of(config: Option<&ModelConfig>, signature: &mut Signature) -> Self {
        let Some(config) = config else {
            return Self::default();
        };
        let has_batch_axis = config.max_batch_size > 0;
        let inputs = config.input.iter();
        let inputs = inputs.map(|input| (&input.name, &input.dims, input.reshape.as_ref()));
        let outputs = config.output.iter();
        let outputs = outputs.map(|output| (&output.name, &output.dims, output.reshape.as_ref()));
        let reshapes = Self {
            inputs: of_side(inputs, has_batch_axis, &mut signature.inputs),
            outputs: of_side(outputs, has_batch_axis, &mut signature.outputs),
        };
        let is_used = reshapes
            .inputs
            .iter()
            .chain(&reshapes.outputs)
            .any(Option::is_some);
        if is_used { reshapes } else { Self::default() }
    }

    /// Inputs as the model takes them.
    pub(crate) fn inputs(&self, inputs: &mut [Option<Tensor>]) -> Result<(), InferError> {
        for (tensor, reshape) in inputs.iter_mut().zip(&self.inputs) {
            if let (Some(tensor), Some(reshape)) = (tensor.as_mut(), reshape) {
                *tensor = reshaped(tensor, &reshape.outer, &reshape.inner)
                    .map_err(|problem| reshape.error(ErrorCode::WrongDimension, problem))?;
            }
        }
        Ok(())
    }

    /// Outputs as clients get them.
    pub(crate) fn outputs(&self, outputs: &mut [Tensor]) -> Result<(), InferError> {
        for (tensor, reshape) in outputs.iter_mut().zip(&self.outputs) {
            if let Some(reshape) = reshape {
                *tensor = reshaped(tensor, &reshape.inner, &reshape.outer)
                    .map_err(|problem| reshape.error(ErrorCode::ExecutionFailed, problem))?;
            }
        }
        Ok(())
    }
}

impl Reshape {
    fn error(&self, code: ErrorCode, problem: String) -> InferError {
        InferError::new(code, format!("\"{}\" {problem}", self.name))
    }
}

fn of_side<'a>(
    declared: impl Iterator<Item = (&'a String, &'a Vec<i64>, Option<&'a ModelTensorReshape>)>,
    has_batch_axis: bool,
    specs: &mut [TensorSpec],
) -> Vec<Option<Reshape>> {
    let mut reshapes: Vec<Option<Reshape>> = specs.iter().map(|_| None).collect();
    for (name, outer, reshape) in declared {
        let Some(inner) = reshape else { continue };
        let Some(at) = specs.iter().position(|spec| spec.name == *name) else {
            continue;
        };
        let reshape = Reshape {
            name: name.clone(),
            outer: dims(outer, has_batch_axis),
            inner: dims(&inner.shape, has_batch_axis),
        };
        specs[at].dims = Some(reshape.outer.clone());
        reshapes[at] = Some(reshape);
    }
    reshapes
}

/// The same elements in another shape. An open axis keeps its extent: the first one of the one
/// shape is the first one of the other, and so on.
fn reshaped(tensor: &Tensor, from: &[Dim], to: &[Dim]) -> Result<Tensor, String> {
    let shape = tensor.shape();
    if shape.len() != from.len() {
        let wanted: Vec<i64> = from.iter().map(Dim::to_wire).collect();
        return Err(format!("has shape {shape}, config.pbtxt says {wanted:?}"));
    }
    let open = from.iter().zip(shape.iter());
    let mut open = open.filter_map(|(dim, extent)| (*dim == Dim::Any).then_some(*extent));
    let extents: Option<Vec<usize>> = to
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(extent) => Some(*extent),
            Dim::Any => open.next(),
        })
        .collect();
    let extents = extents.ok_or("has more dynamic axes after its reshape than before")?;
    let to = Shape::new(&extents).map_err(|error| error.to_string())?;
    let bytes = tensor.wire();
    if tensor.datatype() != DataType::Bytes && to.element_count() != shape.element_count() {
        return Err(format!("has shape {shape}, which does not fit {to}"));
    }
    Tensor::from_wire(tensor.datatype(), to, bytes).map_err(|error| error.to_string())
}

/// Why `dims` and `reshape` cannot have the same elements, if they cannot.
pub(super) fn problem(dims: &[i64], reshape: &[i64]) -> Option<String> {
    let open = |shape: &[i64]| shape.iter().filter(|extent| **extent < 0).count();
    let fixed = |shape: &[i64]| {
        let fixed = shape.iter().filter(|extent| **extent >= 0);
        fixed
            .map(|extent| i128::from(*extent))
            .try_fold(1i128, i128::checked_mul)
    };
    let fits = open(dims) == open(reshape) && fixed(dims) == fixed(reshape);
    (!fits).then(|| format!("has dims {dims:?}, which the reshape {reshape:?} does not fit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(extents: &[usize]) -> Tensor {
        let shape = Shape::new(extents).unwrap();
        let elements: Vec<u8> = (0..).take(shape.element_count()).collect();
        Tensor::from_vec(shape, elements).unwrap()
    }

    fn shape(extents: &[usize], from: &[i64], to: &[i64]) -> Result<Vec<usize>, String> {
        let tensor = tensor(extents);
        let (from, to) = (dims(from, false), dims(to, false));
        let made = reshaped(&tensor, &from, &to)?;
        assert_eq!(made.wire(), tensor.wire());
        Ok(made.shape().to_vec())
    }

    #[test]
    fn elements_stay_and_open_axes_keep_their_extents() {
        assert_eq!(shape(&[1], &[1], &[]), Ok(vec![]));
        assert_eq!(shape(&[], &[], &[1]), Ok(vec![1]));
        assert_eq!(shape(&[5, 1], &[-1, 1], &[-1]), Ok(vec![5]));
        assert_eq!(
            shape(&[5, 2, 3], &[-1, 2, -1], &[-1, 1, 2, -1]),
            Ok(vec![5, 1, 2, 3])
        );
        assert!(shape(&[2, 2], &[-1, 1], &[-1]).is_err());
        assert!(shape(&[2], &[-1, 1], &[-1]).is_err());
    }

    #[test]
    fn a_reshape_that_fits_no_tensor_is_found() {
        assert_eq!(problem(&[1], &[]), None);
        assert_eq!(problem(&[-1, 4], &[2, -1, 2]), None);
        assert!(problem(&[3], &[]).is_some() && problem(&[-1], &[1]).is_some());
    }
}
