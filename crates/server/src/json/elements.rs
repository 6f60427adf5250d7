//! The elements of a tensor as JSON values, nested or flat.

use bytes::Bytes;
use jiter::{Jiter, JiterErrorType, JiterResult, Peek};
use tidegate_core::{DataType, Element, Shape, StringArrayBuilder, Tensor};
use tidegate_serving::{ErrorCode, InferError};

use super::numbers::{self, Number};

/// Reads an array of values, flat or nested, as the elements of a tensor of `shape`.
pub(super) fn read(
    json: &mut Jiter<'_>,
    name: &str,
    datatype: DataType,
    shape: &Shape,
) -> Result<Tensor, InferError> {
    // What a body can hold bounds the vector, whatever the shape claims.
    let expected = shape.element_count();
    let mut reader = Reader {
        json,
        name,
        datatype,
        expected,
    };
    match datatype {
        DataType::Bool => {
            let bytes: Vec<u8> =
                reader.all(|json, peek| Ok(Some(u8::from(json.known_bool(peek)?))))?;
            reader.tensor(Tensor::from_wire(
                datatype,
                shape.clone(),
                Bytes::from(bytes),
            ))
        }
        DataType::Bytes => {
            let mut strings = StringArrayBuilder::default();
            reader.each(|json, peek| match peek {
                Peek::String => {
                    strings.push(json.known_str()?.as_bytes());
                    Ok(true)
                }
                _ => Ok(false),
            })?;
            reader.count(strings.len())?;
            reader.tensor(Tensor::from_strings(shape.clone(), strings.finish()))
        }
        DataType::Int8 => reader.integers::<i8>(shape),
        DataType::Int16 => reader.integers::<i16>(shape),
        DataType::Int32 => reader.integers::<i32>(shape),
        DataType::Int64 => reader.integers::<i64>(shape),
        DataType::Uint8 => reader.integers::<u8>(shape),
        DataType::Uint16 => reader.integers::<u16>(shape),
        DataType::Uint32 => reader.integers::<u32>(shape),
        DataType::Uint64 => reader.integers::<u64>(shape),
        DataType::Fp32 => {
            let elements = reader.all(|json, peek| {
                let wide = json.known_float(peek)?;
                let narrow = wide as f32;
                // A number beyond FP32 is refused. An infinity that was written as one is meant.
                Ok((narrow.is_finite() || !wide.is_finite()).then_some(narrow))
            })?;
            reader.tensor(Tensor::from_vec::<f32>(shape.clone(), elements))
        }
        DataType::Fp64 => {
            let elements = reader.all(|json, peek| Ok(Some(json.known_float(peek)?)))?;
            reader.tensor(Tensor::from_vec::<f64>(shape.clone(), elements))
        }
        DataType::Fp16 | DataType::Bf16 => Err(InferError::new(
            ErrorCode::DatatypeMismatch,
            format!(
                "input \"{name}\" is {datatype}, which JSON cannot carry: send it as binary data"
            ),
        )),
    }
}

/// Reads an array of numbers, and gives its length, where it is nothing but that; `None` for all
/// else.
pub(super) fn read_fast(text: &[u8], datatype: DataType, shape: &Shape) -> Option<(Tensor, usize)> {
    fn tensor<T: Number>(text: &[u8], shape: &Shape) -> Option<(Tensor, usize)> {
        let (elements, len) = numbers::read::<T>(text, shape.element_count())?;
        Some((Tensor::from_vec(shape.clone(), elements).ok()?, len))
    }
    match datatype {
        DataType::Int8 => tensor::<i8>(text, shape),
        DataType::Int16 => tensor::<i16>(text, shape),
        DataType::Int32 => tensor::<i32>(text, shape),
        DataType::Int64 => tensor::<i64>(text, shape),
        DataType::Uint8 => tensor::<u8>(text, shape),
        DataType::Uint16 => tensor::<u16>(text, shape),
        DataType::Uint32 => tensor::<u32>(text, shape),
        DataType::Uint64 => tensor::<u64>(text, shape),
        DataType::Fp32 => tensor::<f32>(text, shape),
        DataType::Fp64 => tensor::<f64>(text, shape),
        DataType::Bool | DataType::Bytes | DataType::Fp16 | DataType::Bf16 => None,
    }
}

struct Reader<'a, 'j> {
    json: &'a mut Jiter<'j>,
    name: &'a str,
    datatype: DataType,
    expected: usize,
}

impl Reader<'_, '_> {
    fn integers<T: Element + std::str::FromStr>(
        &mut self,
        shape: &Shape,
    ) -> Result<Tensor, InferError> {
        let elements = self.all(|json, peek| {
            let digits = json.known_number_bytes(peek)?;
            // A fraction, an exponent or a number out of range is not an integer of this type.
            Ok(std::str::from_utf8(digits)
                .ok()
                .and_then(|digits| digits.parse::<T>().ok()))
        })?;
        self.tensor(Tensor::from_vec::<T>(shape.clone(), elements))
    }

    fn all<T>(
        &mut self,
        mut one: impl FnMut(&mut Jiter<'_>, Peek) -> JiterResult<Option<T>>,
    ) -> Result<Vec<T>, InferError> {
        let mut elements = Vec::with_capacity(self.expected.min(4096));
        self.each(|json, peek| {
            Ok(match one(json, peek)? {
                Some(element) => {
                    elements.push(element);
                    true
                }
                None => false,
            })
        })?;
        self.count(elements.len())?;
        Ok(elements)
    }

    /// Visits the values of an array and of the arrays in it, in order; `one` says whether the
    /// value fits.
    fn each(
        &mut self,
        mut one: impl FnMut(&mut Jiter<'_>, Peek) -> JiterResult<bool>,
    ) -> Result<(), InferError> {
        let mut depth = 1usize;
        let mut next = match self.json.next_array() {
            Ok(next) => next,
            Err(error) => return Err(self.refuse(&error)),
        };
        let mut seen = 0usize;
        loop {
            match next {
                Some(Peek::Array) => {
                    depth += 1;
                    if depth > Shape::MAX_RANK {
                        let message = format!(
                            "input \"{}\" is nested deeper than {} levels",
                            self.name,
                            Shape::MAX_RANK
                        );
                        return Err(InferError::new(ErrorCode::WrongRank, message));
                    }
                    next = self
                        .json
                        .known_array()
                        .map_err(|error| self.refuse(&error))?;
                    continue;
                }
                Some(peek) => {
                    let at = self.json.current_index();
                    match one(self.json, peek) {
                        Ok(true) => seen += 1,
                        Ok(false) => return Err(self.misfit(at)),
                        Err(error) => return Err(self.refuse(&error)),
                    }
                    // At once, so that data much longer than its shape is not read to its end.
                    if seen > self.expected {
                        self.count(seen)?;
                    }
                }
                None => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
            }
            next = self
                .json
                .array_step()
                .map_err(|error| self.refuse(&error))?;
        }
    }

    fn count(&self, found: usize) -> Result<(), InferError> {
        if found == self.expected {
            return Ok(());
        }
        let more = if found > self.expected {
            "more"
        } else {
            "only"
        };
        let count = if found > self.expected {
            String::new()
        } else {
            format!(" {found}")
        };
        Err(InferError::new(
            ErrorCode::WrongElementCount,
            format!(
                "input \"{}\" takes {} elements by its shape, the data has {more}{count}",
                self.name, self.expected
            ),
        ))
    }

    fn misfit(&self, at: usize) -> InferError {
        let position = self.json.error_position(at);
        let message = format!(
            "input \"{}\" has a value that is not a valid {} at {position}",
            self.name, self.datatype
        );
        InferError::new(ErrorCode::DatatypeMismatch, message)
    }

    fn refuse(&self, error: &jiter::JiterError) -> InferError {
        match error.error_type {
            JiterErrorType::WrongType { .. } => self.misfit(error.index),
            JiterErrorType::JsonError(_) => super::decode::malformed(self.json, error),
        }
    }

    fn tensor(
        &self,
        tensor: Result<Tensor, tidegate_core::TensorError>,
    ) -> Result<Tensor, InferError> {
        tensor.map_err(|error| {
            InferError::new(
                ErrorCode::from(&error),
                format!("input \"{}\": {error}", self.name),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NUMERIC: [DataType; 10] = [
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::Uint8,
        DataType::Uint16,
        DataType::Uint32,
        DataType::Uint64,
        DataType::Fp32,
        DataType::Fp64,
    ];

    /// Numbers as clients write them, and texts that are almost numbers.
    fn number() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<i64>().prop_map(|value| value.to_string()),
            (-300i64..300).prop_map(|value| value.to_string()),
            any::<f32>().prop_map(|value| value.to_string()),
            any::<f64>().prop_map(|value| format!("{value:e}")),
            "-?[0-9]{1,20}",
            "-?(0|[1-9][0-9]{0,9})\\.[0-9]{1,12}",
            "-?[0-9]{0,3}[.]?[0-9]{0,3}([eE][+-]?[0-9]{0,3})?",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_the_fast_reader_takes_the_careful_one_reads_alike(
            numbers in prop::collection::vec(number(), 0..9),
            datatype in prop::sample::select(NUMERIC.to_vec()),
            separator in prop::sample::select(vec![",", ", ", " ,\n", "],["]),
        ) {
            let text = format!("[{}]", numbers.join(separator));
            let shape = Shape::new(&[numbers.len()]).unwrap();
            let mut json = Jiter::new(text.as_bytes()).with_allow_inf_nan();
            let careful = read(&mut json, "x", datatype, &shape);
            if let Some((fast, len)) = read_fast(text.as_bytes(), datatype, &shape) {
                prop_assert_eq!(fast.wire(), careful.map_err(|error| TestCaseError::fail(error.to_string()))?.wire());
                prop_assert_eq!(len, json.current_index());
            }
        }
    }
}
