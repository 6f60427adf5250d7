//! Requests that are nothing but the bytes of a tensor, as the binary tensor data extension has
//! them ("raw binary request"): `Inference-Header-Content-Length` is 0, the model says the rest.

use bytes::Bytes;
use tidegate_core::{DataType, Dim, Shape, Signature, StringArrayBuilder, Tensor, TensorSpec};
use tidegate_serving::{ErrorCode, InferError};

/// The only input of a model, from its bytes.
pub(super) fn decode(
    bytes: Bytes,
    signature: &Signature,
) -> Result<Vec<(String, Tensor)>, InferError> {
    let mut required = signature.inputs.iter().filter(|spec| !spec.optional);
    let spec = match (required.next(), signature.inputs.as_slice()) {
        (Some(spec), _) | (None, [spec]) => spec,
        (None, _) => return Err(several_inputs()),
    };
    if required.next().is_some() {
        return Err(several_inputs());
    }
    let shape = shape(spec, bytes.len())?;
    let tensor = if spec.datatype == DataType::Bytes {
        // A single element, which needs no length before it.
        let mut strings = StringArrayBuilder::default();
        strings.push(&bytes);
        Tensor::from_strings(shape, strings.finish())
    } else {
        Tensor::from_wire(spec.datatype, shape, bytes)
    };
    let tensor = tensor.map_err(|error| {
        let message = format!("input \"{}\": {error}", spec.name);
        InferError::new(ErrorCode::from(&error), message)
    })?;
    Ok(vec![(spec.name.clone(), tensor)])
}

/// The shape that so many bytes have: the one open axis takes what the others leave. Of two open
/// axes the first is taken for that of the rows, of which there is one.
fn shape(spec: &TensorSpec, bytes: usize) -> Result<Shape, InferError> {
    let dims = spec.dims.as_deref().ok_or_else(|| open_shape(spec))?;
    let open = dims.iter().filter(|dim| **dim == Dim::Any).count();
    let is_one_row = open == 2 && spec.has_dynamic_first_axis();
    if open > 1 && !is_one_row && spec.datatype != DataType::Bytes {
        return Err(open_shape(spec));
    }
    let fixed = dims.iter().map(|dim| match dim {
        Dim::Fixed(extent) => *extent,
        Dim::Any => 1,
    });
    let mut extents: Vec<usize> = fixed.collect();
    if let Some(element_bytes) = spec.datatype.element_bytes() {
        let unit = extents.iter().try_fold(element_bytes, |unit, extent| {
            unit.checked_mul(*extent).filter(|unit| *unit > 0)
        });
        let last_open = dims.iter().rposition(|dim| *dim == Dim::Any);
        if let (Some(unit), Some(at)) = (unit, last_open) {
            extents[at] = bytes / unit;
        }
    }
    Shape::new(&extents).map_err(|error| {
        let message = format!("input \"{}\": {error}", spec.name);
        InferError::new(ErrorCode::ShapeOverflow, message)
    })
}

fn several_inputs() -> InferError {
    let message = "a body without JSON has one input, but this model has several: send \
                   Inference-Header-Content-Length and JSON before the bytes";
    InferError::new(ErrorCode::MalformedRequest, message)
}

fn open_shape(spec: &TensorSpec) -> InferError {
    let message = format!(
        "the shape of input \"{}\" cannot be computed from the number of bytes: send \
         Inference-Header-Content-Length and JSON before the bytes",
        spec.name
    );
    InferError::new(ErrorCode::MalformedRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(datatype: DataType, dims: &[i64], bytes: &'static [u8]) -> Result<Tensor, ErrorCode> {
        let spec = TensorSpec {
            name: "x".to_owned(),
            datatype,
            dims: Some(dims.iter().map(|dim| Dim::from_wire(*dim)).collect()),
            optional: false,
        };
        let signature = Signature {
            inputs: vec![spec],
            outputs: Vec::new(),
        };
        decode(Bytes::from_static(bytes), &signature)
            .map(|mut inputs| inputs.remove(0).1)
            .map_err(|error| error.code)
    }

    fn extents(dims: &[i64], bytes: &'static [u8]) -> Result<Vec<usize>, ErrorCode> {
        read(DataType::Fp32, dims, bytes).map(|tensor| tensor.shape().to_vec())
    }

    #[test]
    fn the_open_axis_takes_what_the_others_leave() {
        assert_eq!(extents(&[-1, 2], &[0; 24]), Ok(vec![3, 2]));
        assert_eq!(extents(&[2, 3], &[0; 24]), Ok(vec![2, 3]));
        assert_eq!(extents(&[], &[0; 4]), Ok(vec![]));
        assert_eq!(extents(&[-1, 2, -1], &[0; 24]), Ok(vec![1, 2, 3]));
        assert_eq!(
            extents(&[-1, 2], &[0; 23]),
            Err(ErrorCode::InvalidBinary),
            "bytes that are no whole rows"
        );
        assert_eq!(
            extents(&[2, -1, -1], &[0; 24]),
            Err(ErrorCode::MalformedRequest)
        );
        assert!(extents(&[-1, 0], &[]).is_ok());
    }

    #[test]
    fn text_is_one_element() {
        let text = read(DataType::Bytes, &[-1, 1], b"one text").unwrap();
        assert_eq!(text.shape().to_vec(), [1, 1]);
        assert_eq!(&text.wire()[4..], b"one text");
        assert!(read(DataType::Bytes, &[-1, 2], b"one text").is_err());
    }
}
