//! The elements of a tensor as JSON values, nested or flat.

use std::str::FromStr;

use bytes::Bytes;
use jiter::{Jiter, JiterError, JiterErrorType, JiterResult, LinePosition, Peek};
use tidegate_core::{DataType, Element, Shape, StringArrayBuilder, Tensor};
use tidegate_serving::{ErrorCode, InferError};

use super::numbers::{self, Number};

/// A text that is a part of a body: messages name the place in the whole of it.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    body: &'a [u8],
    /// Where in `body` the part begins.
    begins: usize,
}

impl<'a> Part<'a> {
    pub(super) fn new(body: &'a [u8], begins: usize) -> Self {
        Self { body, begins }
    }

    /// A JSON error with its position; a wrong type of a known field is a request of another form.
    pub(super) fn malformed(self, error: &JiterError) -> InferError {
        let code = match error.error_type {
            JiterErrorType::JsonError(_) => ErrorCode::MalformedJson,
            JiterErrorType::WrongType { .. } => ErrorCode::MalformedRequest,
        };
        let (what, position) = (&error.error_type, self.position(error.index));
        InferError::new(
            code,
            format!("the body cannot be read: {what} at {position}"),
        )
    }

    fn position(self, at: usize) -> LinePosition {
        LinePosition::find(self.body, self.begins + at)
    }

    fn is_null(self, at: usize) -> bool {
        let value = self.body.get(self.begins + at..).unwrap_or_default();
        value.starts_with(b"null")
    }
}

/// Reads an array of values, however nested, as the elements of a tensor of `shape`.
///
/// JSON has no number for a missing value: `null` is NaN where the type has one, and refused
/// elsewhere. NaN and the infinities are also taken as bare words, as Python's `json` writes them,
/// and as strings.
pub(super) fn read(
    json: &mut Jiter<'_>,
    part: Part<'_>,
    name: &str,
    datatype: DataType,
    shape: &Shape,
) -> Result<Tensor, InferError> {
    // What a body can hold bounds the vector, whatever the shape claims.
    let expected = shape.element_count();
    let mut reader = Reader {
        json,
        part,
        name,
        datatype,
        shape,
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
            let elements = reader.all(|json, peek| real(json, peek, |value| value as f32))?;
            reader.tensor(Tensor::from_vec::<f32>(shape.clone(), elements))
        }
        DataType::Fp64 => {
            let elements = reader.all(|json, peek| real(json, peek, |value| value))?;
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

/// A number, or one of the values that JSON has no digits for.
fn real<T: FromStr + Copy + Into<f64>>(
    json: &mut Jiter<'_>,
    peek: Peek,
    without_digits: fn(f64) -> T,
) -> JiterResult<Option<T>> {
    match peek {
        Peek::Null => {
            json.known_null()?;
            return Ok(Some(without_digits(f64::NAN)));
        }
        Peek::String => {
            let value = tidegate_core::parse_not_finite(json.known_str()?);
            return Ok(value.map(without_digits));
        }
        _ => {}
    }
    let start = json.current_index();
    let value = json.known_float(peek)?;
    let text = json.slice_to_current(start);
    if text.ends_with(b"NaN") || text.ends_with(b"Infinity") {
        return Ok(Some(without_digits(value)));
    }
    // Not by way of a double: a number between two floats would be rounded twice.
    let value = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse::<T>().ok());
    // Digits such as `1e400` parse as an infinity, which the client did not write.
    Ok(value.filter(|value| (*value).into().is_finite()))
}

/// An integer; also one with a fraction of zeros, as pandas writes those of a column with holes.
fn integer<T: FromStr>(digits: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(digits).ok()?;
    let whole = match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole,
        _ => text,
    };
    whole.parse().ok()
}

/// The place of an element in a tensor, counted from 1 as lines and columns of texts are.
pub(super) fn cell(shape: &[usize], index: usize) -> String {
    // 0 if a dimension is, which is why the divisions below guard against it.
    let width: usize = shape.iter().skip(1).product();
    let row = index / width.max(1) + 1;
    match shape.len() {
        0 => String::new(),
        1 => format!(" in row {row}"),
        _ => format!(" in row {row}, column {}", index % width.max(1) + 1),
    }
}

/// Reads an array that has only numbers, and returns its length too; `None` for everything else.
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
    part: Part<'a>,
    name: &'a str,
    datatype: DataType,
    shape: &'a Shape,
    expected: usize,
}

impl Reader<'_, '_> {
    fn integers<T: Element + FromStr>(&mut self, shape: &Shape) -> Result<Tensor, InferError> {
        let elements = self.all(|json, peek| Ok(integer(json.known_number_bytes(peek)?)))?;
        self.tensor(Tensor::from_vec::<T>(shape.clone(), elements))
    }

    fn all<T>(
        &mut self,
        mut one: impl FnMut(&mut Jiter<'_>, Peek) -> JiterResult<Option<T>>,
    ) -> Result<Vec<T>, InferError> {
        // The shape is only the client's claim: more memory is taken as data arrives.
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
            Err(error) => return Err(self.refuse(&error, 0)),
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
                        .map_err(|error| self.refuse(&error, seen))?;
                    continue;
                }
                Some(peek) => {
                    let at = self.json.current_index();
                    match one(self.json, peek) {
                        Ok(true) => seen += 1,
                        Ok(false) => return Err(self.misfit(at, seen)),
                        Err(error) => return Err(self.refuse(&error, seen)),
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
                .map_err(|error| self.refuse(&error, seen))?;
        }
    }

    fn count(&self, found: usize) -> Result<(), InferError> {
        if found == self.expected {
            return Ok(());
        }
        // How many more is not known: reading ends at the first one that is too many.
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
                "input \"{}\" needs {} elements for its shape, but the data has {more}{count}",
                self.name, self.expected
            ),
        ))
    }

    /// The error of an element that does not fit, `at` bytes into the text and the tensor's
    /// `index`th from 0.
    fn misfit(&self, at: usize, index: usize) -> InferError {
        let (name, datatype) = (self.name, self.datatype);
        let (cell, position) = (cell(self.shape, index), self.part.position(at));
        let message = if self.part.is_null(at) {
            format!(
                "input \"{name}\" has null{cell}, at {position}: {datatype} has no missing value"
            )
        } else {
            format!(
                "input \"{name}\" has a value that is not a valid {datatype}{cell}, at {position}"
            )
        };
        InferError::new(ErrorCode::DatatypeMismatch, message)
    }

    fn refuse(&self, error: &JiterError, index: usize) -> InferError {
        match error.error_type {
            JiterErrorType::WrongType { .. } => self.misfit(error.index, index),
            JiterErrorType::JsonError(_) => self.part.malformed(error),
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
            // Halfway between two floats, or as near as a double comes to that, and a little beside.
            (any::<f32>(), "[0-9]{0,20}").prop_map(|(value, more)| {
                let text = ((f64::from(value) + f64::from(value.next_up())) / 2.0).to_string();
                let point = if text.contains('.') { "" } else { ".0" };
                format!("{text}{point}{more}")
            }),
            Just("null".to_owned()),
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
            let part = Part::new(text.as_bytes(), 0);
            let careful = read(&mut json, part, "x", datatype, &shape);
            if let Some((fast, len)) = read_fast(text.as_bytes(), datatype, &shape) {
                prop_assert_eq!(fast.wire(), careful.map_err(|error| TestCaseError::fail(error.to_string()))?.wire());
                prop_assert_eq!(len, json.current_index());
            }
        }
    }

    fn one(datatype: DataType, shape: &[usize], text: &str) -> Result<Tensor, InferError> {
        let mut json = Jiter::new(text.as_bytes()).with_allow_inf_nan();
        let shape = Shape::new(shape).unwrap();
        read(
            &mut json,
            Part::new(text.as_bytes(), 0),
            "x",
            datatype,
            &shape,
        )
    }

    #[test]
    fn missing_numbers_and_those_without_digits_are_read_as_floats() {
        let text = r#"[null, NaN, "NaN", Infinity, "-Infinity", 1]"#;
        let floats = one(DataType::Fp32, &[6], text).unwrap();
        let floats = floats.to_vec::<f32>().unwrap();
        assert!(floats[..3].iter().all(|value| value.is_nan()));
        assert_eq!(floats[3..], [f32::INFINITY, f32::NEG_INFINITY, 1.0]);
        for (datatype, text) in [
            (DataType::Fp32, "[\"inf\"]"),
            (DataType::Fp32, "[\"1\"]"),
            (DataType::Fp32, "[1e39]"),
            (DataType::Fp32, "[1e400]"),
            (DataType::Fp64, "[1e400]"),
            (DataType::Int64, "[NaN]"),
        ] {
            let error = one(datatype, &[1], text).unwrap_err();
            assert_eq!(error.code, ErrorCode::DatatypeMismatch, "{text}");
        }
    }

    #[test]
    fn a_value_that_does_not_fit_is_named_by_row_and_column() {
        let message = |datatype, text| one(datatype, &[2, 2], text).unwrap_err().message;
        assert_eq!(
            message(DataType::Int64, "[[1, 2],\n [3, null]]"),
            "input \"x\" has null in row 2, column 2, at line 2 column 6: INT64 has no missing value"
        );
        assert_eq!(
            message(DataType::Fp32, "[1, \"a\", 3, 4]"),
            "input \"x\" has a value that is not a valid FP32 in row 1, column 2, at line 1 column 5"
        );
        for datatype in [DataType::Bytes, DataType::Bool] {
            assert!(message(datatype, "[null]").contains("has null in row 1, column 1"));
        }
    }

    #[test]
    fn an_integer_may_have_a_fraction_of_zeros() {
        let read = one(DataType::Int64, &[3], "[1.0, -2.00, 9007199254740993.0]").unwrap();
        assert_eq!(
            read.to_vec::<i64>().unwrap(),
            [1, -2, 9_007_199_254_740_993]
        );
        for text in ["[1.5]", "[1e2]", "[1.0e0]", "[0.99999999999999999999]"] {
            assert!(one(DataType::Int64, &[1], text).is_err(), "{text}");
        }
        assert!(one(DataType::Uint8, &[1], "[256.0]").is_err());
    }

    #[test]
    fn a_float_is_rounded_once() {
        // By way of the nearest double, which lies halfway between two floats, it would be 1353.6875.
        let text = "[1.353687561035156250000000000000000000000001e+3]";
        for read in [
            one(DataType::Fp32, &[1], text).unwrap(),
            read_fast(text.as_bytes(), DataType::Fp32, &Shape::new(&[1]).unwrap())
                .unwrap()
                .0,
        ] {
            assert_eq!(read.to_vec::<f32>().unwrap(), [1353.6876_f32]);
        }
    }
}
