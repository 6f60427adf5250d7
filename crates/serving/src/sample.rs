//! Samples in a bundle: named inputs, and the outputs that they must get, as JSON.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tidegate_core::{DataType, Shape, StringArray, Tensor, bf16, f16};

/// Most bytes of a sample's file.
const MAX_BYTES: u64 = 64 << 20;

/// Inputs and, in a golden sample, the outputs that they must get.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) inputs: Vec<(String, Tensor)>,
    pub(crate) outputs: Vec<(String, Tensor)>,
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

/// Reads a sample's file; the error says what is wrong with it.
pub(crate) fn read(path: &Path) -> Result<Sample, String> {
    let length = std::fs::metadata(path)
        .map_err(|error| error.to_string())?
        .len();
    if length > MAX_BYTES {
        return Err(format!(
            "it has {length} bytes, at most {MAX_BYTES} are read"
        ));
    }
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let file: SampleFile = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let tensors = |files: Vec<TensorFile>| files.into_iter().map(named).collect::<Result<_, _>>();
    Ok(Sample {
        inputs: tensors(file.inputs)?,
        outputs: tensors(file.outputs)?,
    })
}

fn named(file: TensorFile) -> Result<(String, Tensor), String> {
    match tensor(&file) {
        Ok(tensor) => Ok((file.name, tensor)),
        Err(problem) => Err(format!("\"{}\": {problem}", file.name)),
    }
}

fn tensor(file: &TensorFile) -> Result<Tensor, String> {
    let shape = Shape::new(&file.shape).map_err(|error| error.to_string())?;
    let mut values = Vec::new();
    flatten(&file.data, &mut values);
    macro_rules! elements {
        ($read:expr) => {
            Tensor::from_vec(
                shape,
                values
                    .into_iter()
                    .map($read)
                    .collect::<Result<Vec<_>, String>>()?,
            )
        };
    }
    macro_rules! whole {
        ($rust:ty) => {
            elements!(|value: &Value| {
                let number = value
                    .as_i64()
                    .map(i128::from)
                    .or_else(|| value.as_u64().map(i128::from));
                number
                    .and_then(|number| <$rust>::try_from(number).ok())
                    .ok_or_else(|| wrong(value, file.datatype))
            })
        };
    }
    let number = |value: &Value| real(value).ok_or_else(|| wrong(value, file.datatype));
    let tensor = match file.datatype {
        DataType::Bool => {
            let bit = |value: &Value| {
                value
                    .as_bool()
                    .map(u8::from)
                    .ok_or_else(|| wrong(value, file.datatype))
            };
            let bits = values
                .into_iter()
                .map(bit)
                .collect::<Result<Vec<u8>, String>>()?;
            Tensor::from_wire(DataType::Bool, shape, bits.into())
        }
        DataType::Bytes => {
            let text = |value| Value::as_str(value).ok_or_else(|| wrong(value, file.datatype));
            let strings = values
                .into_iter()
                .map(text)
                .collect::<Result<Vec<&str>, String>>()?;
            Tensor::from_strings(shape, strings.into_iter().collect::<StringArray>())
        }
        DataType::Uint8 => whole!(u8),
        DataType::Uint16 => whole!(u16),
        DataType::Uint32 => whole!(u32),
        DataType::Uint64 => whole!(u64),
        DataType::Int8 => whole!(i8),
        DataType::Int16 => whole!(i16),
        DataType::Int32 => whole!(i32),
        DataType::Int64 => whole!(i64),
        DataType::Fp16 => elements!(|value| number(value).map(f16::from_f64)),
        DataType::Bf16 => elements!(|value| number(value).map(bf16::from_f64)),
        DataType::Fp32 => elements!(|value| number(value).map(|number| number as f32)),
        DataType::Fp64 => elements!(number),
    };
    tensor.map_err(|error| error.to_string())
}

fn flatten<'a>(value: &'a Value, into: &mut Vec<&'a Value>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| flatten(value, into)),
        other => into.push(other),
    }
}

/// A number, or the words that JSON has no numbers for.
fn real(value: &Value) -> Option<f64> {
    match value.as_str() {
        None => value.as_f64(),
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        Some(_) => None,
    }
}

fn wrong(value: &Value, datatype: DataType) -> String {
    let shown: String = value.to_string().chars().take(60).collect();
    format!("{shown} is no {datatype}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Sample, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path())
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
        assert_eq!(
            one("BOOL", "[true, false]").unwrap().wire().as_ref(),
            [1, 0]
        );
        assert_eq!(one("BYTES", "[\"a\", \"\"]").unwrap().byte_len(), 9);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        assert_eq!(
            one("INT8", "[1, 200]").unwrap_err(),
            "\"x\": 200 is no INT8"
        );
        assert_eq!(
            one("FP32", "[1, \"x\"]").unwrap_err(),
            "\"x\": \"x\" is no FP32"
        );
        assert!(one("FP32", "[1]").unwrap_err().contains("takes 2 elements"));
        assert!(
            parse("{\"input\": []}")
                .unwrap_err()
                .contains("unknown field")
        );
    }
}
