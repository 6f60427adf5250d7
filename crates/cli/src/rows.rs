//! Rows in files, as inputs of a model; outputs of a model, as rows.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use tidegate_core::{
    DataType, Shape, Signature, StringArray, Tensor, TensorSpec, TensorView, bf16, f16,
    with_element,
};

/// Reads the rows of a `.json`, `.csv` or `.npy` file as the inputs of a model.
pub(crate) fn read(path: &Path, signature: &Signature) -> Result<Vec<(String, Tensor)>> {
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default();
    let inputs = match extension {
        "json" => json(path, signature),
        "csv" => csv(path, signature),
        "npy" => npy(path, signature),
        other => bail!(
            "{}: rows can be read from .json, .csv and .npy files, not from {other:?}",
            path.display()
        ),
    };
    inputs.with_context(|| format!("cannot read {}", path.display()))
}

/// `[row, …]`, or `{"instances": [row, …]}`; a row is the value of the only input, or an object
/// with one value per input. Or a body of the protocol: `{"inputs": [{"name": …, "shape": …,
/// "data": …}, …]}`.
fn json(path: &Path, signature: &Signature) -> Result<Vec<(String, Tensor)>> {
    let mut value: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    if let Some(Value::Array(tensors)) = value.get("inputs") {
        return tensors
            .iter()
            .map(|tensor| body(tensor, signature))
            .collect();
    }
    if let Some(instances) = value.get_mut("instances") {
        value = instances.take();
    }
    let Value::Array(rows) = value else {
        bail!("expected an array of rows")
    };
    let required = signature.inputs.iter().filter(|spec| !spec.optional);
    let mut inputs = Vec::new();
    for spec in required {
        let mut cells = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            let value = match row {
                Value::Object(fields) => fields
                    .get(&spec.name)
                    .ok_or_else(|| anyhow!("row {at} has no {:?}", spec.name))?,
                value if signature.inputs.len() == 1 => value,
                _ => bail!("row {at} is not an object, but the model has several inputs"),
            };
            flatten(value, &mut cells);
        }
        inputs.push((spec.name.clone(), tensor(spec, rows.len(), &cells)?));
    }
    Ok(inputs)
}

/// A tensor as the protocol's JSON has it.
fn body(tensor: &Value, signature: &Signature) -> Result<(String, Tensor)> {
    let name = tensor["name"].as_str().context("an input has no name")?;
    let spec = signature.inputs.iter().find(|spec| spec.name == name);
    let spec = spec.with_context(|| format!("the model has no input {name:?}"))?;
    let extents: Vec<i64> = serde_json::from_value(tensor["shape"].clone())
        .with_context(|| format!("the shape of input {name:?} is not a list of whole numbers"))?;
    let shape = Shape::from_wire(&extents)?;
    let mut cells = Vec::new();
    flatten(&tensor["data"], &mut cells);
    if shape.element_count() != cells.len() {
        bail!(
            "input {name:?} has shape {shape} and {} values",
            cells.len()
        );
    }
    Ok((name.to_owned(), typed(spec, shape, &cells)?))
}

fn flatten(value: &Value, cells: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| flatten(value, cells)),
        Value::String(text) => cells.push(text.clone()),
        // Text, as the cells of CSV are: the parser of the input's type reads the digits as they
        // were written, and no number goes through a float on the way.
        other => cells.push(other.to_string()),
    }
}

/// A header and rows. For a model with one input the columns are its features in order; with
/// several, each column has the name of its input.
fn csv(path: &Path, signature: &Signature) -> Result<Vec<(String, Tensor)>> {
    let mut reader = csv::Reader::from_path(path)?;
    let header = reader.headers()?.clone();
    let records = reader.records().collect::<Result<Vec<_>, _>>()?;
    let mut inputs = Vec::new();
    for spec in signature.inputs.iter().filter(|spec| !spec.optional) {
        let columns: Vec<usize> = if signature.inputs.len() == 1 {
            (0..header.len()).collect()
        } else {
            (0..header.len())
                .filter(|column| header[*column] == spec.name)
                .collect()
        };
        if columns.is_empty() {
            bail!("the file has no column {:?}", spec.name);
        }
        let cells: Vec<String> = records
            .iter()
            .flat_map(|record| columns.iter().map(|column| record[*column].to_owned()))
            .collect();
        inputs.push((spec.name.clone(), tensor(spec, records.len(), &cells)?));
    }
    Ok(inputs)
}

/// One array for a model with one input.
fn npy(path: &Path, signature: &Signature) -> Result<Vec<(String, Tensor)>> {
    let [spec] = signature.inputs.as_slice() else {
        bail!("an .npy file has one input, but the model has several")
    };
    let file = npyz::NpyFile::new(std::io::BufReader::new(std::fs::File::open(path)?))?;
    // Tensors are stored row by row, and the cells are read in the order of the file.
    if file.order() != npyz::Order::C {
        bail!("the array is in Fortran order: save it with numpy.ascontiguousarray");
    }
    let shape: Vec<usize> = file
        .shape()
        .iter()
        .map(|extent| usize::try_from(*extent))
        .collect::<Result<_, _>>()?;
    let shape = Shape::new(&shape)?;
    // The type is written as a Python literal, in quotes.
    let descr = file.dtype().descr().trim_matches('\'').to_owned();
    // As text, like the cells of the other formats, so that one function checks and converts all of
    // them. The text of a float parses back to the same float.
    macro_rules! cells {
        ($rust:ty) => {
            file.into_vec::<$rust>()?
                .iter()
                .map(|value| value.to_string())
                .collect::<Vec<_>>()
        };
    }
    // The sign is the byte order: little-endian, none or native. Big-endian arrays keep their `>`
    // and are refused.
    let cells = match descr.trim_start_matches(['<', '|', '=']) {
        "f4" => cells!(f32),
        "f8" => cells!(f64),
        "i1" => cells!(i8),
        "i2" => cells!(i16),
        "i4" => cells!(i32),
        "i8" => cells!(i64),
        "u1" => cells!(u8),
        "u2" => cells!(u16),
        "u4" => cells!(u32),
        "u8" => cells!(u64),
        "b1" => cells!(bool),
        other => bail!("arrays of data type {other:?} are not supported"),
    };
    Ok(vec![(spec.name.clone(), typed(spec, shape, &cells)?)])
}

/// Cells of `rows` rows in the input's type and shape.
fn tensor(spec: &TensorSpec, rows: usize, cells: &[String]) -> Result<Tensor> {
    let mut extents: Vec<usize> = vec![rows];
    // The first dimension counts the rows.
    let rest = spec
        .dims
        .as_deref()
        .unwrap_or_default()
        .get(1..)
        .unwrap_or_default();
    let fixed: usize = rest
        .iter()
        .filter_map(|dim| usize::try_from(dim.to_wire()).ok())
        .product();
    // A file may have no rows.
    let width = cells.len().checked_div(rows).unwrap_or(0);
    for dim in rest {
        // A dynamic dimension takes what the fixed ones leave of the row; if one of those is 0, it
        // is not divided by.
        extents.push(usize::try_from(dim.to_wire()).unwrap_or(width / fixed.max(1)));
    }
    let shape = Shape::new(&extents)?;
    if shape.element_count() != cells.len() {
        bail!(
            "input {:?} takes {} values per row, but the file has {width}",
            spec.name,
            shape.element_count().checked_div(rows).unwrap_or(0)
        );
    }
    typed(spec, shape, cells)
}

fn wrong_cell(spec: &TensorSpec, cell: &str) -> anyhow::Error {
    anyhow!("input {:?}: {cell:?} is no {}", spec.name, spec.datatype)
}

fn typed(spec: &TensorSpec, shape: Shape, cells: &[String]) -> Result<Tensor> {
    // A macro, because the element types share no trait that can be parsed.
    macro_rules! parse {
        ($rust:ty) => {{
            let values = cells.iter().map(|cell| {
                let value = cell.trim().parse::<$rust>();
                value.map_err(|_| wrong_cell(spec, cell))
            });
            Tensor::from_vec(shape, values.collect::<Result<Vec<_>>>()?)?
        }};
    }
    Ok(match spec.datatype {
        DataType::Bytes => Tensor::from_strings(shape, cells.iter().collect::<StringArray>())?,
        DataType::Bool => {
            // "True" and "False" as pandas and NumPy write them.
            let values = cells.iter().map(|cell| match cell.trim() {
                "true" | "True" | "1" => Ok(1),
                "false" | "False" | "0" => Ok(0),
                _ => Err(wrong_cell(spec, cell)),
            });
            let bytes: Vec<u8> = values.collect::<Result<_>>()?;
            Tensor::from_wire(DataType::Bool, shape, bytes.into())?
        }
        DataType::Uint8 => parse!(u8),
        DataType::Uint16 => parse!(u16),
        DataType::Uint32 => parse!(u32),
        DataType::Uint64 => parse!(u64),
        DataType::Int8 => parse!(i8),
        DataType::Int16 => parse!(i16),
        DataType::Int32 => parse!(i32),
        DataType::Int64 => parse!(i64),
        DataType::Fp16 => parse!(f16),
        DataType::Bf16 => parse!(bf16),
        DataType::Fp32 => parse!(f32),
        DataType::Fp64 => parse!(f64),
    })
}

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

/// A number with the digits of its own type: 0.1 stays 0.1 for a 32-bit float.
fn number<T: std::fmt::Display>(element: T) -> Value {
    let text = element.to_string();
    // JSON has no NaN and no infinity: these become text.
    serde_json::from_str(&text).unwrap_or(Value::String(text))
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
        other => vec![other.to_string()],
    }
}
