//! The elements of a tensor in JSON. What is written and read is exact.

use std::io::Write;
use std::str::FromStr;

use jiter::{Jiter, JiterError, Peek};
use tidegate_core::{
    DataType, Element, Shape, StringArrayBuilder, Tensor, TensorView, bf16, f16, parse_not_finite,
};

use crate::failure::CallFailure;

/// Writes the elements of a tensor, without the brackets around them.
pub(super) fn write_elements(
    out: &mut Vec<u8>,
    name: &str,
    tensor: &Tensor,
) -> Result<(), CallFailure> {
    if let TensorView::Strings(strings) = tensor.view() {
        return write_strings(out, name, strings.iter());
    }
    let written = match tensor.datatype() {
        DataType::Bool => write_bools(out, &tensor.wire()),
        DataType::Uint8 => write_all::<u8>(out, tensor),
        DataType::Uint16 => write_all::<u16>(out, tensor),
        DataType::Uint32 => write_all::<u32>(out, tensor),
        DataType::Uint64 => write_all::<u64>(out, tensor),
        DataType::Int8 => write_all::<i8>(out, tensor),
        DataType::Int16 => write_all::<i16>(out, tensor),
        DataType::Int32 => write_all::<i32>(out, tensor),
        DataType::Int64 => write_all::<i64>(out, tensor),
        DataType::Fp16 => write_floats(out, tensor, f16::to_f64),
        DataType::Bf16 => write_floats(out, tensor, bf16::to_f64),
        DataType::Fp32 => write_floats::<f32>(out, tensor, f64::from),
        DataType::Fp64 => write_floats::<f64>(out, tensor, |value| value),
        DataType::Bytes => None,
    };
    written.ok_or_else(|| {
        CallFailure::rejected(format!(
            "takes JSON only, which has no digits for the NaN or infinity of input \"{name}\": \
             use gRPC"
        ))
    })
}

fn write_strings<'a>(
    out: &mut Vec<u8>,
    name: &str,
    strings: impl Iterator<Item = &'a [u8]>,
) -> Result<(), CallFailure> {
    for (at, string) in strings.enumerate() {
        let text = std::str::from_utf8(string).map_err(|_| {
            CallFailure::rejected(format!(
                "takes JSON only, and input \"{name}\" is not UTF-8: use gRPC"
            ))
        })?;
        separate(out, at);
        serde_json::to_writer(&mut *out, text).expect("a vector takes all that is written");
    }
    Ok(())
}

fn write_bools(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    for (at, byte) in bytes.iter().enumerate() {
        separate(out, at);
        out.extend_from_slice(if *byte == 0 { b"false" } else { b"true" });
    }
    Some(())
}

fn write_all<T: Element + std::fmt::Display>(out: &mut Vec<u8>, tensor: &Tensor) -> Option<()> {
    for (at, value) in tensor.to_vec::<T>()?.into_iter().enumerate() {
        separate(out, at);
        write!(out, "{value}").ok()?;
    }
    Some(())
}

fn write_floats<T: Element>(
    out: &mut Vec<u8>,
    tensor: &Tensor,
    to_f64: impl Fn(T) -> f64,
) -> Option<()> {
    for (at, value) in tensor.to_vec::<T>()?.into_iter().enumerate() {
        let value = to_f64(value);
        if !value.is_finite() {
            return None;
        }
        separate(out, at);
        // The shortest text that gives the same double, with an exponent where it is long.
        write!(out, "{value:?}").ok()?;
    }
    Some(())
}

fn separate(out: &mut Vec<u8>, at: usize) {
    if at > 0 {
        out.push(b',');
    }
}

/// Reads the elements of an output: one list, or lists in lists as the shape has them.
pub(super) fn read(text: &[u8], datatype: DataType, shape: Shape) -> Result<Tensor, String> {
    let built = match datatype {
        DataType::Bool => {
            let flags = Reader::all(text, &shape, boolean)?;
            return Tensor::from_wire(datatype, shape, flags.into()).map_err(text_of);
        }
        DataType::Uint8 => {
            Tensor::from_vec(shape.clone(), Reader::all(text, &shape, integer::<u8>)?)
        }
        DataType::Uint16 => {
            Tensor::from_vec(shape.clone(), Reader::all(text, &shape, integer::<u16>)?)
        }
        DataType::Uint32 => {
            Tensor::from_vec(shape.clone(), Reader::all(text, &shape, integer::<u32>)?)
        }
        DataType::Uint64 => {
            Tensor::from_vec(shape.clone(), Reader::all(text, &shape, integer::<u64>)?)
        }
        DataType::Int8 => {
            Tensor::from_vec(shape.clone(), Reader::all(text, &shape, integer::<i8>)?)
        }
        DataType::Int16 => {
            Tensor::from_vec(shape.clone(), Reader::all(text, &shape, integer::<i16>)?)
        }
        DataType::Int32 => {
            Tensor::from_vec(shape.clone(), Reader::all(text, &shape, integer::<i32>)?)
        }
        DataType::Int64 => {
            Tensor::from_vec(shape.clone(), Reader::all(text, &shape, integer::<i64>)?)
        }
        DataType::Fp16 => Tensor::from_vec(shape.clone(), Reader::all(text, &shape, half)?),
        DataType::Bf16 => Tensor::from_vec(shape.clone(), Reader::all(text, &shape, brain)?),
        DataType::Fp32 => Tensor::from_vec(shape.clone(), Reader::all(text, &shape, single)?),
        DataType::Fp64 => Tensor::from_vec(shape.clone(), Reader::all(text, &shape, float)?),
        DataType::Bytes => {
            let mut strings = StringArrayBuilder::default();
            for string in Reader::all(text, &shape, string)? {
                strings.push(string.as_bytes());
            }
            Tensor::from_strings(shape.clone(), strings.finish())
        }
    };
    built.map_err(text_of)
}

fn text_of(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// One element; `None` if it is not one of its type.
type Read<T> = fn(&mut Jiter<'_>, Peek) -> Result<Option<T>, JiterError>;

/// Walks through lists in lists.
struct Reader<'a, T> {
    shape: &'a Shape,
    read: Read<T>,
    elements: Vec<T>,
    is_nested: bool,
}

impl<'a, T> Reader<'a, T> {
    fn all(text: &[u8], shape: &'a Shape, read: Read<T>) -> Result<Vec<T>, String> {
        let mut json = Jiter::new(text).with_allow_inf_nan();
        let mut reader = Self {
            shape,
            read,
            // The shape is only the server's claim: more memory is taken as data arrives.
            elements: Vec::with_capacity(shape.element_count().min(4096)),
            is_nested: false,
        };
        let is_read = reader.list(&mut json, 0);
        match is_read.map_err(|error| format!("its data cannot be read: {error}"))? {
            true => Ok(reader.elements),
            false => Err("its data does not fit its type and shape".to_owned()),
        }
    }

    /// Reads a list at a depth; false if something in it does not fit.
    fn list(&mut self, json: &mut Jiter<'_>, depth: usize) -> Result<bool, JiterError> {
        if depth >= Shape::MAX_RANK {
            return Ok(false);
        }
        let mut next = json.next_array()?;
        let (mut length, mut lists) = (0, 0);
        while let Some(peek) = next {
            length += 1;
            if peek == Peek::Array {
                lists += 1;
                self.is_nested = true;
                if !self.list(json, depth + 1)? {
                    return Ok(false);
                }
            } else {
                match (self.read)(json, peek)? {
                    Some(element) => self.elements.push(element),
                    None => return Ok(false),
                }
            }
            next = json.array_step()?;
        }
        // Numbers stand in one flat list, or at the depth that the shape has.
        let is_uniform = lists == 0 || lists == length;
        let fits = !self.is_nested
            || (self.shape.get(depth) == Some(&length)
                && (lists > 0 || length == 0 || depth + 1 == self.shape.len()));
        Ok(is_uniform && fits)
    }
}

fn parsed<T: FromStr>(number: &[u8]) -> Option<T> {
    std::str::from_utf8(number).ok()?.parse().ok()
}

fn integer<T: FromStr>(json: &mut Jiter<'_>, peek: Peek) -> Result<Option<T>, JiterError> {
    if !peek.is_num() {
        return Ok(None);
    }
    json.known_number_bytes(peek).map(parsed)
}

fn boolean(json: &mut Jiter<'_>, peek: Peek) -> Result<Option<u8>, JiterError> {
    match peek {
        Peek::True | Peek::False => json.known_bool(peek).map(|flag| Some(u8::from(flag))),
        _ => Ok(integer::<u8>(json, peek)?.filter(|flag| *flag <= 1)),
    }
}

/// Rust's own parser is correctly rounded, so what was written exactly is read exactly.
fn float(json: &mut Jiter<'_>, peek: Peek) -> Result<Option<f64>, JiterError> {
    match peek {
        Peek::Null => json.known_null().map(|()| Some(f64::NAN)),
        Peek::String => json.known_str().map(parse_not_finite),
        _ => {
            let number = json.known_number_bytes(peek)?;
            Ok(parsed(number).or_else(|| parse_not_finite(std::str::from_utf8(number).ok()?)))
        }
    }
}

fn single(json: &mut Jiter<'_>, peek: Peek) -> Result<Option<f32>, JiterError> {
    if peek.is_num() {
        let number = json.known_number_bytes(peek)?;
        if let Some(value) = parsed(number) {
            return Ok(Some(value));
        }
        return Ok(
            parse_not_finite(std::str::from_utf8(number).unwrap_or_default()).map(|x| x as f32),
        );
    }
    Ok(float(json, peek)?.map(|value| value as f32))
}

fn half(json: &mut Jiter<'_>, peek: Peek) -> Result<Option<f16>, JiterError> {
    Ok(float(json, peek)?.map(f16::from_f64))
}

fn brain(json: &mut Jiter<'_>, peek: Peek) -> Result<Option<bf16>, JiterError> {
    Ok(float(json, peek)?.map(bf16::from_f64))
}

fn string(json: &mut Jiter<'_>, peek: Peek) -> Result<Option<String>, JiterError> {
    if peek != Peek::String {
        return Ok(None);
    }
    json.known_str().map(|text| Some(text.to_owned()))
}
