//! Answers compared with the expected ones.

use tidegate_core::{DataType, Signature, Tensor, TensorView, Tolerance, bf16, f16};

/// An error names the first output that differs, where, and by how much.
pub(super) fn compare(
    signature: &Signature,
    found: &[Tensor],
    expected: &[(String, Tensor)],
    tolerance: Tolerance,
) -> Result<(), String> {
    if expected.is_empty() {
        return Err("it has no expected outputs".to_owned());
    }
    for (name, expected) in expected {
        let at = signature.output(name).map_err(|error| error.to_string())?;
        if let Some(difference) = difference(&found[at], expected, tolerance) {
            return Err(format!("output \"{name}\" {difference}"));
        }
    }
    Ok(())
}

fn difference(found: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Option<String> {
    if found.datatype() != expected.datatype() {
        let (found, expected) = (found.datatype(), expected.datatype());
        return Some(format!("is {found}, expected is {expected}"));
    }
    if found.shape() != expected.shape() {
        let (found, expected) = (found.shape(), expected.shape());
        return Some(format!("has shape {found}, expected is {expected}"));
    }
    let (at, found, expected) = match (floats(found), floats(expected)) {
        (Some(found), Some(expected)) => {
            let at = (0..found.len()).find(|at| !tolerance.accepts(found[*at], expected[*at]))?;
            (at, found[at].to_string(), expected[at].to_string())
        }
        // Integers, bools and strings have no tolerance: they are equal or not.
        _ => {
            let (found, expected) = (texts(found), texts(expected));
            let at = (0..found.len()).find(|at| found[*at] != expected[*at])?;
            (at, found[at].clone(), expected[at].clone())
        }
    };
    Some(format!(
        "is {found} at element {at}, expected is {expected}"
    ))
}

// `f64` holds every value of the narrower types, so that one comparison serves all of them.
fn floats(tensor: &Tensor) -> Option<Vec<f64>> {
    match tensor.datatype() {
        DataType::Fp16 => Some(tensor.to_vec::<f16>()?.into_iter().map(f64::from).collect()),
        DataType::Bf16 => Some(
            tensor
                .to_vec::<bf16>()?
                .into_iter()
                .map(f64::from)
                .collect(),
        ),
        DataType::Fp32 => Some(tensor.to_vec::<f32>()?.into_iter().map(f64::from).collect()),
        DataType::Fp64 => tensor.to_vec::<f64>(),
        _ => None,
    }
}

fn texts(tensor: &Tensor) -> Vec<String> {
    match tensor.view() {
        TensorView::Strings(strings) => strings
            .iter()
            .map(|text| format!("{:?}", String::from_utf8_lossy(text)))
            .collect(),
        TensorView::Fixed(bytes) => tidegate_core::with_element!(tensor.datatype(), T => {
            tensor.to_vec::<T>().into_iter().flatten().map(|element| element.to_string()).collect()
        }, else => bytes.iter().map(|byte| (*byte != 0).to_string()).collect()),
    }
}
