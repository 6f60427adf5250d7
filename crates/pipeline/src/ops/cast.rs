//! Other types for values.

use std::fmt::Write;

use crate::error::shown;
use crate::program::{Inputs, Kind, Op};
use crate::{Column, Reason, RowError, TextColumn};

/// Text as numbers, or numbers as whole numbers or truth values.
#[derive(Debug)]
pub(crate) struct ToNumber {
    pub(crate) to: Kind,
}

impl Op for ToNumber {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let mut values = Vec::with_capacity(inputs.rows());
        for row in 0..inputs.rows() {
            let value = self.value(inputs, row)?;
            values.push(self.checked(inputs, row, value)?);
        }
        Ok(Column::Numbers(values))
    }
}

impl ToNumber {
    fn value(&self, inputs: &Inputs<'_>, row: usize) -> Result<f64, RowError> {
        if inputs.source(0).kind != Kind::Text {
            return Ok(inputs.numbers(0)[row]);
        }
        let fill = inputs.source(0).fill.as_deref();
        let Some(text) = inputs.text(0).get(row).or(fill) else {
            return Ok(f64::NAN);
        };
        let parsed = match (self.to, text) {
            (Kind::Boolean, "true") => Some(1.0),
            (Kind::Boolean, "false") => Some(0.0),
            (Kind::Boolean, _) => None,
            _ => text
                .trim()
                .parse()
                .ok()
                .filter(|number: &f64| number.is_finite()),
        };
        parsed.ok_or_else(|| self.refused(inputs, row, &shown(text)))
    }

    fn checked(&self, inputs: &Inputs<'_>, row: usize, value: f64) -> Result<f64, RowError> {
        let fits = match self.to {
            Kind::Integer => value.is_nan() || value.fract() == 0.0,
            Kind::Boolean => value.is_nan() || value == 0.0 || value == 1.0,
            _ => true,
        };
        if fits {
            return Ok(value);
        }
        Err(self.refused(inputs, row, &value.to_string()))
    }

    fn refused(&self, inputs: &Inputs<'_>, row: usize, value: &str) -> RowError {
        let problem = format!("is {value}, which is no {}", self.to.name());
        inputs.error(0, row, Reason::Type, problem)
    }
}

/// Numbers as text: whole numbers without a point, truth values as `true` and `false`.
#[derive(Debug)]
pub(crate) struct ToText;

impl Op for ToText {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let mut texts = TextColumn::with_capacity(inputs.rows());
        let mut text = String::new();
        let is_boolean = inputs.source(0).kind == Kind::Boolean;
        for number in inputs.numbers(0) {
            text.clear();
            match (*number, is_boolean) {
                (number, _) if number.is_nan() => {
                    texts.push(None);
                    continue;
                }
                (number, true) => text.push_str(if number == 0.0 { "false" } else { "true" }),
                // Rust writes a double that is whole without a point.
                (number, false) => write!(text, "{number}").expect("a String takes all text"),
            }
            texts.push(Some(&text));
        }
        Ok(Column::Text(texts))
    }
}
