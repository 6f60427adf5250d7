//! The fields of an answer as tensors.

use tidegate_core::{DataType, Dim, Shape, StringArrayBuilder, Tensor};

use super::{Answer, ResponseField};
use crate::PipelineError;
use crate::program::{Inputs, Kind, Source};

impl ResponseField {
    /// The type and the extents of its tensor; `None` if its values are of several types.
    pub(crate) fn tensor_form(&self) -> Option<(DataType, Option<Vec<Dim>>)> {
        let first = self.sources.first()?;
        if let Some(element) = &first.element {
            let dims = element.dims.as_ref().map(|row| {
                let mut dims = vec![Dim::Any];
                dims.extend_from_slice(row);
                dims
            });
            return (self.sources.len() == 1).then_some((element.datatype, dims));
        }
        let datatype = self.tensor_type(first.kind)?;
        let mut dims = vec![Dim::Any];
        if self.sources.len() > 1 {
            dims.push(Dim::Fixed(self.sources.len()));
        }
        Some((datatype, Some(dims)))
    }

    fn tensor_type(&self, first: Kind) -> Option<DataType> {
        let mut kinds = self.sources.iter().map(|source| source.kind);
        match first {
            Kind::Text | Kind::Bytes => kinds.all(|kind| kind == first).then_some(DataType::Bytes),
            Kind::Boolean => kinds.all(|kind| kind == first).then_some(DataType::Bool),
            Kind::Tensor => None,
            // A vector of a model of single precision stays as it is: it is exact, and can be long.
            Kind::Single if self.sources.len() > 1 && kinds.all(|kind| kind == first) => {
                Some(DataType::Fp32)
            }
            _ => {
                let mut sources = self.sources.iter();
                sources.all(is_number).then_some(DataType::Fp64)
            }
        }
    }
}

fn is_number(source: &Source) -> bool {
    matches!(
        source.kind,
        Kind::Number | Kind::Single | Kind::Integer | Kind::Time
    )
}

impl Answer<'_> {
    /// A field, by its place, as a tensor. A missing number is NaN, a missing text is empty.
    pub(crate) fn to_tensor(&self, field: usize) -> Result<Tensor, PipelineError> {
        let field = &self.fields[field];
        let inputs = Inputs::new(&self.registers, &field.sources, self.rows);
        let extents = [self.rows, field.sources.len()];
        let rank = if extents[1] == 1 { 1 } else { 2 };
        let shape = Shape::new(&extents[..rank]).expect("registers of this size fit in memory");
        let made = match field.tensor_form() {
            None => return Err(no_tensor(field)),
            Some((_, None)) => return Ok(inputs.tensor(0).clone()),
            Some(_) if inputs.source(0).kind == Kind::Tensor => {
                return Ok(inputs.tensor(0).clone());
            }
            Some((DataType::Bytes, _)) => Tensor::from_strings(shape, texts(&inputs).finish()),
            Some((DataType::Bool, _)) => {
                let flags = gather(&inputs, |number| number);
                if let Some(at) = flags.iter().position(|flag| flag.is_nan()) {
                    return Err(missing_boolean(field, at / extents[1]));
                }
                let flags: Vec<u8> = flags.iter().map(|flag| u8::from(*flag != 0.0)).collect();
                Tensor::from_wire(DataType::Bool, shape, flags.into())
            }
            // The values were single precision before.
            Some((DataType::Fp32, _)) => {
                Tensor::from_vec(shape, gather(&inputs, |number| number as f32))
            }
            Some(_) => Tensor::from_vec(shape, gather(&inputs, |number| number)),
        };
        Ok(made.expect("there is a value for each element"))
    }
}

/// Rows of columns.
fn gather<T>(inputs: &Inputs<'_>, convert: fn(f64) -> T) -> Vec<T> {
    let columns: Vec<&[f64]> = (0..inputs.len()).map(|at| inputs.numbers(at)).collect();
    let mut values = Vec::with_capacity(inputs.rows() * columns.len());
    for row in 0..inputs.rows() {
        values.extend(columns.iter().map(|column| convert(column[row])));
    }
    values
}

fn texts(inputs: &Inputs<'_>) -> StringArrayBuilder {
    let mut texts = StringArrayBuilder::default();
    for row in 0..inputs.rows() {
        for at in 0..inputs.len() {
            let source = inputs.source(at);
            let value = match source.kind {
                Kind::Bytes => inputs.bytes(at)[row].as_deref(),
                _ => {
                    let text = inputs.text(at).get(row).or(source.fill.as_deref());
                    text.map(str::as_bytes)
                }
            };
            texts.push(value.unwrap_or_default());
        }
    }
    texts
}

fn no_tensor(field: &ResponseField) -> PipelineError {
    let name = &field.name;
    PipelineError::Form(format!(
        "field \"{name}\" of the answer has values of several types, which no tensor can hold"
    ))
}

fn missing_boolean(field: &ResponseField, row: usize) -> PipelineError {
    let name = &field.name;
    PipelineError::Form(format!(
        "row {row}: field \"{name}\" of the answer is missing, for which BOOL has no value; ask for \
         other outputs, or send records to /v1/endpoints"
    ))
}
