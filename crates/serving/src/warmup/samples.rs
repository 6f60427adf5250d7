//! Synthetic inputs: the same every time, different in every row, and never all zero.
//!
//! A proof is worth what its samples show. A graph that drops rows without a positive value, or
//! whose output is zero below a threshold, looks like one that can be batched as long as all
//! samples are positive. So floats are on both sides of zero, with rows that are wholly on one side.

use tidegate_core::{
    DataType, Dim, Shape, Signature, StringArray, Tensor, TensorSpec, bf16, f16, with_element,
};

/// Larger samples are not made: neither the extents of a model nor a large `max_batch_size` are a
/// request to take the memory at the start. In bytes, over all inputs, and over all outputs whose
/// extents are declared.
pub(super) const MAX_SAMPLE_BYTES: usize = 64 << 20;
/// About what a string of a sample takes, in bytes.
const STRING_BYTES: usize = 48;
/// Extents to try for open dimensions other than the batch. Some models need at least this much:
/// 32 and 224 are usual sizes of images.
const OPEN_EXTENTS: [usize; 4] = [8, 1, 32, 224];
/// Factors of floats to try where all rows give the same: thresholds of trees can be far from zero.
const SCALES: [f32; 2] = [100.0, 10_000.0];

/// What samples look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SampleKind {
    /// The extent of open dimensions other than the batch.
    open: usize,
    integers: Integers,
    /// Floats are between minus and plus this.
    scale: f32,
}

/// Which integers a model takes: most often they are indices, and a small vocabulary refuses more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Integers {
    /// -4 to 4 without 0; the same without the sign for unsigned types.
    Signed,
    /// 1 to 7.
    Small,
    /// 0 and 1: every vocabulary has these.
    Bits,
}

impl SampleKind {
    /// The kinds to try on a model, the most telling first.
    pub(super) fn candidates(signature: &Signature) -> Vec<Self> {
        let mut kinds = Vec::new();
        for open in OPEN_EXTENTS {
            for integers in integer_kinds(signature) {
                let scale = 1.0;
                kinds.push(Self {
                    open,
                    integers: *integers,
                    scale,
                });
            }
        }
        kinds
    }

    /// Other kinds with the same extents, for a model whose rows all give the same with this one.
    pub(super) fn alternatives(self, signature: &Signature) -> Vec<Self> {
        let others = integer_kinds(signature).iter();
        let others = others.map(|integers| Self {
            integers: *integers,
            ..self
        });
        let scaled = SCALES.map(|scale| Self { scale, ..self });
        let has_floats = required(signature).any(|spec| is_float(spec.datatype));
        let scaled = scaled.into_iter().filter(|_| has_floats);
        others
            .filter(|other| *other != self)
            .chain(scaled)
            .collect()
    }
}

fn integer_kinds(signature: &Signature) -> &'static [Integers] {
    let has_integers = required(signature).any(|spec| is_integer(spec.datatype));
    if has_integers {
        &[Integers::Signed, Integers::Small, Integers::Bits]
    } else {
        &[Integers::Bits]
    }
}

fn required(signature: &Signature) -> impl Iterator<Item = &TensorSpec> {
    signature.inputs.iter().filter(|spec| !spec.optional)
}

fn is_float(datatype: DataType) -> bool {
    use DataType::{Bf16, Fp16, Fp32, Fp64};
    matches!(datatype, Fp16 | Bf16 | Fp32 | Fp64)
}

fn is_integer(datatype: DataType) -> bool {
    !is_float(datatype) && !matches!(datatype, DataType::Bool | DataType::Bytes)
}

/// Inputs of so many rows. `None` where they, or the outputs that are declared for them, would take
/// more than [`MAX_SAMPLE_BYTES`].
pub(super) fn samples(
    signature: &Signature,
    rows: usize,
    kind: SampleKind,
) -> Option<Vec<Option<Tensor>>> {
    if !fits(signature, rows, kind) {
        return None;
    }
    let inputs = signature.inputs.iter().map(|spec| {
        if spec.optional {
            Some(None)
        } else {
            sample(spec, rows, kind).map(Some)
        }
    });
    inputs.collect()
}

pub(super) fn byte_len(sample: &[Option<Tensor>]) -> usize {
    sample.iter().flatten().map(Tensor::byte_len).sum()
}

/// The most rows up to `rows` of which samples are made.
pub(super) fn rows_that_fit(signature: &Signature, rows: usize, kind: SampleKind) -> usize {
    let fitting = (1..=rows).rev().find(|rows| fits(signature, *rows, kind));
    fitting.unwrap_or(0)
}

fn fits(signature: &Signature, rows: usize, kind: SampleKind) -> bool {
    let inputs = total_bytes(required(signature), rows, kind.open);
    // The extents of an output that are open follow from the inputs: they are not known.
    let declared = signature.outputs.iter().filter(|spec| has_declared(spec));
    let outputs = total_bytes(declared, rows, kind.open);
    [inputs, outputs]
        .into_iter()
        .all(|bytes| bytes.is_some_and(|bytes| bytes <= MAX_SAMPLE_BYTES))
}

fn has_declared(output: &TensorSpec) -> bool {
    let inner = output.dims.as_deref().unwrap_or_default().iter().skip(1);
    inner.into_iter().all(|dim| matches!(dim, Dim::Fixed(_)))
}

fn total_bytes<'a>(
    specs: impl Iterator<Item = &'a TensorSpec>,
    rows: usize,
    open: usize,
) -> Option<usize> {
    let mut total = 0usize;
    for spec in specs {
        let elements = shape(spec, rows, open)?.element_count();
        let bytes = elements.checked_mul(spec.datatype.element_bytes().unwrap_or(STRING_BYTES))?;
        total = total.checked_add(bytes)?;
    }
    Some(total)
}

fn sample(spec: &TensorSpec, rows: usize, kind: SampleKind) -> Option<Tensor> {
    let shape = shape(spec, rows, kind.open)?;
    let rows = shape.first().copied().unwrap_or(1).max(1);
    let count = shape.element_count();
    let row_elements = (count / rows).max(1);
    let positions = (0..count).map(|at| Position {
        at,
        row: at / row_elements,
        column: at % row_elements,
    });
    let floats = positions
        .clone()
        .map(|position| kind.scale * position.float());
    let tensor = match spec.datatype {
        DataType::Bytes => {
            let texts: StringArray = positions
                .map(|position| format!("warm up {}", position.at))
                .collect();
            Tensor::from_strings(shape, texts)
        }
        DataType::Bool => {
            let bytes: Vec<u8> = positions.map(|position| position.bit() as u8).collect();
            Tensor::from_wire(DataType::Bool, shape, bytes.into())
        }
        DataType::Fp16 => Tensor::from_vec(shape, floats.map(f16::from_f32).collect()),
        DataType::Bf16 => Tensor::from_vec(shape, floats.map(bf16::from_f32).collect()),
        DataType::Fp32 => Tensor::from_vec(shape, floats.collect()),
        DataType::Fp64 => Tensor::from_vec(shape, floats.map(f64::from).collect()),
        integer => with_element!(integer, T => {
            let is_signed = matches!(
                integer,
                DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64
            );
            let integers = positions.map(|position| position.integer(kind.integers, is_signed));
            // The low bytes of a number are the same number in a narrower type.
            let elements = integers.map(|number| {
                bytemuck::pod_read_unaligned::<T>(&number.to_le_bytes()[..size_of::<T>()])
            });
            Tensor::from_vec(shape, elements.collect())
        }, else => return None),
    };
    tensor.ok()
}

/// `None` if the shape has more elements than a tensor can have.
fn shape(spec: &TensorSpec, rows: usize, open: usize) -> Option<Shape> {
    let dims = spec.dims.as_deref().unwrap_or_default().iter();
    let extents = dims.enumerate().map(|(axis, dim)| match dim {
        Dim::Fixed(extent) => *extent,
        Dim::Any if axis == 0 => rows,
        Dim::Any => open,
    });
    Shape::new(&extents.collect::<Vec<_>>()).ok()
}

/// The place of an element in a sample.
#[derive(Clone, Copy)]
struct Position {
    at: usize,
    row: usize,
    column: usize,
}

impl Position {
    /// A number between -1 and 1. The second row of a sample has negative ones only
    /// and the third has positive ones only; the others have both.
    fn float(self) -> f32 {
        // 24 bits of noise, as many as a number below 1 has.
        let unit = (noise(self.at) as f32 + 0.5) / (1 << 24) as f32;
        match self.row % 5 {
            1 => -unit,
            2 => unit,
            _ => 2.0 * unit - 1.0,
        }
    }

    /// A small number. Neighbouring rows differ in every element.
    fn integer(self, kind: Integers, is_signed: bool) -> i64 {
        let step = noise(self.column) as i64 + self.row as i64;
        match kind {
            Integers::Bits => self.bit() as i64,
            Integers::Signed if is_signed => match step % 8 {
                at @ 0..4 => at - 4,
                at => at - 3,
            },
            Integers::Signed | Integers::Small => step % 7 + 1,
        }
    }

    /// 1 in the first row, and different in neighbouring rows whatever their width.
    fn bit(self) -> u64 {
        if self.column == 0 {
            (self.row as u64 + 1) & 1
        } else {
            noise(self.at) & 1
        }
    }
}

/// 24 bits that look random, the same for the same position: Fibonacci hashing (Knuth, The Art of
/// Computer Programming, volume 3, section 6.4), with 2^64 divided by the golden ratio.
fn noise(position: usize) -> u64 {
    (position as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(datatype: DataType, dims: &[Dim]) -> TensorSpec {
        TensorSpec {
            name: "x".to_owned(),
            datatype,
            dims: Some(dims.to_vec()),
            optional: false,
        }
    }

    fn signature(input: TensorSpec, output: TensorSpec) -> Signature {
        Signature {
            inputs: vec![input],
            outputs: vec![output],
        }
    }

    fn first_sample(signature: &Signature, rows: usize) -> Tensor {
        let kind = SampleKind::candidates(signature)[0];
        let sample = samples(signature, rows, kind).expect("the sample is small");
        sample.into_iter().next().flatten().expect("one input")
    }

    #[test]
    fn floats_are_on_both_sides_of_zero_and_each_row_differs() {
        let wide = [Dim::Any, Dim::Fixed(4)];
        let wide = signature(spec(DataType::Fp32, &wide), spec(DataType::Fp32, &wide));
        let sample = first_sample(&wide, 5);
        let values = sample.as_slice::<f32>().unwrap();
        assert!(values[4..8].iter().all(|value| *value < 0.0), "{values:?}");
        assert!(values[8..12].iter().all(|value| *value > 0.0), "{values:?}");
        let rows: Vec<&[f32]> = values.chunks(4).collect();
        for (at, row) in rows.iter().enumerate() {
            assert!(rows[..at].iter().all(|other| other != row), "{values:?}");
        }
    }

    #[test]
    fn integers_differ_between_rows_and_are_not_all_zero() {
        for datatype in [DataType::Int64, DataType::Int8, DataType::Uint8] {
            let narrow = [Dim::Any, Dim::Fixed(1)];
            let narrow = signature(spec(datatype, &narrow), spec(datatype, &narrow));
            let wire = first_sample(&narrow, 5).wire();
            let rows: std::collections::BTreeSet<&[u8]> = wire.chunks(wire.len() / 5).collect();
            assert_eq!(rows.len(), 5, "{datatype}: {wire:?}");
            assert!(rows.iter().all(|row| row.iter().any(|byte| *byte != 0)));
        }
    }

    #[test]
    fn enormous_extents_of_inputs_or_outputs_have_no_sample() {
        let one = [Dim::Any, Dim::Fixed(1)];
        let huge = [Dim::Any, Dim::Fixed(1 << 49)];
        let cubes = [Dim::Any, Dim::Any, Dim::Any, Dim::Any, Dim::Any];
        let huge_input = signature(spec(DataType::Fp32, &huge), spec(DataType::Fp32, &one));
        let huge_output = signature(spec(DataType::Fp32, &one), spec(DataType::Fp32, &huge));
        for signature in [huge_input, huge_output] {
            let kind = SampleKind::candidates(&signature)[0];
            assert!(samples(&signature, 1, kind).is_none());
            assert_eq!(rows_that_fit(&signature, 5, kind), 0);
        }
        let cubes = signature(spec(DataType::Fp32, &cubes), spec(DataType::Fp32, &one));
        let made = SampleKind::candidates(&cubes)
            .into_iter()
            .filter_map(|kind| samples(&cubes, 1, kind));
        let bytes = made.map(|sample| byte_len(&sample)).max();
        assert!(bytes.is_some_and(|bytes| bytes <= MAX_SAMPLE_BYTES));
    }
}
