//! Synthetic inputs: the same every time, different in every row.

use tidegate_core::{
    DataType, Dim, Shape, Signature, StringArray, Tensor, TensorSpec, bf16, f16, with_element,
};

/// Inputs of so many rows, with the extent `open` for open dimensions other than the batch.
pub(super) fn samples(signature: &Signature, rows: usize, open: usize) -> Vec<Option<Tensor>> {
    signature
        .inputs
        .iter()
        .map(|spec| {
            if spec.optional {
                None
            } else {
                sample(spec, rows, open)
            }
        })
        .collect()
}

pub(super) fn byte_len(sample: &[Option<Tensor>]) -> usize {
    sample.iter().flatten().map(Tensor::byte_len).sum()
}

fn sample(spec: &TensorSpec, rows: usize, open: usize) -> Option<Tensor> {
    let shape = shape(spec, rows, open)?;
    let noise = (0..shape.element_count() as u64).map(noise);
    let tensor = match spec.datatype {
        DataType::Bytes => {
            let texts: StringArray = noise.map(|n| format!("warm up {}", n % 97)).collect();
            Tensor::from_strings(shape, texts)
        }
        DataType::Bool => {
            let bytes: Vec<u8> = noise.map(|n| (n & 1) as u8).collect();
            Tensor::from_wire(DataType::Bool, shape, bytes.into())
        }
        DataType::Fp16 => Tensor::from_vec(shape, noise.map(unit).map(f16::from_f32).collect()),
        DataType::Bf16 => Tensor::from_vec(shape, noise.map(unit).map(bf16::from_f32).collect()),
        DataType::Fp32 => Tensor::from_vec(shape, noise.map(unit).collect()),
        DataType::Fp64 => Tensor::from_vec(shape, noise.map(unit).map(f64::from).collect()),
        // Small integers: most often they are indices, and every vocabulary has an entry 0 and 1.
        integer => with_element!(integer, T => {
            let elements: Vec<T> = noise.map(|n| bytemuck::cast_slice(&[n & 1])[0]).collect();
            Tensor::from_vec(shape, elements)
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

/// 24 bits that look random, the same for the same position: Fibonacci hashing (Knuth, The Art of
/// Computer Programming, volume 3, section 6.4), with 2^64 divided by the golden ratio.
fn noise(position: u64) -> u64 {
    position.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40
}

/// 24 bits of noise as a number in [0, 1).
fn unit(noise: u64) -> f32 {
    noise as f32 / (1 << 24) as f32
}
