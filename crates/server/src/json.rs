//! Tensors in JSON: read in one pass into typed memory, written straight into the answer's buffer.

mod decode;
mod elements;
mod encode;
mod instances;
mod numbers;
mod piece;

pub(crate) use decode::{DecodedRequest, decode_by, decode_infer};
pub(crate) use encode::{encode_infer, encode_predictions};
pub(crate) use instances::decode_instances;
