//! Tensors as columns of Arrow: what batch scoring writes, and what is captured of requests.
//!
//! In: a tensor whose axis 0 has the rows, and its specification in a signature. Out: a column with a
//! value for each row, or a list of equal length for each row. No files, no formats.
//!
//! ```
//! use tidegate_columns::of_tensor;
//! use tidegate_core::{DataType, Dim, Shape, Tensor, TensorSpec};
//!
//! let spec = TensorSpec {
//!     name: "score".into(),
//!     datatype: DataType::Fp32,
//!     dims: Some(vec![Dim::Any, Dim::Fixed(1)]),
//!     optional: false,
//! };
//! let scores = Tensor::from_vec(Shape::new(&[2, 1])?, vec![0.25f32, 0.75])?;
//! let column = of_tensor(&spec, &scores, 2).expect("a value for each row");
//! assert_eq!(column.len(), 2);
//! # Ok::<(), tidegate_core::TensorError>(())
//! ```

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, BooleanArray, ListArray, PrimitiveArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType as ArrowType, Field, FieldRef};
use tidegate_core::{DataType, Dim, Element, Tensor, TensorSpec, bf16, f16};

/// The type of the column of a tensor of the signature.
pub fn column_type(spec: &TensorSpec) -> ArrowType {
    let element = element_type(spec.datatype);
    match is_scalar(spec) {
        true => element,
        false => list_of(element),
    }
}

/// The column of a tensor of the signature: a value for each row, or a list where a row has several.
///
/// # Errors
/// If it has not one entry for each row, or texts that are not UTF-8.
pub fn of_tensor(spec: &TensorSpec, tensor: &Tensor, rows: usize) -> Result<ArrayRef, String> {
    let column = match is_scalar(spec) {
        true => values(tensor),
        false => list(tensor, rows),
    };
    let column = column.filter(|column| column.len() == rows);
    column.ok_or_else(|| {
        let (name, shape) = (&spec.name, tensor.shape());
        format!("\"{name}\" of shape {shape} cannot be a column of {rows} rows")
    })
}

/// The values of a tensor, a list of equal length for each row. `None` if it has not one entry for each
/// row, or texts that are not UTF-8.
pub fn list(tensor: &Tensor, rows: usize) -> Option<ArrayRef> {
    if tensor.rows() != rows {
        return None;
    }
    let values = values(tensor)?;
    let width = values.len().checked_div(rows)?;
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(width, rows));
    let item = item_field(values.data_type().clone());
    Some(Arc::new(
        ListArray::try_new(item, offsets, values, None).ok()?,
    ))
}

/// All values of a tensor.
fn values(tensor: &Tensor) -> Option<ArrayRef> {
    Some(match tensor.datatype() {
        DataType::Bool => {
            let flags = tensor.wire().iter().map(|byte| Some(*byte != 0)).collect();
            let flags: BooleanArray = flags;
            Arc::new(flags)
        }
        DataType::Uint8 => plain::<UInt8Type>(tensor)?,
        DataType::Uint16 => plain::<UInt16Type>(tensor)?,
        DataType::Uint32 => plain::<UInt32Type>(tensor)?,
        DataType::Uint64 => plain::<UInt64Type>(tensor)?,
        DataType::Int8 => plain::<Int8Type>(tensor)?,
        DataType::Int16 => plain::<Int16Type>(tensor)?,
        DataType::Int32 => plain::<Int32Type>(tensor)?,
        DataType::Int64 => plain::<Int64Type>(tensor)?,
        DataType::Fp16 => plain::<Float16Type>(tensor)?,
        DataType::Fp32 => plain::<Float32Type>(tensor)?,
        DataType::Fp64 => plain::<Float64Type>(tensor)?,
        DataType::Bf16 => {
            let values = tensor.to_vec::<bf16>()?.into_iter().map(f32::from);
            Arc::new(PrimitiveArray::<Float32Type>::from_iter_values(values))
        }
        DataType::Bytes => {
            let tidegate_core::TensorView::Strings(strings) = tensor.view() else {
                return None;
            };
            let mut texts = StringBuilder::new();
            for value in strings.iter() {
                texts.append_value(std::str::from_utf8(value).ok()?);
            }
            Arc::new(texts.finish())
        }
    })
}

fn plain<T>(tensor: &Tensor) -> Option<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: Element,
{
    let values = tensor.to_vec::<T::Native>()?;
    Some(Arc::new(PrimitiveArray::<T>::from_iter_values(values)))
}
/// Whether an output has one value for each row.
fn is_scalar(spec: &TensorSpec) -> bool {
    let Some(dims) = &spec.dims else {
        return false;
    };
    let mut others = dims.iter().skip(1);
    others.all(|dim| *dim == Dim::Fixed(1))
}

/// The type of a list of such items.
pub fn list_of(item: ArrowType) -> ArrowType {
    ArrowType::List(item_field(item))
}

fn item_field(item: ArrowType) -> FieldRef {
    Arc::new(Field::new("item", item, false))
}

/// The type of a single value. Arrow has no bfloat16: single precision has all of its values.
pub fn element_type(datatype: DataType) -> ArrowType {
    match datatype {
        DataType::Bool => ArrowType::Boolean,
        DataType::Uint8 => ArrowType::UInt8,
        DataType::Uint16 => ArrowType::UInt16,
        DataType::Uint32 => ArrowType::UInt32,
        DataType::Uint64 => ArrowType::UInt64,
        DataType::Int8 => ArrowType::Int8,
        DataType::Int16 => ArrowType::Int16,
        DataType::Int32 => ArrowType::Int32,
        DataType::Int64 => ArrowType::Int64,
        DataType::Fp16 => ArrowType::Float16,
        // Arrow has no such type; single precision has all of its values.
        DataType::Bf16 | DataType::Fp32 => ArrowType::Float32,
        DataType::Fp64 => ArrowType::Float64,
        DataType::Bytes => ArrowType::Utf8,
    }
}

/// The values of a tensor as a single row. `None` for texts that are not UTF-8.
pub fn whole(tensor: &Tensor) -> Option<ArrayRef> {
    let values = values(tensor)?;
    let offsets = OffsetBuffer::from_lengths([values.len()]);
    let item = item_field(values.data_type().clone());
    Some(Arc::new(
        ListArray::try_new(item, offsets, values, None).ok()?,
    ))
}

/// The elements of a tensor as numbers, row after row; integers beyond 2^53 are rounded. `None` for texts.
pub fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    fn all<T: Element + Copy>(tensor: &Tensor, number: impl Fn(T) -> f64) -> Option<Vec<f64>> {
        Some(tensor.to_vec::<T>()?.into_iter().map(number).collect())
    }
    match tensor.datatype() {
        DataType::Bool => Some(tensor.wire().iter().map(|byte| f64::from(*byte)).collect()),
        DataType::Uint8 => all::<u8>(tensor, f64::from),
        DataType::Uint16 => all::<u16>(tensor, f64::from),
        DataType::Uint32 => all::<u32>(tensor, f64::from),
        DataType::Uint64 => all::<u64>(tensor, |number| number as f64),
        DataType::Int8 => all::<i8>(tensor, f64::from),
        DataType::Int16 => all::<i16>(tensor, f64::from),
        DataType::Int32 => all::<i32>(tensor, f64::from),
        DataType::Int64 => all::<i64>(tensor, |number| number as f64),
        DataType::Fp16 => all::<f16>(tensor, f64::from),
        DataType::Bf16 => all::<bf16>(tensor, f64::from),
        DataType::Fp32 => all::<f32>(tensor, f64::from),
        DataType::Fp64 => all::<f64>(tensor, |number| number),
        DataType::Bytes => None,
    }
}
