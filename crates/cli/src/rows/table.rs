//! Rows of cells, and which of them make which input.

use anyhow::{Result, bail};
use serde_json::Value;
use tidegate_core::{DeclaredSignature, Dim, Shape, Signature, Tensor, TensorSpec};

use super::cells::Cells;

/// Rows, each with a cell for each column. A cell may hold several values, nested in lists.
pub(super) struct Table {
    /// The names of the columns, where the file has them.
    names: Option<Vec<String>>,
    rows: Vec<Vec<Value>>,
    is_text: bool,
}

impl Table {
    /// Rows of JSON values.
    pub(super) fn new(names: Option<Vec<String>>, rows: Vec<Vec<Value>>) -> Self {
        Self {
            names,
            rows,
            is_text: false,
        }
    }

    /// Rows of texts below a header.
    pub(super) fn of_text(names: Vec<String>, rows: Vec<Vec<Value>>) -> Self {
        Self {
            names: Some(names),
            rows,
            is_text: true,
        }
    }

    /// The inputs that the rows are for. Columns that have the names that the bundle declares are
    /// taken by name, in whatever order they come; a model with several inputs takes each from the
    /// column of its name; the only input of another model takes all columns as they come.
    pub(super) fn inputs(
        &self,
        signature: &Signature,
        declared: &DeclaredSignature,
    ) -> Result<Vec<(String, Tensor)>> {
        let is_only = signature.inputs.len() == 1;
        let mut inputs = Vec::new();
        for spec in &signature.inputs {
            let Some(columns) = self.columns_of(spec, declared, is_only)? else {
                continue;
            };
            inputs.push((spec.name.clone(), self.tensor(spec, &columns)?));
        }
        Ok(inputs)
    }

    /// The columns of an input; none for one that may be left out, and is.
    fn columns_of(
        &self,
        spec: &TensorSpec,
        declared: &DeclaredSignature,
        is_only: bool,
    ) -> Result<Option<Vec<usize>>> {
        let Some(names) = &self.names else {
            if is_only {
                return Ok(Some((0..self.width()).collect()));
            }
            bail!("the rows have no names, but the model has several inputs")
        };
        // An input with several features has several columns of its name.
        let named = names.iter().enumerate();
        let named: Vec<usize> = named
            .filter_map(|(at, name)| (*name == spec.name).then_some(at))
            .collect();
        if !named.is_empty() {
            return Ok(Some(named));
        }
        let wanted = declared_columns(spec, declared, is_only);
        if !wanted.is_empty() {
            let found: Vec<Option<usize>> = wanted
                .iter()
                .map(|wanted| names.iter().position(|name| name == wanted))
                .collect();
            if let Some(missing) = found.iter().position(Option::is_none) {
                let missing = wanted[missing];
                let shown: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
                bail!(
                    "there is no column {missing:?}, which model.toml declares for input {:?}: the \
                     file has {}",
                    spec.name,
                    shown.join(", ")
                );
            }
            return Ok(Some(found.into_iter().flatten().collect()));
        }
        match (is_only, spec.optional) {
            (true, _) => Ok(Some((0..names.len()).collect())),
            (false, true) => Ok(None),
            (false, false) => bail!("the file has no column {:?}", spec.name),
        }
    }

    fn width(&self) -> usize {
        self.rows.first().map_or(0, Vec::len)
    }

    fn tensor(&self, spec: &TensorSpec, columns: &[usize]) -> Result<Tensor> {
        let mut values = Vec::new();
        for (row, cells) in self.rows.iter().enumerate() {
            let before = values.len();
            for column in columns {
                match cells.get(*column) {
                    Some(cell) => flatten(cell, &mut values),
                    None => bail!("row {} has no column {}", row + 1, column + 1),
                }
            }
            let (first, found) = (values.len() / (row + 1), values.len() - before);
            if found != first {
                bail!(
                    "input {:?}: row {} has {found} values, the rows before it have {first}",
                    spec.name,
                    row + 1
                );
            }
        }
        let rows = self.rows.len();
        let width = values.len().checked_div(rows).unwrap_or(0);
        let names = self.names.as_deref().filter(|_| width == columns.len());
        let columns = columns.iter();
        let cells = Cells {
            spec,
            is_text: self.is_text,
            width,
            columns: names.map_or(Vec::new(), |names| {
                columns.map(|column| names[*column].as_str()).collect()
            }),
            values,
        };
        let shape = shape(spec, rows, width).map_err(|error| match self.unnamed_index(width) {
            true => error.context(
                "the first column has no name: pandas wrote its index, leave it out with index=False",
            ),
            false => error,
        })?;
        cells.tensor(shape)
    }

    /// Whether the file has one column too many, because its writer added the numbers of the rows.
    fn unnamed_index(&self, width: usize) -> bool {
        let names = self.names.as_deref().unwrap_or_default();
        width == names.len() && names.first().is_some_and(String::is_empty)
    }
}

/// The names of an input's columns that the bundle declares.
fn declared_columns<'d>(
    spec: &TensorSpec,
    declared: &'d DeclaredSignature,
    is_only: bool,
) -> Vec<&'d str> {
    let tensor = declared
        .inputs
        .iter()
        .find(|tensor| tensor.name == spec.name || (is_only && tensor.name.is_empty()));
    let columns = tensor.map_or(&[][..], |tensor| &tensor.columns);
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    // Columns may be declared by their units alone.
    if names.iter().any(|name| name.is_empty()) {
        return Vec::new();
    }
    names
}

fn flatten<'v>(value: &'v Value, values: &mut Vec<&'v Value>) {
    match value {
        Value::Array(inner) => inner.iter().for_each(|value| flatten(value, values)),
        other => values.push(other),
    }
}

/// The shape of an input whose rows have `width` values each.
fn shape(spec: &TensorSpec, rows: usize, width: usize) -> Result<Shape> {
    let rest = spec.dims.as_deref().unwrap_or_default();
    let rest = rest.get(1..).unwrap_or_default();
    let fixed: usize = rest
        .iter()
        .filter_map(|dim| usize::try_from(dim.to_wire()).ok())
        .product();
    let mut extents = vec![rows];
    for dim in rest {
        // An open dimension takes what the fixed ones leave of the row.
        extents.push(match dim {
            Dim::Fixed(extent) => *extent,
            Dim::Any => width / fixed.max(1),
        });
    }
    let shape = Shape::new(&extents)?;
    if shape.element_count() != rows * width {
        bail!(
            "input {:?} takes {} values per row, but the file has {width}",
            spec.name,
            shape.element_count().checked_div(rows).unwrap_or(0)
        );
    }
    Ok(shape)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_core::{Column, DataType, DeclaredTensor};

    use super::*;

    fn spec(name: &str, width: usize) -> TensorSpec {
        TensorSpec {
            name: name.to_owned(),
            datatype: DataType::Fp32,
            dims: Some(vec![Dim::Any, Dim::Fixed(width)]),
            optional: false,
        }
    }

    fn signature(inputs: Vec<TensorSpec>) -> Signature {
        Signature {
            inputs,
            outputs: Vec::new(),
        }
    }

    fn declared(names: &[&str]) -> DeclaredSignature {
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            ..Column::default()
        };
        DeclaredSignature {
            inputs: vec![DeclaredTensor {
                columns: names.iter().map(column).collect(),
                ..DeclaredTensor::default()
            }],
            ..DeclaredSignature::default()
        }
    }

    fn table(names: &[&str], rows: Value) -> Table {
        let rows: Vec<Vec<Value>> = serde_json::from_value(rows).unwrap();
        Table::new(
            Some(names.iter().map(|name| (*name).to_owned()).collect()),
            rows,
        )
    }

    fn floats(table: &Table, declared: &DeclaredSignature) -> Result<Vec<f32>, String> {
        let signature = signature(vec![spec("x", 2)]);
        let inputs = table.inputs(&signature, declared);
        let inputs = inputs.map_err(|error| format!("{error:#}"))?;
        Ok(inputs[0].1.to_vec().unwrap())
    }

    #[test]
    fn declared_columns_are_taken_by_name() {
        let rows = json!([[1, 2], [3, 4]]);
        let declared = declared(&["a", "b"]);
        assert_eq!(
            floats(&table(&["b", "a"], rows.clone()), &declared),
            Ok(vec![2.0, 1.0, 4.0, 3.0])
        );
        let wrong = floats(&table(&["b", "c"], rows.clone()), &declared).unwrap_err();
        assert!(wrong.contains("no column \"a\""), "{wrong}");
        let more = table(&["id", "b", "a"], json!([[9, 1, 2]]));
        assert_eq!(floats(&more, &declared), Ok(vec![2.0, 1.0]));
        let undeclared = DeclaredSignature::default();
        assert_eq!(
            floats(&table(&["b", "a"], rows), &undeclared),
            Ok(vec![1.0, 2.0, 3.0, 4.0])
        );
    }

    #[test]
    fn an_input_with_several_features_has_several_columns_of_its_name() {
        let inputs = signature(vec![spec("a", 1), spec("b", 2)]);
        let table = table(&["b", "a", "b"], json!([[1, 2, 3], [4, 5, 6]]));
        let read = table
            .inputs(&inputs, &DeclaredSignature::default())
            .unwrap();
        assert_eq!(read[0].1.to_vec::<f32>().unwrap(), [2.0, 5.0]);
        assert_eq!(read[1].1.to_vec::<f32>().unwrap(), [1.0, 3.0, 4.0, 6.0]);
    }

    #[test]
    fn what_is_missing_is_named_by_row_and_column() {
        let undeclared = DeclaredSignature::default();
        let mut inputs = vec![spec("a", 1), spec("b", 1)];
        inputs[1].datatype = DataType::Int64;
        let error = |rows: Value| {
            let found = table(&["a", "b"], rows).inputs(&signature(inputs.clone()), &undeclared);
            format!("{:#}", found.unwrap_err())
        };
        assert_eq!(
            error(json!([[null, 1], [2, null]])),
            "input \"b\": row 2, column \"b\" is null: INT64 has no missing value"
        );
        assert!(error(json!([[1, 1], [2, 1.5]])).contains("row 2, column \"b\" is 1.5"));
        assert!(error(json!([[1, 1], ["2", 1]])).contains("row 2, column \"a\" is \"2\""));
        let short = floats(&table(&["a", "b"], json!([[1, 2], [1]])), &undeclared);
        assert!(short.unwrap_err().contains("row 2 has no column 2"));
        let index = table(&["", "a", "b"], json!([[0, 1, 2]]));
        assert!(
            floats(&index, &undeclared)
                .unwrap_err()
                .contains("index=False")
        );
    }
}
