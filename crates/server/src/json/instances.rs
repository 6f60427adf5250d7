//! Requests of the KServe v1 protocol.

use bytes::Bytes;
use jiter::{Jiter, JiterError, Peek};
use tidegate_core::{Shape, Signature, Tensor};
use tidegate_serving::{ErrorCode, InferError};

use super::decode::{Key, malformed};
use super::elements::{self, Part};

/// Reads a KServe v1 body, `{"instances": [...]}`, for a model with a single input: each instance
/// is a row, or an object with the input's name as its key.
pub(crate) fn decode_instances(
    body: &Bytes,
    signature: &Signature,
) -> Result<Vec<(String, Tensor)>, InferError> {
    let Some(spec) = signature.only_required_input() else {
        let message =
            "the v1 protocol has one input, but this model has several: use /v2/models/NAME/infer";
        return Err(InferError::new(ErrorCode::MalformedRequest, message));
    };
    let mut json = Jiter::new(body).with_allow_inf_nan();
    let mut tensor = None;
    let mut key = json
        .next_object()
        .map(|key| key.map(Key::of))
        .map_err(|error| malformed(&json, &error))?;
    while let Some(field) = key {
        match field {
            Key::Instances => {
                json.peek().map_err(|error| malformed(&json, &error))?;
                let start = json.current_index();
                let mut extents = Vec::new();
                // Read twice: an element cannot be stored before the shape is known.
                measure(&mut json, &mut extents, 0).map_err(|error| malformed(&json, &error))?;
                let text = json.slice_to_current(start);
                // A model whose rows are single values takes them bare too: ["a", "b"] for [-1, 1].
                let rank = spec.dims.as_ref().map_or(extents.len(), Vec::len);
                if extents.len() + 1 == rank {
                    extents.push(1);
                }
                let shape = Shape::new(&extents).map_err(|error| {
                    InferError::new(ErrorCode::ShapeOverflow, error.to_string())
                })?;
                if extents.first() == Some(&0) {
                    let message = "the request has no rows: \"instances\" is empty";
                    return Err(InferError::new(ErrorCode::WrongDimension, message));
                }
                let mut values = Jiter::new(text).with_allow_inf_nan();
                tensor = Some(elements::read(
                    &mut values,
                    Part::new(body, start),
                    &spec.name,
                    spec.datatype,
                    &shape,
                )?);
            }
            _ => json.next_skip().map_err(|error| malformed(&json, &error))?,
        }
        key = json
            .next_key()
            .map(|key| key.map(Key::of))
            .map_err(|error| malformed(&json, &error))?;
    }
    json.finish().map_err(|error| malformed(&json, &error))?;
    let tensor = tensor.ok_or_else(|| {
        InferError::new(
            ErrorCode::MalformedRequest,
            "the request has no \"instances\"",
        )
    })?;
    Ok(vec![(spec.name.clone(), tensor)])
}

/// The extents of a nested array, from its first elements; the element count finds ragged ones
/// later.
fn measure(json: &mut Jiter<'_>, extents: &mut Vec<usize>, depth: usize) -> Result<(), JiterError> {
    let first = extents.len() == depth;
    if first {
        extents.push(0);
    }
    let mut count = 0;
    let mut next = json.next_array()?;
    while let Some(peek) = next {
        count += 1;
        // Bounded, because a body of nothing but brackets would overflow the stack.
        if peek == Peek::Array && depth < Shape::MAX_RANK {
            measure(json, extents, depth + 1)?;
        } else {
            json.known_skip(peek)?;
        }
        next = json.array_step()?;
    }
    if first {
        extents[depth] = count;
    }
    Ok(())
}
