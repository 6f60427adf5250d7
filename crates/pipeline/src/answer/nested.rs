//! Rows of tensors as nested arrays of JSON.

use bytes::Bytes;
use tidegate_core::{DataType, StringArray, Tensor, TensorView, bf16, f16, with_element};

use super::push_text;

/// Writes a row of a tensor: an array for each axis behind that of the rows.
pub(super) fn push_tensor(json: &mut Vec<u8>, tensor: &Tensor, row: usize) {
    let row = tensor.slice_rows(row, 1);
    let extents = &row.shape()[1..];
    match row.view() {
        TensorView::Strings(texts) => push_axis(json, extents, &mut text_writer(texts)),
        TensorView::Fixed(bytes) if row.datatype() == DataType::Bool => {
            push_axis(json, extents, &mut bool_writer(bytes));
        }
        TensorView::Fixed(_) => with_element!(row.datatype(), T => {
            let elements = row.to_vec::<T>().unwrap_or_default();
            push_axis(json, extents, &mut number_writer(elements));
        }, else => unreachable!("BOOL and BYTES are handled above")),
    }
}

/// Writes the next elements under the extents that are left.
fn push_axis(json: &mut Vec<u8>, extents: &[usize], next: &mut impl FnMut(&mut Vec<u8>)) {
    let Some((extent, inner)) = extents.split_first() else {
        return next(json);
    };
    json.push(b'[');
    for at in 0..*extent {
        if at > 0 {
            json.push(b',');
        }
        push_axis(json, inner, next);
    }
    json.push(b']');
}

fn number_writer<T: JsonNumber>(elements: Vec<T>) -> impl FnMut(&mut Vec<u8>) {
    let mut elements = elements.into_iter();
    move |json| match elements.next() {
        Some(element) => element.push(json),
        None => unreachable!("a tensor has as many elements as its shape says"),
    }
}

fn bool_writer(bytes: &Bytes) -> impl FnMut(&mut Vec<u8>) {
    let mut bytes = bytes.iter();
    move |json| {
        let text = if bytes.next() == Some(&1) {
            "true"
        } else {
            "false"
        };
        json.extend_from_slice(text.as_bytes());
    }
}

fn text_writer(texts: &StringArray) -> impl FnMut(&mut Vec<u8>) {
    let mut texts = texts.iter();
    move |json| {
        let text = texts.next().unwrap_or_default();
        push_text(json, &String::from_utf8_lossy(text));
    }
}

/// A number that JSON can hold; what it cannot is `null`.
trait JsonNumber {
    fn push(self, json: &mut Vec<u8>);
}

macro_rules! integers {
    ($($integer:ty),*) => {
        $(impl JsonNumber for $integer {
            fn push(self, json: &mut Vec<u8>) {
                json.extend_from_slice(itoa::Buffer::new().format(self).as_bytes());
            }
        })*
    };
}

macro_rules! floats {
    ($($float:ty as $written:ty),*) => {
        $(impl JsonNumber for $float {
            fn push(self, json: &mut Vec<u8>) {
                let number = <$written>::from(self);
                if !number.is_finite() {
                    return json.extend_from_slice(b"null");
                }
                json.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
            }
        })*
    };
}

integers!(u8, u16, u32, u64, i8, i16, i32, i64);
floats!(f16 as f32, bf16 as f32, f32 as f32, f64 as f64);
