//! A value of a column, as it came.

use serde::{Deserialize, Serialize};

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Numbers with an order: amounts, ages, scores.
    Number,
    /// One of several values without an order: countries, labels, booleans.
    Category,
}

/// A value of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// There is none: `null`, or the field is absent.
    Missing,
    /// A number. NaN is counted apart from what is missing.
    Number(f64),
    /// A boolean: 0 or 1 in a column of numbers, `false` or `true` in one of categories.
    Boolean(bool),
    /// A text.
    Text(&'a str),
}

/// The longest category, in bytes: of longer ones only the beginning counts.
const MAX_CATEGORY_BYTES: usize = 128;

/// Texts of numbers, without an allocation.
#[derive(Default)]
pub(super) struct CategoryText {
    integer: itoa::Buffer,
    float: zmij::Buffer,
}

impl CategoryText {
    /// The name of a category. `3.0` is `3`, as labels are written either way. `None` if the value
    /// is missing or NaN.
    pub(super) fn of<'a>(&'a mut self, value: Value<'a>) -> Option<&'a str> {
        match value {
            Value::Text(text) => Some(beginning(text)),
            Value::Boolean(value) => Some(if value { "true" } else { "false" }),
            Value::Number(number) if number.is_nan() => None,
            Value::Number(number) => Some(self.number(number)),
            Value::Missing => None,
        }
    }

    fn number(&mut self, number: f64) -> &str {
        const EXACT: f64 = (1_u64 << 53) as f64;
        if number.fract() == 0.0 && number.abs() < EXACT {
            self.integer.format(number as i64)
        } else {
            self.float.format(number)
        }
    }
}

fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_CATEGORY_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_one_name_however_they_are_written() {
        let mut text = CategoryText::default();
        assert_eq!(text.of(Value::Number(3.0)), Some("3"));
        assert_eq!(text.of(Value::Number(-0.0)), Some("0"));
        assert_eq!(text.of(Value::Number(0.5)), Some("0.5"));
        assert_eq!(text.of(Value::Boolean(true)), Some("true"));
        assert_eq!(text.of(Value::Number(f64::NAN)), None);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = "é".repeat(100);
        let mut text = CategoryText::default();
        assert_eq!(text.of(Value::Text(&long)), Some(&long[..128]));
        let odd = format!("x{long}");
        assert_eq!(text.of(Value::Text(&odd)).map(str::len), Some(127));
    }
}
