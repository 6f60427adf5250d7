//! The layouts of rows in JSON: those of the protocols, and those that pandas writes.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value};
use tidegate_core::{DeclaredSignature, Shape, Signature, Tensor, quote_not_finite};

use super::cells::Cells;
use super::table::Table;

/// Reads one of
/// - `[row, …]`, or `{"instances": [row, …]}`, or one row a line: a row is a value, a list of values,
///   or an object with a value for each column or input (pandas' `records`, `values` and lines),
/// - `{"columns": […], "data": […]}` (`split`), also below `dataframe_split` as MLflow has it,
/// - `{"column": {"0": …}, …}` (`columns`, what `to_json` writes) and `{"0": {"column": …}, …}`
///   (`index`),
/// - `{"schema": …, "data": […]}` (`table`),
/// - `{"inputs": [{"name": …, "shape": …, "data": …}, …]}`, a body of the protocol.
pub(super) fn json(
    path: &Path,
    signature: &Signature,
    declared: &DeclaredSignature,
) -> Result<Vec<(String, Tensor)>> {
    let value = parse(&std::fs::read(path)?)?;
    if let Some(Value::Array(tensors)) = value.get("inputs") {
        return tensors
            .iter()
            .map(|tensor| body(tensor, signature))
            .collect();
    }
    table(value, signature, declared)?.inputs(signature, declared)
}

/// One value, or several, one a line.
fn parse(text: &[u8]) -> Result<Value> {
    // Excel and others put a mark before UTF-8.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = quote_not_finite(text);
    let values = serde_json::Deserializer::from_slice(&text).into_iter::<Value>();
    let mut values = values.collect::<Result<Vec<_>, _>>()?;
    Ok(if values.len() == 1 {
        values.remove(0)
    } else {
        Value::Array(values)
    })
}

fn table(value: Value, signature: &Signature, declared: &DeclaredSignature) -> Result<Table> {
    match value {
        Value::Array(rows) => of_rows(rows, signature),
        Value::Object(mut fields) => {
            for key in ["instances", "dataframe_records", "dataframe_split"] {
                if let Some(inner) = fields.get_mut(key) {
                    return table(inner.take(), signature, declared);
                }
            }
            of_frame(fields, signature, declared)
        }
        _ => bail!("expected an array of rows, or an object of columns"),
    }
}

fn of_rows(rows: Vec<Value>, signature: &Signature) -> Result<Table> {
    let Some(Value::Object(first)) = rows.first() else {
        if signature.inputs.len() > 1 && !rows.is_empty() {
            bail!("row 1 is not an object, but the model has several inputs");
        }
        let cells = rows.into_iter().map(|row| vec![row]);
        return Ok(Table::new(None, cells.collect()));
    };
    let names: Vec<String> = first.keys().cloned().collect();
    let mut cells = Vec::with_capacity(rows.len());
    for (at, row) in rows.into_iter().enumerate() {
        let Value::Object(mut fields) = row else {
            bail!(
                "row {} is not an object, but the rows before it are",
                at + 1
            )
        };
        cells.push(named(&mut fields, &names, at)?);
    }
    Ok(Table::new(Some(names), cells))
}

/// The cells of a row that is an object, in the order of the columns.
fn named(fields: &mut Map<String, Value>, names: &[String], at: usize) -> Result<Vec<Value>> {
    let cells = names.iter().map(|name| {
        let cell = fields.get_mut(name).map(Value::take);
        cell.ok_or_else(|| anyhow!("row {} has no {name:?}", at + 1))
    });
    cells.collect()
}

fn of_frame(
    mut fields: Map<String, Value>,
    signature: &Signature,
    declared: &DeclaredSignature,
) -> Result<Table> {
    if let (Some(Value::Array(columns)), Some(Value::Array(rows))) =
        (fields.get("columns"), fields.get("data"))
    {
        let names = columns.iter().map(name_of).collect();
        let rows = rows.iter().enumerate().map(|(at, row)| match row {
            Value::Array(cells) => Ok(cells.clone()),
            _ => Err(anyhow!("row {} is not a list", at + 1)),
        });
        return Ok(Table::new(Some(names), rows.collect::<Result<_>>()?));
    }
    if let (Some(Value::Object(schema)), Some(Value::Array(_))) =
        (fields.get("schema"), fields.get("data"))
    {
        let index = schema.get("primaryKey").cloned().unwrap_or_default();
        let Some(Value::Array(mut rows)) = fields.remove("data") else {
            bail!("\"data\" is not a list of rows")
        };
        for row in rows.iter_mut().filter_map(Value::as_object_mut) {
            for key in index
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
            {
                row.shift_remove(key);
            }
        }
        return of_rows(rows, signature);
    }
    of_nested(fields, signature, declared)
}

/// Objects in an object: columns of rows, or rows of columns. Which of them tells by the names.
fn of_nested(
    fields: Map<String, Value>,
    signature: &Signature,
    declared: &DeclaredSignature,
) -> Result<Table> {
    let is_known = |name: &String| {
        let columns = declared.inputs.iter().flat_map(|tensor| &tensor.columns);
        let mut names = columns.map(|column| &column.name);
        names.any(|known| known == name) || signature.inputs.iter().any(|spec| spec.name == *name)
    };
    let inner: Vec<&Map<String, Value>> = fields.values().filter_map(Value::as_object).collect();
    if fields.is_empty() || inner.len() != fields.len() {
        bail!(
            "expected an array of rows, {{\"instances\": [row, …]}}, {{\"inputs\": [tensor, …]}}, or \
             what pandas' to_json writes"
        );
    }
    let first = inner[0];
    let rows_are_outside = !fields.keys().any(is_known) && first.keys().any(is_known);
    if rows_are_outside {
        let rows = fields.into_iter().map(|(_, row)| row).collect();
        return of_rows(rows, signature);
    }
    let names: Vec<String> = fields.keys().cloned().collect();
    let mut rows = Vec::with_capacity(first.len());
    for index in first.keys() {
        let cells = inner.iter().zip(&names).map(|(column, name)| {
            let cell = column.get(index).cloned();
            cell.ok_or_else(|| anyhow!("column {name:?} has no row {index:?}"))
        });
        rows.push(cells.collect::<Result<_>>()?);
    }
    Ok(Table::new(Some(names), rows))
}

/// The name of a column, which pandas also writes as a number.
fn name_of(name: &Value) -> String {
    match name {
        Value::String(name) => name.clone(),
        other => other.to_string(),
    }
}

/// A tensor as the protocol's JSON has it.
fn body(tensor: &Value, signature: &Signature) -> Result<(String, Tensor)> {
    let name = tensor["name"].as_str().context("an input has no name")?;
    let spec = signature.inputs.iter().find(|spec| spec.name == name);
    let spec = spec.with_context(|| format!("the model has no input {name:?}"))?;
    let extents: Vec<i64> = serde_json::from_value(tensor["shape"].clone())
        .with_context(|| format!("the shape of input {name:?} is not a list of whole numbers"))?;
    let shape = Shape::from_wire(&extents)?;
    let mut values = Vec::new();
    flatten(&tensor["data"], &mut values);
    if shape.element_count() != values.len() {
        bail!(
            "input {name:?} has shape {shape} and {} values",
            values.len()
        );
    }
    let cells = Cells {
        spec,
        values,
        is_text: false,
        width: shape.iter().skip(1).product(),
        columns: Vec::new(),
    };
    Ok((name.to_owned(), cells.tensor(shape)?))
}

fn flatten<'v>(value: &'v Value, values: &mut Vec<&'v Value>) {
    match value {
        Value::Array(inner) => inner.iter().for_each(|value| flatten(value, values)),
        other => values.push(other),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::{DataType, Dim, TensorSpec};

    use super::*;

    fn read(text: &str, inputs: &[&str]) -> Result<Vec<Vec<f32>>, String> {
        let width = if inputs.len() == 1 { 2 } else { 1 };
        let spec = |name: &&str| TensorSpec {
            name: (*name).to_owned(),
            datatype: DataType::Fp32,
            dims: Some(vec![Dim::Any, Dim::Fixed(width)]),
            optional: false,
        };
        let signature = Signature {
            inputs: inputs.iter().map(spec).collect(),
            outputs: Vec::new(),
        };
        let file = tempfile::NamedTempFile::with_suffix(".json").unwrap();
        std::fs::write(file.path(), text).unwrap();
        let read = json(file.path(), &signature, &DeclaredSignature::default());
        let read = read.map_err(|error| format!("{error:#}"))?;
        Ok(read
            .into_iter()
            .map(|(_, tensor)| tensor.to_vec().unwrap())
            .collect())
    }

    #[test]
    fn every_layout_of_pandas_gives_the_same_rows() {
        for text in [
            "[[1, 2], [3, 4]]",
            r#"[{"a": 1.0, "b": 2}, {"b": 4, "a": 3}]"#,
            "{\"a\": 1, \"b\": 2}\n{\"a\": 3, \"b\": 4}\n",
            r#"{"columns": ["a", "b"], "index": [0, 1], "data": [[1, 2], [3, 4]]}"#,
            r#"{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}}"#,
            r#"{"dataframe_records": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]}"#,
            r#"{"a": {"0": 1, "1": 3}, "b": {"0": 2, "1": 4}}"#,
            r#"{"schema": {"primaryKey": ["index"]}, "data": [{"index": 0, "a": 1, "b": 2}, {"index": 1, "a": 3, "b": 4}]}"#,
            r#"{"instances": [[1, 2], [3, 4]]}"#,
            r#"{"inputs": [{"name": "x", "shape": [2, 2], "data": [1, 2, 3, 4]}]}"#,
        ] {
            assert_eq!(
                read(text, &["x"]),
                Ok(vec![vec![1.0, 2.0, 3.0, 4.0]]),
                "{text}"
            );
        }
        for text in [
            r#"[{"b": 2, "a": 1}, {"a": 3, "b": 4}]"#,
            r#"{"0": {"a": 1, "b": 2}, "1": {"a": 3, "b": 4}}"#,
            r#"{"a": {"0": 1, "1": 3}, "b": {"0": 2, "1": 4}}"#,
        ] {
            let wanted = vec![vec![1.0, 3.0], vec![2.0, 4.0]];
            assert_eq!(read(text, &["a", "b"]), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn missing_numbers_are_read_by_the_rule_of_the_server() {
        let read = read(r#"[[null, NaN], ["NaN", -Infinity]]"#, &["x"]).unwrap();
        assert!(read[0][..3].iter().all(|value| value.is_nan()));
        assert_eq!(read[0][3], f32::NEG_INFINITY);
    }

    #[test]
    fn what_is_no_table_is_refused_with_the_row() {
        let refused = |text: &str| read(text, &["x"]).unwrap_err();
        assert!(refused(r#"[{"a": 1, "b": 2}, {"a": 1}]"#).contains("row 2 has no \"b\""));
        assert!(refused(r#"[{"a": 1, "b": 2}, 3]"#).contains("row 2 is not an object"));
        assert!(refused(r#"{"a": 1}"#).contains("to_json"));
        assert!(refused("3").contains("array of rows"));
        assert!(refused(r#"[["1", 2]]"#).contains("row 1, column 1"));
    }
}
