//! Cells of a file as elements of a tensor.

use anyhow::{Result, anyhow};
use serde_json::Value;
use tidegate_core::{
    DataType, Element, Shape, StringArray, Tensor, TensorSpec, bf16, f16, parse_not_finite,
};

/// A cell of a text format, where an empty one has no value.
pub(super) fn of_text(cell: &str) -> Value {
    if cell.is_empty() {
        Value::Null
    } else {
        Value::from(cell)
    }
}

/// The elements of one input, and how messages name the place of each.
pub(super) struct Cells<'a> {
    pub(super) spec: &'a TensorSpec,
    pub(super) values: Vec<&'a Value>,
    /// Whether numbers stand in strings, as in CSV.
    pub(super) is_text: bool,
    /// Elements in a row.
    pub(super) width: usize,
    /// The name of each element of a row, where the file has names.
    pub(super) columns: Vec<&'a str>,
}

impl Cells<'_> {
    /// All of them as a tensor.
    pub(super) fn tensor(&self, shape: Shape) -> Result<Tensor> {
        Ok(match self.spec.datatype {
            DataType::Bytes => {
                let texts = self.each(Value::as_str)?;
                Tensor::from_strings(shape, texts.into_iter().collect::<StringArray>())?
            }
            DataType::Bool => {
                let bits = self.each(|value| self.bit(value))?;
                Tensor::from_wire(DataType::Bool, shape, bits.into())?
            }
            DataType::Uint8 => self.integers::<u8>(shape)?,
            DataType::Uint16 => self.integers::<u16>(shape)?,
            DataType::Uint32 => self.integers::<u32>(shape)?,
            DataType::Uint64 => self.integers::<u64>(shape)?,
            DataType::Int8 => self.integers::<i8>(shape)?,
            DataType::Int16 => self.integers::<i16>(shape)?,
            DataType::Int32 => self.integers::<i32>(shape)?,
            DataType::Int64 => self.integers::<i64>(shape)?,
            DataType::Fp16 => self.floats(shape, f16::from_f64)?,
            DataType::Bf16 => self.floats(shape, bf16::from_f64)?,
            DataType::Fp32 => self.floats(shape, |value| value as f32)?,
            DataType::Fp64 => self.floats(shape, |value| value)?,
        })
    }

    fn integers<T: Element + TryFrom<i128>>(&self, shape: Shape) -> Result<Tensor> {
        let elements = self.each(|value| T::try_from(self.integer(value)?).ok())?;
        Ok(Tensor::from_vec(shape, elements)?)
    }

    fn floats<T: Element + Into<f64>>(&self, shape: Shape, of: fn(f64) -> T) -> Result<Tensor> {
        let elements = self.each(|value| {
            let wide = self.float(value)?;
            let narrow = of(wide);
            // A number that the type is too small for is no infinity.
            let is_lost = wide.is_finite() && !narrow.into().is_finite();
            (!is_lost).then_some(narrow)
        })?;
        Ok(Tensor::from_vec(shape, elements)?)
    }

    fn each<'v, T>(&'v self, read: impl Fn(&'v Value) -> Option<T>) -> Result<Vec<T>> {
        let values = self.values.iter().copied().enumerate();
        values
            .map(|(at, value)| read(value).ok_or_else(|| self.misfit(at, value)))
            .collect()
    }

    fn text<'v>(&self, value: &'v Value) -> Option<&'v str> {
        value.as_str().filter(|_| self.is_text).map(str::trim)
    }

    /// Also one with a fraction of zeros, as pandas writes those of a column with holes.
    fn integer(&self, value: &Value) -> Option<i128> {
        let number;
        let text = match value {
            Value::Number(found) => {
                number = found.to_string();
                number.as_str()
            }
            other => self.text(other)?,
        };
        let whole = match text.split_once('.') {
            Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole,
            _ => text,
        };
        whole.parse().ok()
    }

    fn float(&self, value: &Value) -> Option<f64> {
        match value {
            Value::Null => Some(f64::NAN),
            Value::Number(number) => number.as_f64(),
            Value::String(word) if !self.is_text => parse_not_finite(word),
            other => self.text(other)?.parse().ok(),
        }
    }

    fn bit(&self, value: &Value) -> Option<u8> {
        match value {
            Value::Bool(flag) => Some(u8::from(*flag)),
            // "True" and "False" as pandas and NumPy write them.
            other => match self.text(other)? {
                "true" | "True" | "1" | "1.0" => Some(1),
                "false" | "False" | "0" | "0.0" => Some(0),
                _ => None,
            },
        }
    }

    fn misfit(&self, at: usize, value: &Value) -> anyhow::Error {
        let (name, datatype) = (&self.spec.name, self.spec.datatype);
        let width = self.width.max(1);
        let (row, column) = (at / width + 1, at % width);
        let column = match self.columns.get(column) {
            Some(name) => format!("{name:?}"),
            None => (column + 1).to_string(),
        };
        let place = format!("row {row}, column {column}");
        if value.is_null() {
            let what = if self.is_text { "is empty" } else { "is null" };
            return anyhow!("input {name:?}: {place} {what}: {datatype} has no missing value");
        }
        let shown: String = value.to_string().chars().take(60).collect();
        anyhow!("input {name:?}: {place} is {shown}, which is not a valid {datatype}")
    }
}
