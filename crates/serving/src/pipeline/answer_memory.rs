//! The memory of answers: reserved before a run where the signature tells how much it will be.

use tidegate_core::{Dim, Tensor, TensorSpec};

use crate::{ErrorCode, InferError, MemoryReservation, Version};

/// Reserves what the outputs of so many rows take at least.
pub(super) fn reserve(
    memory: &mut MemoryReservation,
    version: &Version,
    rows: usize,
    max_answer_bytes: usize,
) -> Result<(), InferError> {
    let bytes = known_bytes(&version.signature().outputs, rows);
    if bytes > max_answer_bytes {
        let message = format!(
            "the outputs of {rows} rows have {bytes} bytes, at most {max_answer_bytes} are answered \
             (server.max_answer_bytes)"
        );
        return Err(InferError::new(ErrorCode::AnswerTooLarge, message));
    }
    memory.grow(bytes, ErrorCode::AnswerTooLarge)
}

/// Reserves what the outputs take, once they are known and the inputs are gone.
pub(super) fn resize(memory: &mut MemoryReservation, outputs: &[Tensor]) -> Result<(), InferError> {
    let bytes = outputs.iter().map(Tensor::byte_len).sum();
    memory.resize(bytes, ErrorCode::AnswerTooLarge)
}

/// The bytes of the outputs whose extents are fixed, but for the first one, which is that of the
/// rows where it is open. Other outputs count as none.
fn known_bytes(outputs: &[TensorSpec], rows: usize) -> usize {
    let bytes = outputs
        .iter()
        .filter_map(|output| known_bytes_of(output, rows));
    bytes.fold(0, usize::saturating_add)
}

fn known_bytes_of(output: &TensorSpec, rows: usize) -> Option<usize> {
    let mut bytes = output.datatype.element_bytes()?;
    for (axis, dim) in output.dims.as_ref()?.iter().enumerate() {
        let extent = match dim {
            Dim::Fixed(extent) => *extent,
            Dim::Any if axis == 0 => rows,
            Dim::Any => return None,
        };
        bytes = bytes.saturating_mul(extent);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use tidegate_core::DataType;

    use super::*;

    fn output(datatype: DataType, dims: &[i64]) -> TensorSpec {
        TensorSpec {
            name: "y".to_owned(),
            datatype,
            dims: Some(dims.iter().copied().map(Dim::from_wire).collect()),
            optional: false,
        }
    }

    #[test]
    fn fixed_extents_say_how_large_an_answer_is() {
        let outputs = [
            output(DataType::Fp32, &[-1, 50_000]),
            output(DataType::Int64, &[3]),
            output(DataType::Fp32, &[-1, -1]),
            output(DataType::Bytes, &[-1, 2]),
        ];
        assert_eq!(known_bytes(&outputs, 10), 10 * 50_000 * 4 + 3 * 8);
        let enormous = [output(DataType::Fp32, &[-1, i64::MAX])];
        assert_eq!(known_bytes(&enormous, 10), usize::MAX);
    }
}
