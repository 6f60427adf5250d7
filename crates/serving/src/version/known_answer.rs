//! How large the outputs of a version are, as far as its signature tells.

use tidegate_core::{Dim, TensorSpec};

/// The bytes of the outputs whose extents are fixed, but for the first one, which is that of the
/// rows where it is open. Other outputs, and texts, count as none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownAnswer {
    /// Of outputs that do not grow with the rows.
    fixed: usize,
    /// Of each row of the others.
    each_row: usize,
}

impl KnownAnswer {
    pub(crate) fn of(outputs: &[TensorSpec]) -> Self {
        let mut known = Self::default();
        for output in outputs {
            let (Some(bytes), Some(dims)) = (known_bytes(output), &output.dims) else {
                continue;
            };
            let sum = match dims.first() {
                Some(Dim::Any) => &mut known.each_row,
                _ => &mut known.fixed,
            };
            *sum = sum.saturating_add(bytes);
        }
        known
    }

    /// The bytes of an answer of so many rows.
    pub(crate) fn bytes(self, rows: usize) -> usize {
        self.fixed
            .saturating_add(self.each_row.saturating_mul(rows))
    }
}

/// The bytes of an output, or of one row of it; `None` where the signature does not tell.
fn known_bytes(output: &TensorSpec) -> Option<usize> {
    let mut bytes = output.datatype.element_bytes()?;
    for (axis, dim) in output.dims.as_ref()?.iter().enumerate() {
        match dim {
            Dim::Fixed(extent) => bytes = bytes.saturating_mul(*extent),
            Dim::Any if axis == 0 => {}
            Dim::Any => return None,
        }
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
        let known = KnownAnswer::of(&outputs);
        assert_eq!(known.bytes(10), 10 * 50_000 * 4 + 3 * 8);
        let enormous = KnownAnswer::of(&[output(DataType::Fp32, &[-1, i64::MAX])]);
        assert_eq!(enormous.bytes(10), usize::MAX);
    }
}
