//! Answers as bytes, for the second level of the response cache. The bytes are authenticated before
//! they come here; whoever changes this form must change the version of the seal
//! (`crates/redis/src/seal.rs`).
//!
//! ```text
//! outputs (4) | for each: index (4) | data type, with its length (1) | rank (1) | extents (8 each) |
//!               bytes (8) | the binary form of the tensor
//! ```

use std::sync::Arc;

use bytes::{Buf, Bytes};
use tidegate_core::{Shape, Tensor};
use tidegate_gateway::AnswerCodec;

use super::execute::Executed;
use crate::{OutputTensor, Timing};

/// How answers are shared.
pub const ANSWER_CODEC: AnswerCodec<Arc<Executed>> = AnswerCodec { encode, decode };

fn encode(executed: &Arc<Executed>) -> Vec<u8> {
    let outputs = &executed.outputs;
    let mut bytes = Vec::with_capacity(executed.bytes() + 64 * outputs.len());
    bytes.extend((outputs.len() as u32).to_le_bytes());
    for output in outputs {
        let tensor = &output.tensor;
        let datatype = tensor.datatype().name().as_bytes();
        let wire = tensor.wire();
        bytes.extend((output.index as u32).to_le_bytes());
        bytes.push(datatype.len() as u8);
        bytes.extend(datatype);
        bytes.push(tensor.shape().len() as u8);
        for extent in tensor.shape().iter() {
            bytes.extend((*extent as u64).to_le_bytes());
        }
        bytes.extend((wire.len() as u64).to_le_bytes());
        bytes.extend(wire);
    }
    bytes
}

fn decode(bytes: Vec<u8>) -> Option<(Arc<Executed>, usize)> {
    let mut rest = Bytes::from(bytes);
    let count = rest.try_get_u32_le().ok()?;
    let mut outputs = Vec::new();
    for _ in 0..count {
        outputs.push(decode_output(&mut rest)?);
    }
    if !rest.is_empty() {
        return None;
    }
    let executed = Executed {
        outputs,
        timing: Timing::default(),
    };
    let bytes = executed.bytes();
    Some((Arc::new(executed), bytes))
}

fn decode_output(rest: &mut Bytes) -> Option<OutputTensor> {
    let index = rest.try_get_u32_le().ok()? as usize;
    let length = rest.try_get_u8().ok()?;
    let datatype = take(rest, usize::from(length))?;
    let datatype = std::str::from_utf8(&datatype).ok()?.parse().ok()?;
    let mut extents = Vec::new();
    for _ in 0..rest.try_get_u8().ok()? {
        extents.push(usize::try_from(rest.try_get_u64_le().ok()?).ok()?);
    }
    let shape = Shape::new(&extents).ok()?;
    let length = usize::try_from(rest.try_get_u64_le().ok()?).ok()?;
    let wire = take(rest, length)?;
    // Copied to where its elements are aligned.
    let tensor = Tensor::from_wire(datatype, shape, wire).ok()?.aligned();
    Some(OutputTensor { index, tensor })
}

fn take(rest: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= rest.len()).then(|| rest.split_to(length))
}

#[cfg(test)]
mod tests {
    use tidegate_core::DataType;

    use super::*;

    fn executed() -> Arc<Executed> {
        let shape = |extents: &[usize]| Shape::new(extents).unwrap();
        let strings = Bytes::from_static(b"\x03\0\0\0yes\0\0\0\0");
        let tensors = [
            Tensor::from_vec(shape(&[2, 2]), vec![0.5f32, -1.0, f32::NAN, 3.0]).unwrap(),
            Tensor::from_wire(DataType::Bytes, shape(&[2]), strings).unwrap(),
            Tensor::from_vec(shape(&[]), vec![7i64]).unwrap(),
            Tensor::from_vec(shape(&[0, 3]), Vec::<u8>::new()).unwrap(),
        ];
        let outputs = tensors.into_iter().enumerate();
        Arc::new(Executed {
            outputs: outputs
                .map(|(index, tensor)| OutputTensor {
                    index: 10 - index,
                    tensor,
                })
                .collect(),
            timing: Timing::default(),
        })
    }

    #[test]
    fn an_answer_comes_back_as_it_was() {
        let (decoded, bytes) = decode(encode(&executed())).unwrap();
        assert_eq!(bytes, executed().bytes());
        assert_eq!(decoded.outputs.len(), 4);
        for (output, expected) in decoded.outputs.iter().zip(&executed().outputs) {
            assert_eq!(output.index, expected.index);
            assert_eq!(output.tensor.datatype(), expected.tensor.datatype());
            assert_eq!(output.tensor.shape(), expected.tensor.shape());
            assert_eq!(output.tensor.wire(), expected.tensor.wire());
            assert!(output.tensor.is_aligned());
        }
    }

    #[test]
    fn whatever_is_cut_off_or_longer_is_no_answer() {
        let whole = encode(&executed());
        for end in 0..whole.len() {
            assert!(decode(whole[..end].to_vec()).is_none(), "{end}");
        }
        assert!(decode([&whole[..], b"x"].concat()).is_none());
    }
}
