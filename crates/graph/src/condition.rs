//! On which rows a node runs.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tidegate_core::{DataType, Tensor, TensorView, bf16, f16};
use tidegate_expression::{Expression, Input, Output, Type};

/// The `when` of a node.
pub(crate) struct Condition {
    node: String,
    text: String,
    /// The tensors that it names, with their places.
    variables: Vec<(String, usize)>,
    /// The condition that must not hold before this one is asked.
    parent: Option<usize>,
    /// Checked for the types that its tensors had last. They are known once the nodes that make them
    /// are, and another version of a node may give other ones.
    checked: ArcSwapOption<Checked>,
}

#[derive(Debug)]
struct Checked {
    types: Vec<Type>,
    expression: Expression,
}

/// The values of a variable.
enum Column<'a> {
    Numbers(Vec<f64>),
    Booleans(Vec<bool>),
    Texts(Vec<&'a str>),
}

impl Condition {
    pub(crate) fn new(
        node: String,
        text: String,
        variables: Vec<(String, usize)>,
        parent: Option<usize>,
    ) -> Self {
        Self {
            node,
            text,
            variables,
            parent,
            checked: ArcSwapOption::empty(),
        }
    }

    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn parent(&self) -> Option<usize> {
        self.parent
    }

    /// The tensors that it names, with their places.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, usize)> {
        self.variables
            .iter()
            .map(|(name, tensor)| (name.as_str(), *tensor))
    }

    /// Checks it for tensors of these types, in the order of its variables.
    pub(crate) fn check(&self, datatypes: &[DataType]) -> Result<(), String> {
        self.checked(datatypes).map(|_| ())
    }

    /// For which of so many rows it holds. Each tensor has one value for each of them, in the order of
    /// its variables.
    pub(crate) fn holds(&self, rows: usize, tensors: &[Tensor]) -> Result<Vec<bool>, String> {
        let datatypes: Vec<DataType> = tensors.iter().map(Tensor::datatype).collect();
        let checked = self.checked(&datatypes)?;
        let mut columns = Vec::with_capacity(tensors.len());
        for (tensor, (name, _)) in tensors.iter().zip(&self.variables) {
            if tensor.shape().element_count() != rows {
                let shape = tensor.shape();
                let problem = format!(
                    "tensor \"{name}\" has shape {shape} for {rows} rows, a condition takes one value of each"
                );
                return Err(self.failed(&problem));
            }
            let column = Column::of(tensor).ok_or_else(|| self.failed("a text is not UTF-8"))?;
            columns.push(column);
        }
        let mut holds = Vec::with_capacity(rows);
        let mut is_missing = false;
        let value = |variable: usize, row: usize| {
            columns[self.place(checked.as_ref(), variable)].value(row)
        };
        checked
            .expression
            .run(rows, value, |output| match output {
                Output::Boolean(value) => holds.push(value),
                _ => is_missing = true,
            })
            .map_err(|error| self.failed(&error.to_string()))?;
        match is_missing {
            false => Ok(holds),
            true => Err(self.failed("it has no value")),
        }
    }

    /// The place among the tensors of a variable of the checked expression.
    fn place(&self, checked: &Checked, variable: usize) -> usize {
        let name = &checked.expression.variables()[variable];
        let place = self.variables.iter().position(|(known, _)| known == name);
        place.expect("an expression has the variables of its text")
    }

    fn checked(&self, datatypes: &[DataType]) -> Result<Arc<Checked>, String> {
        let types: Vec<Type> = datatypes
            .iter()
            .map(|datatype| type_of(*datatype))
            .collect();
        if let Some(checked) = self
            .checked
            .load_full()
            .filter(|checked| checked.types == types)
        {
            return Ok(checked);
        }
        let known = |name: &str| {
            let place = self.variables.iter().position(|(known, _)| known == name)?;
            types.get(place).copied()
        };
        let expression = Expression::parse(&self.text, known);
        let expression = expression.map_err(|error| self.failed(&error.to_string()))?;
        if expression.result() != Type::Boolean {
            let found = expression.result().name();
            return Err(self.failed(&format!("it gives {found}, a condition is true or false")));
        }
        let checked = Arc::new(Checked { types, expression });
        self.checked.store(Some(checked.clone()));
        Ok(checked)
    }

    fn failed(&self, problem: &str) -> String {
        format!("node \"{}\", when {:?}: {problem}", self.node, self.text)
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {}", self.text, self.node)
    }
}

fn type_of(datatype: DataType) -> Type {
    match datatype {
        DataType::Bool => Type::Boolean,
        DataType::Bytes => Type::Text,
        _ => Type::Number,
    }
}

impl<'a> Column<'a> {
    /// `None` for text that is none.
    fn of(tensor: &'a Tensor) -> Option<Self> {
        match tensor.view() {
            TensorView::Strings(strings) => {
                let texts = strings.iter().map(|text| std::str::from_utf8(text).ok());
                texts.collect::<Option<_>>().map(Self::Texts)
            }
            TensorView::Fixed(bytes) if tensor.datatype() == DataType::Bool => Some(
                Self::Booleans(bytes.iter().map(|byte| *byte != 0).collect()),
            ),
            TensorView::Fixed(_) => numbers(tensor).map(Self::Numbers),
        }
    }

    fn value(&self, row: usize) -> Input<'a> {
        match self {
            Self::Numbers(values) => Input::Number(values[row]),
            Self::Booleans(values) => Input::Boolean(values[row]),
            Self::Texts(values) => Input::Text(values[row]),
        }
    }
}

fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    fn wide<T: Into<f64>>(values: Vec<T>) -> Vec<f64> {
        values.into_iter().map(Into::into).collect()
    }
    Some(match tensor.datatype() {
        DataType::Uint8 => wide(tensor.to_vec::<u8>()?),
        DataType::Uint16 => wide(tensor.to_vec::<u16>()?),
        DataType::Uint32 => wide(tensor.to_vec::<u32>()?),
        DataType::Int8 => wide(tensor.to_vec::<i8>()?),
        DataType::Int16 => wide(tensor.to_vec::<i16>()?),
        DataType::Int32 => wide(tensor.to_vec::<i32>()?),
        DataType::Fp16 => wide(tensor.to_vec::<f16>()?),
        DataType::Bf16 => wide(tensor.to_vec::<bf16>()?),
        DataType::Fp32 => wide(tensor.to_vec::<f32>()?),
        DataType::Fp64 => tensor.to_vec::<f64>()?,
        // Beyond 2^53 not every one has a double of its own; the reference of model.toml says so.
        DataType::Int64 => tensor
            .to_vec::<i64>()?
            .into_iter()
            .map(|value| value as f64)
            .collect(),
        DataType::Uint64 => tensor
            .to_vec::<u64>()?
            .into_iter()
            .map(|value| value as f64)
            .collect(),
        DataType::Bool | DataType::Bytes => return None,
    })
}
