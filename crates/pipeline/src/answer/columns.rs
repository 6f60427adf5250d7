//! The fields of an answer as columns, for those who write tables.

use tidegate_core::{DataType, Tensor};

use super::{Answer, ResponseField};
use crate::program::{Inputs, Kind, Source};

/// What the values of a field of an answer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseType {
    /// Numbers of double precision.
    Number,
    /// Numbers of single precision.
    Single,
    /// Whole numbers.
    Integer,
    /// `true` and `false`.
    Boolean,
    /// Times, in microseconds since 1970.
    Time,
    /// Texts.
    Text,
    /// Byte strings.
    Bytes,
    /// An array of values for each row.
    Tensor(DataType),
    /// Several values side by side, which JSON writes as an array.
    Array,
}

impl ResponseField {
    pub(crate) fn response_type(&self) -> ResponseType {
        let [source] = self.sources.as_slice() else {
            return ResponseType::Array;
        };
        match source.kind {
            Kind::Number => ResponseType::Number,
            Kind::Single => ResponseType::Single,
            Kind::Integer => ResponseType::Integer,
            Kind::Boolean => ResponseType::Boolean,
            Kind::Time => ResponseType::Time,
            Kind::Text => ResponseType::Text,
            Kind::Bytes => ResponseType::Bytes,
            Kind::Tensor => match &source.element {
                Some(element) => ResponseType::Tensor(element.datatype),
                None => ResponseType::Array,
            },
        }
    }

    fn only(&self) -> Option<&Source> {
        match self.sources.as_slice() {
            [source] => Some(source),
            _ => None,
        }
    }
}

impl Answer<'_> {
    fn inputs(&self, field: usize) -> Inputs<'_> {
        Inputs::new(&self.registers, &self.fields[field].sources, self.rows)
    }

    fn source(&self, field: usize) -> Option<&Source> {
        self.fields[field].only()
    }

    /// The numbers of a field, a row each; those that are not finite stand for missing ones. `None` if
    /// the field has no numbers.
    pub fn numbers(&self, field: usize) -> Option<&[f64]> {
        match self.source(field)?.kind {
            Kind::Text | Kind::Bytes | Kind::Tensor => None,
            _ => Some(self.inputs(field).numbers(0)),
        }
    }

    /// The text of a row of a field; `None` if it is missing, or if the field has no texts.
    pub fn text(&self, field: usize, row: usize) -> Option<&str> {
        let source = self.source(field)?;
        if source.kind != Kind::Text {
            return None;
        }
        let text = self.inputs(field).text(0).get(row);
        text.or(source.fill.as_deref())
    }

    /// The bytes of a row of a field; `None` if they are missing, or if the field has no byte strings.
    pub fn bytes(&self, field: usize, row: usize) -> Option<&[u8]> {
        match self.source(field)?.kind {
            Kind::Bytes => self.inputs(field).bytes(0)[row].as_deref(),
            _ => None,
        }
    }

    /// The tensor of a field, with an entry of axis 0 for each row; `None` if the field is none.
    pub fn tensor(&self, field: usize) -> Option<&Tensor> {
        match self.source(field)?.kind {
            Kind::Tensor => Some(self.inputs(field).tensor(0)),
            _ => None,
        }
    }

    /// The rows of the request that are answered, in order; `None` if all are.
    pub fn answered_rows(&self) -> Option<&[usize]> {
        self.partial.as_ref().map(|partial| partial.kept.as_slice())
    }
}
