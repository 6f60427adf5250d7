//! Columns as the inputs of a signature.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType as ArrowType;
use tidegate_core::{DataType, Dim, Shape, StringArrayBuilder, Tensor, TensorSpec, with_element};
use tidegate_serving::Version;

use super::BadPlaces;
use super::cells::{Cell, CellArray, FromCell, bit, cell_of_json, json_cells, shown};
use super::input_columns::columns_of;
use crate::input::{Cells, Columns, InputFile, RowBatch};

/// The inputs of a signature, bound to columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TensorBinding {
    inputs: Vec<BoundInput>,
    cells: Cells,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct BoundInput {
    spec: TensorSpec,
    /// The places of its columns among those that are bound.
    columns: Vec<usize>,
    /// The extents of a row.
    extents: Vec<usize>,
    /// Whether its only column has a list of values in each row.
    is_list: bool,
}

impl TensorBinding {
    /// Binds each input to the column of its name, to the columns that the bundle declares for it, or,
    /// if it is the only one, to `columns`.
    pub(super) fn new(
        version: &Version,
        file: &InputFile,
        columns: &[String],
        bound: &mut Vec<String>,
    ) -> Result<Self, String> {
        let mut inputs = Vec::new();
        for spec in &version.signature().inputs {
            let Some(names) = columns_of(version, spec, file, columns)? else {
                continue;
            };
            inputs.push(BoundInput::new(spec, &names, file, bound.len())?);
            bound.extend(names);
        }
        Ok(Self {
            inputs,
            cells: file.format.cells(),
        })
    }

    pub(super) fn describe(&self, bound: &[String]) -> Vec<(String, String)> {
        let inputs = self.inputs.iter().map(|input| {
            let names: Vec<&str> = input.columns.iter().map(|at| bound[*at].as_str()).collect();
            let (spec, shape) = (&input.spec, input.spec.wire_shape());
            let noun = if names.len() == 1 {
                "column"
            } else {
                "columns"
            };
            let columns = format!("{noun} {}", names.join(", "));
            (
                format!("{} {} {shape:?}", spec.name, spec.datatype),
                columns,
            )
        });
        inputs.collect()
    }

    /// The rows as tensors.
    ///
    /// # Errors
    /// The rows that have values which cannot be elements; the others can be bound without them.
    pub(crate) fn tensors(
        &self,
        batch: &RowBatch,
        names: &[String],
    ) -> Result<Vec<(String, Tensor)>, BadPlaces> {
        let mut bad = BadPlaces::new();
        let mut tensors = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let values = Values {
                input,
                batch,
                names,
                cells: self.cells,
            };
            if let Some(tensor) = values.tensor(&mut bad) {
                tensors.push((input.spec.name.clone(), tensor));
            }
        }
        match bad.is_empty() {
            true => Ok(tensors),
            false => Err(bad),
        }
    }
}

impl BoundInput {
    fn new(
        spec: &TensorSpec,
        names: &[String],
        file: &InputFile,
        first: usize,
    ) -> Result<Self, String> {
        let input = &spec.name;
        let dims = spec.dims.as_deref().unwrap_or_default();
        let dims = dims.get(1..).unwrap_or_default();
        let fixed: Vec<Option<usize>> = dims
            .iter()
            .map(|dim| match dim {
                Dim::Fixed(extent) => Some(*extent),
                Dim::Any => None,
            })
            .collect();
        let known: usize = fixed.iter().flatten().product();
        let extents: Vec<usize> = match fixed.iter().filter(|extent| extent.is_none()).count() {
            0 => fixed.into_iter().flatten().collect(),
            // One open extent takes what the columns leave.
            1 if names.len() > 1 || known == 1 => {
                let open = names.len() / known.max(1);
                fixed
                    .into_iter()
                    .map(|extent| extent.unwrap_or(open))
                    .collect()
            }
            _ => {
                let shape = spec.wire_shape();
                return Err(format!(
                    "input \"{input}\" has shape {shape:?}: rows of a table have one"
                ));
            }
        };
        let width: usize = extents.iter().product();
        let is_list = match (&file.columns, names) {
            (Columns::Typed(schema), [name]) => schema
                .field_with_name(name)
                .is_ok_and(|field| is_list(field.data_type())),
            (Columns::Open, [_]) => width != 1,
            _ => false,
        };
        if !is_list && names.len() != width {
            let found = names.len();
            return Err(format!(
                "input \"{input}\" takes {width} values a row, from {found} columns"
            ));
        }
        if let Columns::Typed(schema) = &file.columns {
            check_types(spec, names, schema, is_list)?;
        }
        Ok(Self {
            spec: spec.clone(),
            columns: (first..first + names.len()).collect(),
            extents,
            is_list,
        })
    }
}

fn check_types(
    spec: &TensorSpec,
    names: &[String],
    schema: &arrow_schema::Schema,
    is_list: bool,
) -> Result<(), String> {
    for name in names {
        let Ok(field) = schema.field_with_name(name) else {
            continue;
        };
        let data_type = match field.data_type() {
            ArrowType::List(item)
            | ArrowType::LargeList(item)
            | ArrowType::FixedSizeList(item, _)
                if is_list =>
            {
                item.data_type()
            }
            data_type => data_type,
        };
        if !fits(data_type, spec.datatype) {
            let (found, wanted) = (field.data_type(), spec.datatype);
            let input = &spec.name;
            return Err(format!(
                "column \"{name}\" is {found}, input \"{input}\" is {wanted}"
            ));
        }
    }
    Ok(())
}

fn is_list(data_type: &ArrowType) -> bool {
    matches!(
        data_type,
        ArrowType::List(_) | ArrowType::LargeList(_) | ArrowType::FixedSizeList(..)
    )
}

fn fits(column: &ArrowType, wanted: DataType) -> bool {
    match column {
        ArrowType::Null => true,
        ArrowType::Dictionary(_, value) => fits(value, wanted),
        ArrowType::Boolean => wanted == DataType::Bool,
        ArrowType::Utf8
        | ArrowType::LargeUtf8
        | ArrowType::Utf8View
        | ArrowType::Binary
        | ArrowType::LargeBinary
        | ArrowType::BinaryView => wanted == DataType::Bytes,
        column if column.is_integer() || column.is_floating() || column.is_decimal() => {
            !matches!(wanted, DataType::Bool | DataType::Bytes)
        }
        _ => false,
    }
}

/// The values of an input in some rows.
struct Values<'a> {
    input: &'a BoundInput,
    batch: &'a RowBatch,
    names: &'a [String],
    cells: Cells,
}

impl Values<'_> {
    fn tensor(&self, bad: &mut BadPlaces) -> Option<Tensor> {
        let rows = self.batch.rows.len();
        let mut extents = vec![rows];
        extents.extend(&self.input.extents);
        let shape = Shape::new(&extents).ok()?;
        let datatype = self.input.spec.datatype;
        match datatype {
            DataType::Bytes => {
                let mut strings = StringArrayBuilder::default();
                self.each(bad, |_, cell| {
                    match cell {
                        Cell::Text(text) => strings.push(text.as_bytes()),
                        Cell::Bytes(bytes) => strings.push(bytes),
                        _ => return None,
                    }
                    Some(())
                });
                Tensor::from_strings(shape, strings.finish()).ok()
            }
            DataType::Bool => {
                let mut bits = vec![0; shape.element_count()];
                self.each(bad, |at, cell| {
                    bits[at] = bit(cell, self.cells)?;
                    Some(())
                });
                Tensor::from_wire(DataType::Bool, shape, bits.into()).ok()
            }
            datatype => with_element!(datatype, T => self.elements::<T>(shape, bad), else => None),
        }
    }

    fn elements<T: FromCell>(&self, shape: Shape, bad: &mut BadPlaces) -> Option<Tensor> {
        let mut elements: Vec<T> = vec![T::zeroed(); shape.element_count()];
        self.each(bad, |at, cell| {
            elements[at] = T::from_cell(cell, self.cells)?;
            Some(())
        });
        Tensor::from_vec(shape, elements).ok()
    }

    /// Gives each value with its place among the elements; where the function has no use for it, its
    /// row is bad.
    fn each(&self, bad: &mut BadPlaces, mut take: impl FnMut(usize, Cell<'_>) -> Option<()>) {
        let width: usize = self.input.extents.iter().product();
        if self.input.is_list || self.cells == Cells::Json {
            return self.each_list(width, bad, take);
        }
        let columns: Vec<Option<CellArray>> = self
            .input
            .columns
            .iter()
            .map(|at| CellArray::new(&self.batch.bound[*at]))
            .collect();
        for row in 0..self.batch.rows.len() {
            for (at, column) in columns.iter().enumerate() {
                let cell = column
                    .as_ref()
                    .map_or(Cell::Missing, |column| column.cell(row));
                if take(row * width + at, cell).is_none() {
                    let column = &self.names[self.input.columns[at]];
                    self.add_bad(bad, row, column, &shown(cell));
                }
            }
        }
    }

    fn each_list(
        &self,
        width: usize,
        bad: &mut BadPlaces,
        mut take: impl FnMut(usize, Cell<'_>) -> Option<()>,
    ) {
        for row in 0..self.batch.rows.len() {
            let mut at = 0;
            for place in &self.input.columns {
                let (column, name) = (&self.batch.bound[*place], &self.names[*place]);
                let mut problem = None;
                self.values_of(column, row, |cell| {
                    let is_taken = at < width && take(row * width + at, cell).is_some();
                    if at < width && !is_taken {
                        problem.get_or_insert_with(|| shown(cell));
                    }
                    at += 1;
                });
                if let Some(problem) = problem {
                    self.add_bad(bad, row, name, &problem);
                }
            }
            if at != width {
                let name = &self.names[self.input.columns[0]];
                self.add_bad(
                    bad,
                    row,
                    name,
                    &format!("has {at} values instead of {width}"),
                );
            }
        }
    }

    /// The values of a row of a column that has lists or JSON.
    fn values_of(&self, column: &ArrayRef, row: usize, mut take: impl FnMut(Cell<'_>)) {
        if self.cells == Cells::Json {
            let texts = column.as_string::<i32>();
            if texts.is_null(row) {
                return take(Cell::Missing);
            }
            for value in json_cells(texts.value(row)).unwrap_or_default() {
                take(cell_of_json(&value).unwrap_or(Cell::Bytes(&[])));
            }
            return;
        }
        if column.is_null(row) {
            return;
        }
        let values = match column.data_type() {
            ArrowType::List(_) => column.as_list::<i32>().value(row),
            ArrowType::LargeList(_) => column.as_list::<i64>().value(row),
            ArrowType::FixedSizeList(..) => column.as_fixed_size_list().value(row),
            _ => column.slice(row, 1),
        };
        if let Some(cells) = CellArray::new(&values) {
            (0..values.len()).for_each(|at| take(cells.cell(at)));
        }
    }

    fn add_bad(&self, bad: &mut BadPlaces, row: usize, column: &str, problem: &str) {
        let datatype = self.input.spec.datatype;
        bad.entry(row).or_insert_with(|| {
            format!("column \"{column}\" {problem}, which is not a value of {datatype}")
        });
    }
}
