//! Protobuf messages from outside, read with bounds on the memory that they take.

use std::marker::PhantomData;

use bytes::{Buf, Bytes};
use prost::encoding::{DecodeContext, decode_key, skip_field};
use prost::{DecodeError, Message};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic::metadata::MetadataValue;
use tonic_prost::{ProstCodec, ProstEncoder};

/// The trailer that carries the stable code of an error.
pub const CODE_KEY: &str = "tidegate-code";

/// Most fields at the top level of a message, repeated ones counted each time. An empty input takes
/// two bytes on the wire and some three hundred in memory: a message of nothing else would take
/// many times its size.
const MAX_FIELDS: usize = 8192;

/// As [`ProstCodec`], but bounds the number of fields of a message, and reports a message that cannot
/// be read as an error of the client, with its code.
#[derive(Debug)]
pub struct BoundedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + Send + 'static, U: Message + Default + Send + 'static> Codec
    for BoundedCodec<T, U>
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(PhantomData)
    }
}

/// Reads messages for [`BoundedCodec`].
#[derive(Debug)]
pub struct BoundedDecoder<U>(PhantomData<U>);

impl<U: Message + Default> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        decode(buffer.copy_to_bytes(buffer.remaining())).map(Some)
    }
}

/// Reads a message.
///
/// ```
/// use tidegate_protocol::inference::ModelReadyRequest;
///
/// // The field has five bytes, of which two have arrived.
/// let cut_off = bytes::Bytes::from_static(b"\x0a\x05fr");
/// let status = tidegate_protocol::decode::<ModelReadyRequest>(cut_off).unwrap_err();
/// assert_eq!(status.code(), tonic::Code::InvalidArgument);
/// ```
///
/// # Errors
/// INVALID_ARGUMENT with the code `malformed_request` or `too_many_inputs`.
pub fn decode<M: Message + Default>(bytes: Bytes) -> Result<M, Status> {
    if count_fields(&bytes).map_err(malformed)? > MAX_FIELDS {
        return Err(invalid_argument(
            "too_many_inputs",
            format!("the message has more than {MAX_FIELDS} fields"),
        ));
    }
    M::decode(bytes).map_err(malformed)
}

fn malformed(error: DecodeError) -> Status {
    let message = format!("the message cannot be read: {error}");
    invalid_argument("malformed_request", message)
}

fn invalid_argument(code: &'static str, message: String) -> Status {
    let mut status = Status::invalid_argument(message);
    status
        .metadata_mut()
        .insert(CODE_KEY, MetadataValue::from_static(code));
    status
}

/// The fields at the top level, counted no further than is needed.
fn count_fields(mut message: &[u8]) -> Result<usize, DecodeError> {
    // Keys and lengths only: nothing is allocated, so a message that is refused costs no memory.
    let mut fields = 0;
    while message.has_remaining() && fields <= MAX_FIELDS {
        let (tag, wire_type) = decode_key(&mut message)?;
        skip_field(wire_type, tag, &mut message, DecodeContext::default())?;
        fields += 1;
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tonic::Code;

    use super::*;
    use crate::inference::ModelInferRequest;
    use crate::inference::model_infer_request::InferInputTensor;

    fn code_of(bytes: impl Into<Bytes>) -> String {
        let status = decode::<ModelInferRequest>(bytes.into()).unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        status
            .metadata()
            .get(CODE_KEY)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn bytes_that_are_not_a_message_are_the_clients_error() {
        assert_eq!(code_of(&b"\x0a\x7fcut off"[..]), "malformed_request");
        assert_eq!(code_of(&b"\x0a\x02\xff\xfe"[..]), "malformed_request");
        assert_eq!(
            code_of(&b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..]),
            "malformed_request"
        );
    }

    fn empty_inputs(count: usize) -> Vec<u8> {
        b"\x2a\x00".repeat(count)
    }

    #[test]
    fn many_empty_fields_are_refused_before_they_take_memory() {
        assert_eq!(
            decode::<ModelInferRequest>(empty_inputs(MAX_FIELDS).into())
                .unwrap()
                .inputs
                .len(),
            MAX_FIELDS
        );
        assert_eq!(code_of(empty_inputs(MAX_FIELDS + 1)), "too_many_inputs");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let bounded = decode::<ModelInferRequest>(bytes.clone().into());
            let plain = ModelInferRequest::decode(Bytes::from(bytes));
            prop_assert_eq!(bounded.ok(), plain.ok());
        }

        #[test]
        fn a_message_is_read_as_it_was_written(names in prop::collection::vec(".{0,9}", 0..9), id in ".{0,20}") {
            let inputs = names.into_iter().map(|name| InferInputTensor { name, shape: vec![1, -1], ..Default::default() });
            let message = ModelInferRequest { id, inputs: inputs.collect(), ..ModelInferRequest::default() };
            prop_assert_eq!(decode::<ModelInferRequest>(message.encode_to_vec().into()).unwrap(), message);
        }
    }
}
