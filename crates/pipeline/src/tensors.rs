//! Columns as tensors, and tensors as columns.

use std::sync::Arc;

use tidegate_core::{
    DataType, Dim, Shape, StringArrayBuilder, Tensor, TensorSpec, TensorView, bf16, f16,
    with_element,
};

use crate::program::{Element, Inputs, Kind, Source};
use crate::{Column, PipelineError, Reason, RowError, TextColumn};

/// The columns that an input of the engine takes.
#[derive(Clone, Debug)]
pub(crate) struct EngineInput {
    pub(crate) name: String,
    pub(crate) datatype: DataType,
    pub(crate) form: InputForm,
    pub(crate) sources: Vec<Source>,
}

/// How an input of the engine is made of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputForm {
    /// A value for each row.
    Values,
    /// An axis of columns behind that of rows.
    Columns,
    /// A tensor as it is.
    Tensor,
}

impl EngineInput {
    /// Its tensor, of a row for each row of the registers.
    pub(crate) fn tensor(&self, registers: &[Column], rows: usize) -> Result<Tensor, RowError> {
        let inputs = Inputs::new(registers, &self.sources, rows);
        let extents = [rows, self.sources.len()];
        let rank = match self.form {
            InputForm::Values => 1,
            InputForm::Columns => 2,
            InputForm::Tensor => return Ok(inputs.tensor(0).clone()),
        };
        let shape = Shape::new(&extents[..rank]).expect("registers of this size fit in memory");
        let tensor = match self.datatype {
            DataType::Bytes => return texts(&inputs, shape),
            DataType::Bool => {
                let bytes: Vec<u8> = self.gather(&inputs, boolean)?;
                return Ok(Tensor::from_wire(DataType::Bool, shape, bytes.into())
                    .expect("there is a byte for each element, 0 or 1"));
            }
            datatype => with_element!(datatype, T => {
                Tensor::from_vec(shape, self.gather(&inputs, T::from_number)?)
            }, else => unreachable!("BOOL and BYTES are handled above")),
        };
        Ok(tensor.expect("there is a value for each element"))
    }

    /// What it takes, for people.
    pub(crate) fn describe(&self) -> String {
        let element = self
            .sources
            .first()
            .and_then(|source| source.element.as_deref());
        if let (InputForm::Tensor, Some(element)) = (self.form, element) {
            return element.describe();
        }
        match self.sources.len() {
            1 => "1 column".to_owned(),
            count => format!("{count} columns"),
        }
    }

    /// Rows of columns, each number converted.
    fn gather<T: Copy + Default>(
        &self,
        inputs: &Inputs<'_>,
        convert: impl Fn(f64) -> Result<T, Unfit>,
    ) -> Result<Vec<T>, RowError> {
        let columns = inputs.len();
        let mut elements = vec![T::default(); columns * inputs.rows()];
        for column in 0..columns {
            for (row, number) in inputs.numbers(column).iter().enumerate() {
                let element = convert(*number);
                elements[row * columns + column] =
                    element.map_err(|unfit| self.refuse(inputs, column, row, unfit))?;
            }
        }
        Ok(elements)
    }

    #[cold]
    fn refuse(&self, inputs: &Inputs<'_>, column: usize, row: usize, unfit: Unfit) -> RowError {
        let number = inputs.numbers(column)[row];
        let (name, datatype) = (&self.name, self.datatype);
        let problem = match unfit {
            Unfit::Missing => {
                format!("is missing, and input \"{name}\" of the model takes {datatype}")
            }
            Unfit::Range | Unfit::Fraction => format!(
                "became {number}, which input \"{name}\" of the model cannot take as {datatype}"
            ),
        };
        let reason = match unfit {
            Unfit::Missing => Reason::Required,
            Unfit::Range => Reason::Range,
            Unfit::Fraction => Reason::Type,
        };
        inputs.error(column, row, reason, problem)
    }
}

/// Why a number does not fit an element type.
#[derive(Clone, Copy, Debug)]
enum Unfit {
    Missing,
    Range,
    Fraction,
}

/// An element type that numbers become.
trait FromNumber: Sized {
    fn from_number(number: f64) -> Result<Self, Unfit>;
}

impl FromNumber for f64 {
    #[inline(always)]
    fn from_number(number: f64) -> Result<Self, Unfit> {
        // NaN is a missing value, which many models take.
        if number.is_infinite() {
            return Err(Unfit::Range);
        }
        Ok(number)
    }
}

impl FromNumber for f32 {
    #[inline(always)]
    fn from_number(number: f64) -> Result<Self, Unfit> {
        let narrow = number as Self;
        if narrow.is_infinite() {
            return Err(Unfit::Range);
        }
        Ok(narrow)
    }
}

macro_rules! halves {
    ($($half:ty),*) => {
        $(impl FromNumber for $half {
            fn from_number(number: f64) -> Result<Self, Unfit> {
                let narrow = Self::from_f64(number);
                if narrow.is_infinite() {
                    return Err(Unfit::Range);
                }
                Ok(narrow)
            }
        })*
    };
}

halves!(f16, bf16);

macro_rules! integers {
    ($($integer:ty),*) => {
        $(impl FromNumber for $integer {
            fn from_number(number: f64) -> Result<Self, Unfit> {
                if number.is_nan() {
                    return Err(Unfit::Missing);
                }
                if number.fract() != 0.0 {
                    return Err(Unfit::Fraction);
                }
                // Compared as a double: MAX of 64 bits is rounded up to 2^63 or 2^64, which is outside.
                let is_below = if size_of::<$integer>() == 8 {
                    number < <$integer>::MAX as f64
                } else {
                    number <= <$integer>::MAX as f64
                };
                if number < <$integer>::MIN as f64 || !is_below {
                    return Err(Unfit::Range);
                }
                Ok(number as Self)
            }
        })*
    };
}

integers!(u8, u16, u32, u64, i8, i16, i32, i64);

fn boolean(number: f64) -> Result<u8, Unfit> {
    if number.is_nan() {
        return Err(Unfit::Missing);
    }
    if number == 0.0 || number == 1.0 {
        return Ok(number as u8);
    }
    Err(Unfit::Fraction)
}

fn texts(inputs: &Inputs<'_>, shape: Shape) -> Result<Tensor, RowError> {
    let mut strings = StringArrayBuilder::default();
    for row in 0..inputs.rows() {
        for column in 0..inputs.len() {
            let fill = inputs.source(column).fill.as_deref();
            let text = inputs.text(column).get(row).or(fill).ok_or_else(|| {
                let problem = "is missing, and the model takes text";
                inputs.error(column, row, Reason::Required, problem)
            })?;
            strings.push(text.as_bytes());
        }
    }
    Ok(Tensor::from_strings(shape, strings.finish()).expect("there is a text for each element"))
}

/// An output of the engine as columns.
#[derive(Clone, Debug)]
pub(crate) struct EngineOutput {
    pub(crate) name: String,
    /// A tensor, if the model does not say how many columns it has, or if it has more than two axes.
    pub(crate) kind: Kind,
    /// How many columns it has; 1 for a tensor.
    pub(crate) width: usize,
    /// What a row of a tensor is.
    pub(crate) element: Option<Arc<Element>>,
}

impl EngineOutput {
    pub(crate) fn new(spec: &TensorSpec) -> Self {
        let kind = match spec.datatype {
            DataType::Bytes => Kind::Text,
            DataType::Bool => Kind::Boolean,
            DataType::Fp16 | DataType::Bf16 | DataType::Fp32 => Kind::Single,
            DataType::Fp64 => Kind::Number,
            _ => Kind::Integer,
        };
        let width = spec.dims.as_deref().and_then(columns);
        // Texts of several columns would need as many registers.
        if let Some(width) = width.filter(|width| kind != Kind::Text || *width == 1) {
            return Self {
                name: spec.name.clone(),
                kind,
                width,
                element: None,
            };
        }
        let dims = spec.dims.as_deref().and_then(<[Dim]>::split_first);
        Self {
            name: spec.name.clone(),
            kind: Kind::Tensor,
            width: 1,
            element: Some(Arc::new(Element {
                datatype: spec.datatype,
                dims: dims.map(|(_, row)| row.to_vec()),
                sound: None,
            })),
        }
    }

    /// The columns of a tensor.
    pub(crate) fn column(&self, tensor: &Tensor, rows: usize) -> Result<Column, PipelineError> {
        if let Some(element) = &self.element {
            return self.tensor_column(element, tensor, rows);
        }
        let width = self.width;
        let found = tensor.shape().element_count();
        if tensor.rows() != rows || found != rows * width {
            let (name, shape) = (&self.name, tensor.shape());
            let problem = format!(
                "output \"{name}\" of the model has the shape {shape}, the pipeline takes {width} \
                 values for each of {rows} rows"
            );
            return Err(PipelineError::Output(problem));
        }
        match tensor.view() {
            TensorView::Strings(strings) => {
                let mut column = TextColumn::with_capacity(rows);
                for text in strings.iter() {
                    column.push(Some(self.text(text)?));
                }
                Ok(Column::Text(column))
            }
            TensorView::Fixed(bytes) => {
                let numbers: Vec<f64> = with_element!(tensor.datatype(), T => {
                    let elements = tensor.to_vec::<T>().unwrap_or_default();
                    elements.into_iter().map(ToNumber::to_number).collect()
                }, else => bytes.iter().map(|byte| f64::from(*byte)).collect());
                self.check_exact(&numbers)?;
                Ok(Column::Numbers(by_columns(&numbers, rows, width)))
            }
        }
    }

    fn tensor_column(
        &self,
        element: &Element,
        tensor: &Tensor,
        rows: usize,
    ) -> Result<Column, PipelineError> {
        let (shape, datatype) = (tensor.shape(), tensor.datatype());
        let has_rows = shape.first() == Some(&rows);
        let fits = element.dims.as_ref().is_none_or(|dims| {
            let pairs = dims.iter().zip(shape.iter().skip(1));
            dims.len() + 1 == shape.len()
                && pairs.into_iter().all(|(dim, extent)| dim.accepts(*extent))
        });
        if has_rows && fits && datatype == element.datatype {
            if let TensorView::Strings(texts) = tensor.view() {
                texts
                    .iter()
                    .try_for_each(|text| self.text(text).map(|_| ()))?;
            }
            return Ok(Column::Tensor(tensor.clone()));
        }
        let name = &self.name;
        let problem = format!(
            "output \"{name}\" of the model is {datatype} of the shape {shape}, which does not fit \
             its signature and {rows} rows"
        );
        Err(PipelineError::Output(problem))
    }

    fn text<'a>(&self, text: &'a [u8]) -> Result<&'a str, PipelineError> {
        std::str::from_utf8(text).map_err(|_| {
            let problem = format!("output \"{}\" of the model is not UTF-8", self.name);
            PipelineError::Output(problem)
        })
    }

    /// Refuses whole numbers that a double does not hold: they would come out as others.
    fn check_exact(&self, numbers: &[f64]) -> Result<(), PipelineError> {
        const MAX: f64 = (1u64 << 53) as f64;
        if self.kind == Kind::Integer && numbers.iter().any(|number| number.abs() > MAX) {
            let name = &self.name;
            let problem = format!("output \"{name}\" of the model has a number above 2^53");
            return Err(PipelineError::Output(problem));
        }
        Ok(())
    }
}

/// The elements of a tensor of numbers; those of 64 bits may be rounded. `None` for BOOL and BYTES.
pub(crate) fn numbers_of(tensor: &Tensor) -> Option<Vec<f64>> {
    with_element!(tensor.datatype(), T => {
        let elements = tensor.to_vec::<T>()?;
        Some(elements.into_iter().map(ToNumber::to_number).collect())
    }, else => None)
}

/// The number of columns of a vector or a matrix of rows.
fn columns(dims: &[Dim]) -> Option<usize> {
    match dims {
        [_] => Some(1),
        [_, Dim::Fixed(columns)] => Some(*columns),
        _ => None,
    }
}

fn by_columns(numbers: &[f64], rows: usize, width: usize) -> Vec<f64> {
    let mut columns = Vec::with_capacity(numbers.len());
    for column in 0..width {
        columns.extend((0..rows).map(|row| numbers[row * width + column]));
    }
    columns
}

/// An element type that becomes numbers.
trait ToNumber {
    fn to_number(self) -> f64;
}

macro_rules! to_numbers {
    ($($element:ty),*) => {
        $(impl ToNumber for $element {
            fn to_number(self) -> f64 {
                f64::from(self)
            }
        })*
    };
}

to_numbers!(u8, u16, u32, i8, i16, i32, f16, bf16, f32, f64);

// Above 2^53 these are rounded, which `check_exact` finds.
impl ToNumber for u64 {
    fn to_number(self) -> f64 {
        self as f64
    }
}

impl ToNumber for i64 {
    fn to_number(self) -> f64 {
        self as f64
    }
}
