//! Tensors in JSON: read in one pass into typed memory, written straight into the answer's buffer.

mod decode;
mod elements;
mod encode;
mod numbers;
mod piece;

pub(crate) use decode::{DecodedRequest, decode_by, decode_infer, decode_instances};
pub(crate) use encode::{encode_infer, encode_predictions};
