//! Answers in JSON, with the binary tensor data extension.

use bytes::Bytes;
use tidegate_core::{DataType, Tensor, TensorView, bf16, f16, with_element};
use tidegate_serving::{ErrorCode, InferError, InferResponse, OutputTensor};

use super::piece::Piece;
use crate::limits::refuse_beyond;
use crate::shared_memory::SharedPart;

/// Writes an answer; `binary` says for each output whether its data goes behind the JSON, and `shared`
/// where in shared memory it is already. The
/// second value is the length of the JSON if there is binary data.
pub(crate) fn encode_infer(
    response: &InferResponse,
    id: Option<&str>,
    binary: impl Fn(usize) -> bool,
    shared: &[Option<SharedPart>],
    max_bytes: usize,
) -> Result<(Vec<u8>, Option<usize>), InferError> {
    refuse_oversized(response, &binary, max_bytes)?;
    let version = &response.version;
    let mut capacity = 192 + 64 * response.outputs.len();
    for (at, output) in response.outputs.iter().enumerate() {
        if !binary(at) {
            capacity += 12 * output.tensor.shape().element_count();
        }
    }
    let mut out = Vec::with_capacity(capacity);
    let mut sections: Vec<Bytes> = Vec::new();
    out.extend_from_slice(b"{\"model_name\":");
    string(&mut out, version.model().as_bytes())?;
    out.extend_from_slice(b",\"model_version\":");
    string(&mut out, version.number().as_bytes())?;
    if let Some(id) = id {
        out.extend_from_slice(b",\"id\":");
        string(&mut out, id.as_bytes())?;
    }
    parameters(&mut out, response)?;
    out.extend_from_slice(b",\"outputs\":[");
    for (at, output) in response.outputs.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"name\":");
        string(
            &mut out,
            version.signature().outputs[output.index].name.as_bytes(),
        )?;
        out.extend_from_slice(b",\"datatype\":\"");
        out.extend_from_slice(output.tensor.datatype().name().as_bytes());
        out.extend_from_slice(b"\",\"shape\":[");
        separated(&mut out, output.tensor.shape().iter(), |out, extent| {
            integer(out, *extent)
        });
        if let Some(Some(part)) = shared.get(at) {
            shared_part(&mut out, part)?;
        } else if binary(at) {
            let section = output.tensor.wire();
            out.extend_from_slice(b"],\"parameters\":{\"binary_data_size\":");
            integer(&mut out, section.len());
            out.extend_from_slice(b"}}");
            sections.push(section);
        } else {
            out.extend_from_slice(b"],\"data\":[");
            data(&mut out, &output.tensor)?;
            out.extend_from_slice(b"]}");
        }
    }
    out.extend_from_slice(b"]}");
    let header_bytes = (!sections.is_empty()).then_some(out.len());
    let binary_bytes = sections.iter().map(Bytes::len).sum();
    refuse_beyond(max_bytes, out.len().saturating_add(binary_bytes))?;
    // Exactly: growing as vectors do would take up to twice the memory of large outputs.
    out.reserve_exact(binary_bytes);
    for section in sections {
        out.extend_from_slice(&section);
    }
    Ok((out, header_bytes))
}

/// The parameters of an output whose data is in shared memory.
fn shared_part(out: &mut Vec<u8>, part: &SharedPart) -> Result<(), InferError> {
    out.extend_from_slice(b"],\"parameters\":{\"shared_memory_region\":");
    string(out, part.region.as_bytes())?;
    out.extend_from_slice(b",\"shared_memory_offset\":");
    out.extend_from_slice(itoa::Buffer::new().format(part.offset).as_bytes());
    out.extend_from_slice(b",\"shared_memory_byte_size\":");
    integer(out, part.bytes);
    out.extend_from_slice(b"}}");
    Ok(())
}

/// What is unusual about an answer.
fn parameters(out: &mut Vec<u8>, response: &InferResponse) -> Result<(), InferError> {
    let prediction = response.prediction.as_ref();
    if !response.cold_start && response.fallback.is_none() && prediction.is_none() {
        return Ok(());
    }
    out.extend_from_slice(b",\"parameters\":{");
    let begin = out.len();
    if response.cold_start {
        out.extend_from_slice(b"\"cold_start\":true");
    }
    if let Some(prediction) = prediction {
        separate(out, out.len() - begin);
        out.extend_from_slice(b"\"prediction_id\":\"");
        out.extend_from_slice(prediction.id().to_string().as_bytes());
        out.push(b'"');
    }
    if let Some(fallback) = &response.fallback {
        separate(out, out.len() - begin);
        out.extend_from_slice(b"\"fallback\":");
        string(out, fallback.by.as_bytes())?;
        out.extend_from_slice(b",\"fallback_reason\":");
        string(out, fallback.reason.name().as_bytes())?;
    }
    out.push(b'}');
    Ok(())
}

/// Writes a KServe v1 answer: `{"predictions": […]}`, one entry for each row; with several outputs
/// an entry is an object of them. Outputs that do not have one row for each instance are written
/// whole, as `{"predictions": {"output": …}}`.
pub(crate) fn encode_predictions(
    response: &InferResponse,
    max_bytes: usize,
) -> Result<Vec<u8>, InferError> {
    refuse_oversized(response, |_| false, max_bytes)?;
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"predictions\":");
    match response.outputs.as_slice() {
        [output] => nested(&mut out, &output.tensor, output.tensor.shape())?,
        outputs => match outputs.first().and_then(rows) {
            Some(count) if outputs.iter().all(|output| rows(output) == Some(count)) => {
                out.push(b'[');
                for row in 0..count {
                    separate(&mut out, row);
                    object(&mut out, response, |tensor| row_of(tensor, row))?;
                }
                out.push(b']');
            }
            _ => object(&mut out, response, |tensor| Ok(tensor.clone()))?,
        },
    }
    out.push(b'}');
    refuse_beyond(max_bytes, out.len())?;
    Ok(out)
}

/// The first extent of an output, which is that of the batch.
fn rows(output: &OutputTensor) -> Option<usize> {
    output.tensor.shape().first().copied()
}

/// Refuses, before any memory is taken for it, an answer that cannot be within its limit: an
/// element in JSON takes two bytes or more, with its comma.
fn refuse_oversized(
    response: &InferResponse,
    binary: impl Fn(usize) -> bool,
    max_bytes: usize,
) -> Result<(), InferError> {
    let mut least: usize = 0;
    for (at, output) in response.outputs.iter().enumerate() {
        let tensor = &output.tensor;
        least = least.saturating_add(if binary(at) {
            tensor.byte_len()
        } else {
            2 * tensor.shape().element_count()
        });
    }
    refuse_beyond(max_bytes, least)
}

/// All outputs by name, each as `part` makes it.
fn object(
    out: &mut Vec<u8>,
    response: &InferResponse,
    part: impl Fn(&Tensor) -> Result<Tensor, InferError>,
) -> Result<(), InferError> {
    out.push(b'{');
    for (at, output) in response.outputs.iter().enumerate() {
        separate(out, at);
        string(
            out,
            response.version.signature().outputs[output.index]
                .name
                .as_bytes(),
        )?;
        out.push(b':');
        let tensor = part(&output.tensor)?;
        nested(out, &tensor, tensor.shape())?;
    }
    out.push(b'}');
    Ok(())
}

fn separate(out: &mut Vec<u8>, at: usize) {
    if at > 0 {
        out.push(b',');
    }
}

fn nested(out: &mut Vec<u8>, tensor: &Tensor, shape: &[usize]) -> Result<(), InferError> {
    if shape.len() <= 1 {
        let scalar = shape.is_empty();
        out.extend_from_slice(if scalar { b"" } else { b"[" });
        data(out, tensor)?;
        out.extend_from_slice(if scalar { b"" } else { b"]" });
        return Ok(());
    }
    out.push(b'[');
    for row in 0..shape[0] {
        separate(out, row);
        nested(out, &row_of(tensor, row)?, &shape[1..])?;
    }
    out.push(b']');
    Ok(())
}

/// One entry of axis 0, without that axis.
fn row_of(tensor: &Tensor, row: usize) -> Result<Tensor, InferError> {
    let inner =
        tidegate_core::Shape::new(&tensor.shape()[1..]).map_err(|error| internal(&error))?;
    let slice = tensor.slice_rows(row, 1);
    Tensor::from_wire(tensor.datatype(), inner, slice.wire()).map_err(|error| internal(&error))
}

fn internal(error: &dyn std::error::Error) -> InferError {
    InferError::new(ErrorCode::Internal, error.to_string())
}

/// The elements, flat, separated by commas.
fn data(out: &mut Vec<u8>, tensor: &Tensor) -> Result<(), InferError> {
    match tensor.view() {
        TensorView::Strings(strings) => {
            for (at, text) in strings.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                string(out, text)?;
            }
        }
        TensorView::Fixed(bytes) if tensor.datatype() == DataType::Bool => {
            separated(out, bytes.iter(), |out, byte| {
                out.extend_from_slice(if *byte != 0 { b"true" } else { b"false" });
            });
        }
        TensorView::Fixed(_) => with_element!(tensor.datatype(), T => {
            match tensor.as_slice::<T>() {
                Some(elements) => numbers(out, elements),
                // Bytes of the wire need not be aligned for their type: such are copied.
                None => numbers(out, &tensor.to_vec::<T>().unwrap_or_default()),
            }
        }, else => {}),
    }
    Ok(())
}

fn separated<T>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, item);
    }
}

fn integer(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A JSON string. Fails for bytes that are not UTF-8.
fn string(out: &mut Vec<u8>, text: &[u8]) -> Result<(), InferError> {
    let text = std::str::from_utf8(text).map_err(|_| {
        let message = "an output holds bytes that are not UTF-8: ask for binary data";
        InferError::new(ErrorCode::InvalidParameter, message)
    })?;
    if needs_escape(text.as_bytes()) {
        return serde_json::to_writer(out, text).map_err(|error| internal(&error));
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
    Ok(())
}

/// Whether a JSON string cannot hold one of the bytes as it is (RFC 8259, section 7).
fn needs_escape(text: &[u8]) -> bool {
    for &byte in text {
        if byte < b' ' || byte == b'"' || byte == b'\\' {
            return true;
        }
    }
    false
}

/// Numbers, separated by commas.
fn numbers<T: WriteJson>(out: &mut Vec<u8>, elements: &[T]) {
    let mut piece = Piece::new();
    for (at, element) in elements.iter().enumerate() {
        if piece.is_full() {
            piece.append_to(out);
        }
        if at > 0 {
            piece.comma();
        }
        element.write(&mut piece);
    }
    piece.append_to(out);
}

/// How an element is written in JSON: the shortest text that reads back as the same value. JSON has
/// no digits for NaN, which is `null`, and for the infinities, which are strings.
trait WriteJson {
    fn write(&self, piece: &mut Piece);
}

macro_rules! write_integers {
    ($($integer:ty),*) => {
        $(impl WriteJson for $integer {
            fn write(&self, piece: &mut Piece) {
                piece.push(itoa::Buffer::new().format(*self).as_bytes());
            }
        })*
    };
}

macro_rules! write_floats {
    ($($float:ty),*) => {
        $(impl WriteJson for $float {
            fn write(&self, piece: &mut Piece) {
                if self.is_finite() {
                    piece.push(zmij::Buffer::new().format_finite(*self).as_bytes());
                } else {
                    piece.push(not_finite(self.is_nan(), *self > 0.0));
                }
            }
        })*
    };
}

write_integers!(u8, u16, u32, u64, i8, i16, i32, i64);
write_floats!(f32, f64);

// The writer of digits has no 16-bit floats; `f32` holds every value of both kinds.
impl WriteJson for f16 {
    fn write(&self, piece: &mut Piece) {
        self.to_f32().write(piece);
    }
}

impl WriteJson for bf16 {
    fn write(&self, piece: &mut Piece) {
        self.to_f32().write(piece);
    }
}

fn not_finite(nan: bool, positive: bool) -> &'static [u8] {
    match (nan, positive) {
        (true, _) => b"null",
        (false, true) => b"\"Infinity\"",
        (false, false) => b"\"-Infinity\"",
    }
}
