//! An answer that the configuration gives.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_core::{Dim, Shape, Signature, Tensor, TensorSpec};

use crate::sample;

/// The values of all outputs: of one row, where an output has a row for each row of the request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Constant(BTreeMap<String, Value>);

impl Constant {
    pub(crate) fn new(values: BTreeMap<String, Value>) -> Self {
        Self(values)
    }

    /// The outputs of a signature for so many rows, in its order.
    ///
    /// # Errors
    /// How the values differ from the signature.
    pub(crate) fn outputs(
        &self,
        signature: &Signature,
        rows: usize,
    ) -> Result<Vec<Tensor>, String> {
        let known = |name: &&String| signature.outputs.iter().any(|spec| spec.name == **name);
        if let Some(unknown) = self.0.keys().find(|name| !known(name)) {
            return Err(format!("there is no output \"{unknown}\""));
        }
        let outputs = signature.outputs.iter();
        outputs.map(|spec| self.output(spec, rows)).collect()
    }

    fn output(&self, spec: &TensorSpec, rows: usize) -> Result<Tensor, String> {
        let name = &spec.name;
        let value = self
            .0
            .get(name)
            .ok_or_else(|| format!("it has no value of output \"{name}\""))?;
        if has_null(value) {
            return Err(format!(
                "the value of output \"{name}\" has an element that is no finite number, text or bool"
            ));
        }
        let of_row = spec
            .dims
            .as_deref()
            .filter(|_| spec.has_dynamic_first_axis());
        let own = shape_of(value);
        if !has_shape(value, &own) {
            return Err(format!("the lists of output \"{name}\" differ in length"));
        }
        let wanted = of_row.map(|dims| &dims[1..]).or(spec.dims.as_deref());
        if let Some(wanted) = wanted
            && !fits(&own, wanted)
        {
            let wanted: Vec<i64> = wanted.iter().map(Dim::to_wire).collect();
            return Err(format!(
                "the value of output \"{name}\" has shape {own:?}, the signature says {wanted:?}"
            ));
        }
        let shape = match of_row {
            None => own,
            Some(_) => [&[1], own.as_slice()].concat(),
        };
        let tensor = sample::tensor_of(spec.datatype, &shape, value)
            .map_err(|problem| format!("the value of output \"{name}\": {problem}"))?;
        if of_row.is_none() {
            return Ok(tensor);
        }
        repeated(&tensor, rows).map_err(|problem| format!("output \"{name}\": {problem}"))
    }
}

/// Whether an element is missing. TOML's `inf` and `nan` have no form in JSON and become this.
fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.iter().any(has_null),
        _ => false,
    }
}

/// A row as often as it is wanted, at least once.
fn repeated(row: &Tensor, rows: usize) -> Result<Tensor, String> {
    Tensor::concat_rows(&vec![row; rows.max(1)]).map_err(|error| error.to_string())
}

/// The extents of nested lists, by the first of each.
fn shape_of(value: &Value) -> Vec<usize> {
    let (mut shape, mut value) = (Vec::new(), value);
    while let Value::Array(values) = value {
        shape.push(values.len());
        // Lists that are no deeper than any tensor: one too many is told by its rank.
        match values.first() {
            Some(first) if shape.len() <= Shape::MAX_RANK => value = first,
            _ => break,
        }
    }
    shape
}

/// Whether all lists of a level have the same length.
fn has_shape(value: &Value, shape: &[usize]) -> bool {
    match (value, shape) {
        (Value::Array(values), [length, rest @ ..]) => {
            values.len() == *length && values.iter().all(|value| has_shape(value, rest))
        }
        (Value::Array(_), []) => false,
        (_, shape) => shape.is_empty(),
    }
}

fn fits(shape: &[usize], dims: &[Dim]) -> bool {
    let mut extents = shape.iter().zip(dims);
    shape.len() == dims.len()
        && extents.all(|(extent, dim)| match dim {
            Dim::Any => true,
            Dim::Fixed(fixed) => fixed == extent,
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_core::DataType;

    use super::*;

    fn signature() -> Signature {
        let spec = |name: &str, datatype, dims: &[i64]| TensorSpec {
            name: name.to_owned(),
            datatype,
            dims: Some(dims.iter().map(|extent| Dim::from_wire(*extent)).collect()),
            optional: false,
        };
        Signature {
            inputs: Vec::new(),
            outputs: vec![
                spec("p", DataType::Fp32, &[-1, 2]),
                spec("label", DataType::Bytes, &[-1]),
            ],
        }
    }

    fn constant(values: Value) -> Constant {
        Constant::new(serde_json::from_value(values).unwrap())
    }

    #[test]
    fn each_row_of_the_request_gets_the_row_of_the_constant() {
        let constant = constant(json!({"p": [0.25, 0.75], "label": "unknown"}));
        let outputs = constant.outputs(&signature(), 3).unwrap();
        assert_eq!(&outputs[0].shape()[..], [3, 2]);
        let values = outputs[0].to_vec::<f32>().unwrap();
        assert_eq!(values, [0.25, 0.75, 0.25, 0.75, 0.25, 0.75]);
        assert_eq!(&outputs[1].shape()[..], [3]);
    }

    #[test]
    fn what_has_no_form_in_json_is_refused_and_no_nan() {
        let toml: toml::Table = "score = inf\nlabels = [nan]".parse().unwrap();
        for value in toml.values() {
            let value = serde_json::to_value(value).unwrap();
            assert!(has_null(&value), "{value}");
        }
        assert!(!has_null(&serde_json::json!([1.5, "a", [true]])));
    }

    #[test]
    fn values_that_do_not_fit_the_signature_are_refused() {
        let check = |values: Value, expected: &str| {
            let error = constant(values).outputs(&signature(), 1).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(json!({"p": [0.5, 0.5]}), "no value of output \"label\"");
        let more = json!({"p": [0.5, 0.5], "label": "a", "x": 1});
        check(more, "no output \"x\"");
        check(
            json!({"p": [0.5], "label": "a"}),
            "has shape [1], the signature says [2]",
        );
        check(json!({"p": ["a", "b"], "label": "a"}), "\"p\"");
        check(json!({"p": [[0.5], 0.5], "label": "a"}), "differ in length");
        check(json!({"p": [0.5, 0.5], "label": 7}), "\"label\"");
    }
}
