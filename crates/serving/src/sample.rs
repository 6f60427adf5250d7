//! Samples in a bundle: named inputs, and the outputs that they must give, as JSON.

mod files;

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tidegate_core::{
    DataType, Shape, StringArray, Tensor, bf16, f16, parse_not_finite, quote_not_finite,
};

use crate::source;

/// Larger files are not read, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// Inputs and, in a golden sample, the outputs that they must give.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) inputs: Vec<(String, Tensor)>,
    pub(crate) outputs: Vec<(String, Tensor)>,
}

/// What a sample's file has.
#[derive(Debug)]
pub(crate) enum AnySample {
    /// Inputs and outputs of the engine.
    Tensors(Sample),
    /// Records for the pipeline.
    Records(RecordSample),
}

/// A request of records and, in a golden sample, the answer that it must get.
#[derive(Debug)]
pub(crate) struct RecordSample {
    /// The body of the request.
    pub(crate) body: Vec<u8>,
    /// The rows of the answer, in the form of the request.
    pub(crate) predictions: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SampleFile {
    inputs: Vec<TensorFile>,
    #[serde(default)]
    outputs: Vec<TensorFile>,
}

/// A tensor as the Open Inference Protocol writes it, flat or nested.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TensorFile {
    name: String,
    shape: Vec<usize>,
    datatype: DataType,
    data: Value,
}

/// Reads a sample's file, of a bundle's folder; the error says what is wrong with it.
pub(crate) fn read(folder: &Path, file: &str) -> Result<AnySample, String> {
    let path = source::inside(folder, file).map_err(|error| error.to_string())?;
    let text = read_limited(&path)?;
    if let Some(records) = records(&text, folder, file)? {
        return Ok(AnySample::Records(records));
    }
    let file: SampleFile =
        serde_json::from_slice(&quote_not_finite(&text)).map_err(|error| error.to_string())?;
    Ok(AnySample::Tensors(Sample {
        inputs: tensors(file.inputs)?,
        outputs: tensors(file.outputs)?,
    }))
}

fn read_limited(path: &Path) -> Result<Vec<u8>, String> {
    let length = std::fs::metadata(path)
        .map_err(|error| error.to_string())?
        .len();
    if length > MAX_BYTES {
        return Err(format!(
            "it has {length} bytes, at most {MAX_BYTES} are read"
        ));
    }
    std::fs::read(path).map_err(|error| error.to_string())
}

/// `{"request": {"instances": […]}, "predictions": […]}`, and the same with columns. The request is
/// kept as text: its numbers must reach the pipeline as a client's do.
fn records(text: &[u8], folder: &Path, sample: &str) -> Result<Option<RecordSample>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct RecordFile<'a> {
        #[serde(borrow)]
        request: &'a RawValue,
        predictions: Option<Value>,
    }
    let Ok(file) = serde_json::from_slice::<RecordFile<'_>>(text) else {
        return Ok(None);
    };
    Ok(Some(RecordSample {
        body: files::with_contents(file.request, folder, sample)?,
        predictions: file.predictions,
    }))
}

fn tensors(files: Vec<TensorFile>) -> Result<Vec<(String, Tensor)>, String> {
    files.into_iter().map(named).collect()
}

fn named(file: TensorFile) -> Result<(String, Tensor), String> {
    match tensor_of(file.datatype, &file.shape, &file.data) {
        Ok(tensor) => Ok((file.name, tensor)),
        Err(problem) => Err(format!("\"{}\": {problem}", file.name)),
    }
}

/// The tensor of nested or flat JSON; the error says which element does not fit.
pub(crate) fn tensor_of(
    datatype: DataType,
    shape: &[usize],
    data: &Value,
) -> Result<Tensor, String> {
    let shape = Shape::new(shape).map_err(|error| error.to_string())?;
    let elements = Elements::of(datatype, data);
    let tensor = match datatype {
        DataType::Bool => {
            let bits = elements.read(|value| value.as_bool().map(u8::from))?;
            Tensor::from_wire(DataType::Bool, shape, bits.into())
        }
        DataType::Bytes => {
            let strings: StringArray = elements.read(Value::as_str)?.into_iter().collect();
            Tensor::from_strings(shape, strings)
        }
        DataType::Uint8 => Tensor::from_vec(shape, elements.read(integer::<u8>)?),
        DataType::Uint16 => Tensor::from_vec(shape, elements.read(integer::<u16>)?),
        DataType::Uint32 => Tensor::from_vec(shape, elements.read(integer::<u32>)?),
        DataType::Uint64 => Tensor::from_vec(shape, elements.read(integer::<u64>)?),
        DataType::Int8 => Tensor::from_vec(shape, elements.read(integer::<i8>)?),
        DataType::Int16 => Tensor::from_vec(shape, elements.read(integer::<i16>)?),
        DataType::Int32 => Tensor::from_vec(shape, elements.read(integer::<i32>)?),
        DataType::Int64 => Tensor::from_vec(shape, elements.read(integer::<i64>)?),
        DataType::Fp16 => Tensor::from_vec(
            shape,
            elements.read(|value| real(value).map(f16::from_f64))?,
        ),
        DataType::Bf16 => Tensor::from_vec(
            shape,
            elements.read(|value| real(value).map(bf16::from_f64))?,
        ),
        DataType::Fp32 => Tensor::from_vec(shape, elements.read(real32)?),
        DataType::Fp64 => Tensor::from_vec(shape, elements.read(real)?),
    };
    tensor.map_err(|error| error.to_string())
}

/// The elements of a tensor in row-major order.
struct Elements<'a> {
    values: Vec<&'a Value>,
    datatype: DataType,
}

impl<'a> Elements<'a> {
    fn of(datatype: DataType, data: &'a Value) -> Self {
        let mut values = Vec::new();
        flatten(data, &mut values);
        Self { values, datatype }
    }

    /// Reads each element; the error names the first one that does not fit.
    fn read<T>(&self, read: impl Fn(&'a Value) -> Option<T>) -> Result<Vec<T>, String> {
        self.values
            .iter()
            .map(|value| read(value).ok_or_else(|| does_not_fit(value, self.datatype)))
            .collect()
    }
}

fn flatten<'a>(value: &'a Value, into: &mut Vec<&'a Value>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| flatten(value, into)),
        other => into.push(other),
    }
}

/// Through 128 bits, which hold both the signed and the unsigned 64-bit numbers of JSON.
fn integer<T: TryFrom<i128>>(value: &Value) -> Option<T> {
    let signed = value.as_i64().map(i128::from);
    let wide = signed.or_else(|| value.as_u64().map(i128::from))?;
    T::try_from(wide).ok()
}

/// A number, or one of the values that JSON has no digits for.
fn real(value: &Value) -> Option<f64> {
    match value {
        Value::Null => Some(f64::NAN),
        Value::String(word) => parse_not_finite(word),
        number => number.as_f64(),
    }
}

/// A float, rounded once from its digits.
fn real32(value: &Value) -> Option<f32> {
    match value {
        Value::Number(number) => {
            let rounded: f32 = number.to_string().parse().ok()?;
            rounded.is_finite().then_some(rounded)
        }
        other => real(other).map(|real| real as f32),
    }
}

fn does_not_fit(value: &Value, datatype: DataType) -> String {
    let shown: String = value.to_string().chars().take(60).collect();
    format!("{shown} is not a value of type {datatype}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Sample, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let (folder, name) = (
            file.path().parent().unwrap(),
            file.path().file_name().unwrap(),
        );
        match read(folder, name.to_str().unwrap())? {
            AnySample::Tensors(sample) => Ok(sample),
            AnySample::Records(_) => Err("records".to_owned()),
        }
    }

    fn one(datatype: &str, data: &str) -> Result<Tensor, String> {
        let text = format!(
            r#"{{"inputs": [{{"name": "x", "shape": [2], "datatype": "{datatype}", "data": {data}}}]}}"#
        );
        parse(&text).map(|mut sample| sample.inputs.remove(0).1)
    }

    #[test]
    fn each_kind_of_element_is_read() {
        assert_eq!(
            one("INT8", "[[-1], [2]]").unwrap().to_vec::<i8>().unwrap(),
            [-1, 2]
        );
        assert_eq!(
            one("UINT64", "[0, 18446744073709551615]")
                .unwrap()
                .to_vec::<u64>()
                .unwrap(),
            [0, u64::MAX]
        );
        let floats = one("FP32", "[1.5, \"-Infinity\"]")
            .unwrap()
            .to_vec::<f32>()
            .unwrap();
        assert_eq!(floats, [1.5, f32::NEG_INFINITY]);
        let floats = one("FP64", "[null, NaN]").unwrap();
        assert!(
            floats
                .to_vec::<f64>()
                .unwrap()
                .iter()
                .all(|value| value.is_nan())
        );
        assert_eq!(
            one("BOOL", "[true, false]").unwrap().wire().as_ref(),
            [1, 0]
        );
        assert_eq!(one("BYTES", "[\"a\", \"\"]").unwrap().byte_len(), 9);
    }

    #[test]
    fn a_value_that_does_not_fit_is_named() {
        assert_eq!(
            one("INT8", "[1, 200]").unwrap_err(),
            "\"x\": 200 is not a value of type INT8"
        );
        assert_eq!(
            one("INT64", "[1, null]").unwrap_err(),
            "\"x\": null is not a value of type INT64"
        );
        assert_eq!(
            one("FP32", "[1, \"x\"]").unwrap_err(),
            "\"x\": \"x\" is not a value of type FP32"
        );
        assert!(one("FP32", "[1]").unwrap_err().contains("takes 2 elements"));
        assert!(
            parse("{\"input\": []}")
                .unwrap_err()
                .contains("unknown field")
        );
    }
}
