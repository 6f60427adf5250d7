//! The inputs and outputs of a version.

use std::fmt;

use thiserror::Error;

use crate::{DataType, Shape, Tensor};

/// The named, typed, shaped inputs and outputs of a version.
///
/// ```
/// use tidegate_core::{DataType, Dim, Shape, Signature, Tensor, TensorSpec};
///
/// let column = |name: &str| TensorSpec {
///     name: name.to_owned(),
///     datatype: DataType::Int64,
///     dims: Some(vec![Dim::Any]),
///     optional: false,
/// };
/// let signature = Signature {
///     inputs: vec![column("age"), column("income")],
///     outputs: vec![column("score")],
/// };
/// let tensor = Tensor::from_vec(Shape::new(&[2])?, vec![1i64, 2])?;
/// let inputs = vec![("income".to_owned(), tensor.clone()), ("age".to_owned(), tensor)];
/// // In the order of the signature, whatever the order of the request.
/// assert_eq!(signature.bind(inputs).expect("both inputs fit").len(), 2);
/// assert_eq!(signature.output("score"), Ok(0));
/// assert!(signature.output("label").is_err());
/// # Ok::<(), tidegate_core::TensorError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Signature {
    /// In the order in which the engine takes them.
    pub inputs: Vec<TensorSpec>,
    /// In the order in which the engine gives them.
    pub outputs: Vec<TensorSpec>,
}

/// One input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Unique among the inputs, or among the outputs.
    pub name: String,
    /// The element type.
    pub datatype: DataType,
    /// The extents, outermost first; empty for a scalar. `None` if the engine does not know them,
    /// as for a tensor of unknown rank: then any shape is accepted here and the engine checks it.
    pub dims: Option<Vec<Dim>>,
    /// Whether a request may leave this input out: the artifact carries a default.
    pub optional: bool,
}

/// One extent of a [`TensorSpec`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    /// Exactly this many.
    Fixed(usize),
    /// Any number; written -1.
    Any,
}

impl Dim {
    /// The protocol's number: the extent, or -1.
    pub fn to_wire(&self) -> i64 {
        match self {
            Self::Fixed(extent) => i64::try_from(*extent).unwrap_or(i64::MAX),
            Self::Any => -1,
        }
    }

    /// Whether an extent fits.
    pub fn accepts(&self, extent: usize) -> bool {
        match self {
            Self::Fixed(fixed) => *fixed == extent,
            Self::Any => true,
        }
    }

    /// The reverse of [`Dim::to_wire`]; every negative number means any.
    pub fn from_wire(extent: i64) -> Self {
        usize::try_from(extent).map_or(Self::Any, Self::Fixed)
    }
}

impl TensorSpec {
    /// The extents as the protocol writes them; empty if the rank is not known.
    pub fn wire_shape(&self) -> Vec<i64> {
        self.dims.iter().flatten().map(Dim::to_wire).collect()
    }

    /// Whether axis 0 takes any extent, as a batch axis must.
    pub fn has_dynamic_first_axis(&self) -> bool {
        self.dims
            .as_ref()
            .is_some_and(|dims| dims.first() == Some(&Dim::Any))
    }

    /// Whether a tensor has its type and a shape that fits; `name` is for the message.
    ///
    /// # Errors
    /// How it differs.
    pub fn accepts(&self, name: &str, tensor: &Tensor) -> Result<(), SignatureError> {
        if tensor.datatype() != self.datatype {
            return Err(SignatureError::DataType {
                input: name.to_owned(),
                found: tensor.datatype(),
                wanted: self.datatype,
            });
        }
        let Some(dims) = &self.dims else {
            return Ok(());
        };
        let shape = tensor.shape();
        let has_rank = dims.len() == shape.len();
        let mut extents = dims.iter().zip(shape.iter());
        if has_rank && extents.all(|(dim, extent)| dim.accepts(*extent)) {
            return Ok(());
        }
        Err(SignatureError::Shape {
            input: name.to_owned(),
            found: shape.clone(),
            wanted: ShapeText(self.wire_shape()),
            rank: !has_rank,
        })
    }
}

impl Signature {
    /// Puts a request's inputs in the signature's order, `None` for an optional one that was left
    /// out.
    ///
    /// # Errors
    /// [`SignatureError`] names the first input that is unknown, missing, given twice, or of a
    /// wrong type or shape.
    pub fn bind(
        &self,
        inputs: Vec<(String, Tensor)>,
    ) -> Result<Vec<Option<Tensor>>, SignatureError> {
        // Searched by name in a list: models have few inputs, and a map would be built for each request.
        let mut bound: Vec<Option<Tensor>> = vec![None; self.inputs.len()];
        for (name, tensor) in inputs {
            let Some(at) = self.inputs.iter().position(|spec| spec.name == name) else {
                return Err(SignatureError::UnknownInput {
                    input: name,
                    known: names(&self.inputs),
                });
            };
            self.inputs[at].accepts(&name, &tensor)?;
            if bound[at].replace(tensor).is_some() {
                return Err(SignatureError::DuplicateInput { input: name });
            }
        }
        for (spec, tensor) in self.inputs.iter().zip(&bound) {
            if tensor.is_none() && !spec.optional {
                return Err(SignatureError::MissingInput {
                    input: spec.name.clone(),
                });
            }
        }
        Ok(bound)
    }

    /// The input that a request must give, if it is the only one.
    pub fn only_required_input(&self) -> Option<&TensorSpec> {
        if let [input] = self.inputs.as_slice() {
            return Some(input);
        }
        let mut required = self.inputs.iter().filter(|spec| !spec.optional);
        let first = required.next()?;
        required.next().is_none().then_some(first)
    }

    /// The place of an output.
    ///
    /// # Errors
    /// [`SignatureError::UnknownOutput`].
    pub fn output(&self, name: &str) -> Result<usize, SignatureError> {
        self.outputs
            .iter()
            .position(|spec| spec.name == name)
            .ok_or_else(|| SignatureError::UnknownOutput {
                output: name.to_owned(),
                known: names(&self.outputs),
            })
    }
}

fn names(specs: &[TensorSpec]) -> NameList {
    NameList(specs.iter().map(|spec| spec.name.clone()).collect())
}

/// A shape with -1 for any, as an error message shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeText(Vec<i64>);

impl fmt::Display for ShapeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Names, as an error message lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameList(Vec<String>);

impl fmt::Display for NameList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}\"{name}\"")?;
        }
        Ok(())
    }
}

/// How a request differs from the signature.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum SignatureError {
    #[error("input \"{input}\" is not in the signature, which has {known}")]
    UnknownInput { input: String, known: NameList },
    #[error("input \"{input}\" is missing")]
    MissingInput { input: String },
    #[error("input \"{input}\" is given twice")]
    DuplicateInput { input: String },
    #[error("input \"{input}\" has datatype {found}, the signature says {wanted}")]
    DataType {
        input: String,
        found: DataType,
        wanted: DataType,
    },
    #[error("input \"{input}\" has shape {found}, the signature says {wanted}")]
    Shape {
        input: String,
        found: Shape,
        wanted: ShapeText,
        /// Whether the number of dimensions differs, not only an extent.
        rank: bool,
    },
    #[error("input \"{input}\" has {found} rows, the inputs before it have {wanted}")]
    Rows {
        input: String,
        found: usize,
        wanted: usize,
    },
    #[error("output \"{output}\" is not in the signature, which has {known}")]
    UnknownOutput { output: String, known: NameList },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature() -> Signature {
        Signature {
            inputs: vec![
                spec("amount", vec![Dim::Any, Dim::Fixed(2)], false),
                spec("scale", vec![Dim::Fixed(1)], true),
            ],
            outputs: vec![spec("score", vec![Dim::Any], false)],
        }
    }

    fn spec(name: &str, dims: Vec<Dim>, optional: bool) -> TensorSpec {
        TensorSpec {
            name: name.to_owned(),
            datatype: DataType::Fp32,
            dims: Some(dims),
            optional,
        }
    }

    fn tensor(extents: &[usize]) -> Tensor {
        let shape = Shape::new(extents).unwrap();
        let count = shape.element_count();
        Tensor::from_vec(shape, vec![0f32; count]).unwrap()
    }

    #[test]
    fn inputs_are_bound_in_order_and_defaults_left_open() {
        let bound = signature()
            .bind(vec![("amount".into(), tensor(&[3, 2]))])
            .unwrap();
        assert_eq!(bound[0].as_ref().unwrap().rows(), 3);
        assert!(bound[1].is_none());
    }

    fn message(inputs: Vec<(String, Tensor)>) -> String {
        signature().bind(inputs).unwrap_err().to_string()
    }

    #[test]
    fn each_difference_has_its_message() {
        assert_eq!(
            message(vec![("amount".into(), tensor(&[3, 3]))]),
            "input \"amount\" has shape [3, 3], the signature says [-1, 2]"
        );
        assert_eq!(message(vec![]), "input \"amount\" is missing");
        assert_eq!(
            message(vec![("amout".into(), tensor(&[1, 2]))]),
            "input \"amout\" is not in the signature, which has \"amount\", \"scale\""
        );
        let twice = vec![
            ("amount".into(), tensor(&[1, 2])),
            ("amount".into(), tensor(&[1, 2])),
        ];
        assert_eq!(message(twice), "input \"amount\" is given twice");
    }
}
