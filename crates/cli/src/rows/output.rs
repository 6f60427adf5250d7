//! Outputs of a model, as values of rows.

use serde_json::Value;
use tidegate_core::{DataType, Tensor, TensorView, with_element};

/// An output as one value per row: a scalar, or a list of what stands in the row.
pub(crate) fn output_values(tensor: &Tensor, rows: usize) -> Vec<Value> {
    let elements: Vec<Value> = match tensor.view() {
        TensorView::Strings(strings) => strings
            .iter()
            // A model may output any bytes, but strings of JSON are Unicode.
            .map(|text| Value::from(String::from_utf8_lossy(text).into_owned()))
            .collect(),
        TensorView::Fixed(bytes) if tensor.datatype() == DataType::Bool => {
            bytes.iter().map(|byte| Value::from(*byte != 0)).collect()
        }
        TensorView::Fixed(_) => with_element!(tensor.datatype(), T => {
            tensor.to_vec::<T>().into_iter().flatten().map(number).collect()
        }, else => Vec::new()),
    };
    if tensor.rows() != rows || tensor.shape().is_empty() {
        // The output has no entry per row: every row shows all of it.
        return vec![Value::Array(elements); rows];
    }
    let width = elements.len().checked_div(rows).unwrap_or(0);
    if tensor.shape().len() == 1 {
        return elements;
    }
    elements
        // An output with a dimension of 0 has no elements, and `chunks(0)` panics.
        .chunks(width.max(1))
        .map(|row| Value::Array(row.to_vec()))
        .collect()
}

/// A number with the digits of its own type: 0.1 stays 0.1 for a 32-bit float. What JSON has no
/// digits for is written as the server writes it: NaN as `null`, the infinities as strings.
fn number<T: std::fmt::Display>(element: T) -> Value {
    let text = element.to_string();
    match text.as_str() {
        "NaN" => Value::Null,
        "inf" => Value::from("Infinity"),
        "-inf" => Value::from("-Infinity"),
        digits => serde_json::from_str(digits).unwrap_or_else(|_| Value::from(digits)),
    }
}

/// CSV column names of an output.
pub(crate) fn csv_header(name: &str, value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(values)) => (0..values.len()).map(|at| format!("{name}_{at}")).collect(),
        _ => vec![name.to_owned()],
    }
}

/// The CSV cells of a row's value.
pub(crate) fn csv_cells(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().flat_map(csv_cells).collect(),
        Value::String(text) => vec![text.clone()],
        // As pandas writes and reads a missing number.
        Value::Null => vec![String::new()],
        other => vec![other.to_string()],
    }
}
