//! Values of a column as elements of a tensor, by the rules of the server's JSON.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow_cast::cast;
use arrow_schema::DataType as ArrowType;
use serde_json::Value;
use tidegate_core::{Element, bf16, f16, parse_not_finite};

use crate::input::Cells;

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Missing,
    Float(f64),
    Integer(i128),
    Boolean(bool),
    /// Text that is itself, or that a number is written in.
    Text(&'a str),
    Bytes(&'a [u8]),
}

/// The values of a column that has a type, or of one of CSV.
pub(super) enum CellArray {
    Double(PrimitiveArray<Float64Type>),
    Single(PrimitiveArray<Float32Type>),
    Integer(PrimitiveArray<Int64Type>),
    Unsigned(PrimitiveArray<UInt64Type>),
    Boolean(BooleanArray),
    Text(StringArray),
    Bytes(BinaryArray),
    Null,
}

impl CellArray {
    /// `None` if no element of a tensor is made of such values.
    pub(super) fn new(array: &ArrayRef) -> Option<Self> {
        Some(match array.data_type() {
            ArrowType::Dictionary(_, value) => return Self::new(&cast(array, value).ok()?),
            ArrowType::Float32 => Self::Single(array.as_primitive().clone()),
            ArrowType::UInt64 => Self::Unsigned(array.as_primitive().clone()),
            ArrowType::Boolean => Self::Boolean(array.as_boolean().clone()),
            ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => {
                Self::Text(cast(array, &ArrowType::Utf8).ok()?.as_string().clone())
            }
            ArrowType::Binary | ArrowType::LargeBinary | ArrowType::BinaryView => {
                Self::Bytes(cast(array, &ArrowType::Binary).ok()?.as_binary().clone())
            }
            other if other.is_integer() => {
                Self::Integer(cast(array, &ArrowType::Int64).ok()?.as_primitive().clone())
            }
            other if other.is_floating() || other.is_decimal() => Self::Double(
                cast(array, &ArrowType::Float64)
                    .ok()?
                    .as_primitive()
                    .clone(),
            ),
            ArrowType::Null => Self::Null,
            _ => return None,
        })
    }

    pub(super) fn cell(&self, row: usize) -> Cell<'_> {
        let is_null = match self {
            Self::Double(array) => array.is_null(row),
            Self::Single(array) => array.is_null(row),
            Self::Integer(array) => array.is_null(row),
            Self::Unsigned(array) => array.is_null(row),
            Self::Boolean(array) => array.is_null(row),
            Self::Text(array) => array.is_null(row),
            Self::Bytes(array) => array.is_null(row),
            Self::Null => true,
        };
        match self {
            _ if is_null => Cell::Missing,
            Self::Double(array) => Cell::Float(array.value(row)),
            Self::Single(array) => Cell::Float(f64::from(array.value(row))),
            Self::Integer(array) => Cell::Integer(i128::from(array.value(row))),
            Self::Unsigned(array) => Cell::Integer(i128::from(array.value(row))),
            Self::Boolean(array) => Cell::Boolean(array.value(row)),
            Self::Text(array) => Cell::Text(array.value(row)),
            Self::Bytes(array) => Cell::Bytes(array.value(row)),
            Self::Null => Cell::Missing,
        }
    }
}

/// The values of a text of JSON, lists flattened.
pub(super) fn json_cells(text: &str) -> Option<Vec<Value>> {
    if let Some(word) = parse_not_finite(text) {
        let word = if word.is_nan() {
            "NaN"
        } else if word > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        };
        return Some(vec![Value::from(word)]);
    }
    let mut values = Vec::new();
    flatten(serde_json::from_str(text).ok()?, &mut values);
    Some(values)
}

fn flatten(value: Value, values: &mut Vec<Value>) {
    match value {
        Value::Array(inner) => inner.into_iter().for_each(|value| flatten(value, values)),
        other => values.push(other),
    }
}

pub(super) fn cell_of_json(value: &Value) -> Option<Cell<'_>> {
    Some(match value {
        Value::Null => Cell::Missing,
        Value::Bool(flag) => Cell::Boolean(*flag),
        Value::String(text) => Cell::Text(text),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(integer), ..) => Cell::Integer(i128::from(integer)),
            (_, Some(integer), _) => Cell::Integer(i128::from(integer)),
            (.., Some(float)) => Cell::Float(float),
            _ => return None,
        },
        Value::Array(_) | Value::Object(_) => return None,
    })
}

/// A type of elements that cells become.
pub(super) trait FromCell: Element {
    /// `None` if the type has no such value.
    fn from_cell(cell: Cell<'_>, cells: Cells) -> Option<Self>;
}

macro_rules! integers {
    ($($rust:ty),*) => {
        $(impl FromCell for $rust {
            fn from_cell(cell: Cell<'_>, cells: Cells) -> Option<Self> {
                Self::try_from(integer(cell, cells)?).ok()
            }
        })*
    };
}

macro_rules! floats {
    ($($rust:ty, $of:expr;)*) => {
        $(impl FromCell for $rust {
            fn from_cell(cell: Cell<'_>, cells: Cells) -> Option<Self> {
                let wide = float(cell, cells)?;
                let narrow: Self = $of(wide);
                // A number that the type is too small for is no infinity.
                let is_lost = wide.is_finite() && !f64::from(narrow).is_finite();
                (!is_lost).then_some(narrow)
            }
        })*
    };
}

integers!(u8, u16, u32, u64, i8, i16, i32, i64);
floats! {
    f16, f16::from_f64;
    bf16, bf16::from_f64;
    f32, |value| value as f32;
    f64, |value| value;
}

/// Also one with a fraction of zeros, as pandas writes those of a column with holes.
fn integer(cell: Cell<'_>, cells: Cells) -> Option<i128> {
    match cell {
        Cell::Integer(integer) => Some(integer),
        // Beyond 2^64 no type takes it, and the conversion saturates.
        Cell::Float(float) if float.fract() == 0.0 => Some(float as i128),
        Cell::Text(text) if cells == Cells::Csv => {
            let text = text.trim();
            let whole = match text.split_once('.') {
                Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole,
                _ => text,
            };
            whole.parse().ok()
        }
        _ => None,
    }
}

fn float(cell: Cell<'_>, cells: Cells) -> Option<f64> {
    match cell {
        Cell::Missing => Some(f64::NAN),
        Cell::Float(float) => Some(float),
        Cell::Integer(integer) => Some(integer as f64),
        Cell::Text(text) => match cells {
            Cells::Csv => text.trim().parse().ok(),
            Cells::Json => parse_not_finite(text),
            Cells::Typed => None,
        },
        Cell::Boolean(_) | Cell::Bytes(_) => None,
    }
}

/// A byte of `BOOL`.
pub(super) fn bit(cell: Cell<'_>, cells: Cells) -> Option<u8> {
    match cell {
        Cell::Boolean(flag) => Some(u8::from(flag)),
        // "True" and "False" as pandas and NumPy write them.
        Cell::Text(text) if cells == Cells::Csv => match text.trim() {
            "true" | "True" | "1" | "1.0" => Some(1),
            "false" | "False" | "0" | "0.0" => Some(0),
            _ => None,
        },
        _ => None,
    }
}

/// What is wrong with a cell, for people.
pub(super) fn shown(cell: Cell<'_>) -> String {
    let text = match cell {
        Cell::Missing => return "is missing".to_owned(),
        Cell::Float(float) => float.to_string(),
        Cell::Integer(integer) => integer.to_string(),
        Cell::Boolean(flag) => flag.to_string(),
        Cell::Text(text) => format!("{text:?}"),
        Cell::Bytes(_) => "bytes".to_owned(),
    };
    let cut: String = text.chars().take(60).collect();
    format!("is {cut}")
}
