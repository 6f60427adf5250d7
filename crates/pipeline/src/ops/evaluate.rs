//! Expressions over the columns of a row.

use std::sync::Arc;

use tidegate_expression::{Expression, Input, Output};

use crate::program::{Inputs, Kind, Op};
use crate::{Column, Reason, RowError, TextColumn};

/// The value of an expression for each row.
#[derive(Debug)]
pub(crate) struct Evaluate {
    pub(crate) expression: Expression,
    /// Its output, for messages about expressions without variables.
    pub(crate) name: Arc<str>,
}

impl Op for Evaluate {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let mut numbers = Vec::new();
        let mut texts = TextColumn::default();
        let run = self.expression.run(
            inputs.rows(),
            |variable, row| value(inputs, variable, row),
            |output| match output {
                Output::Number(number) => numbers.push(number),
                Output::Boolean(value) => numbers.push(f64::from(u8::from(value))),
                Output::Text(text) => texts.push(Some(&text)),
                Output::Missing => {
                    numbers.push(f64::NAN);
                    texts.push(None);
                }
            },
        );
        run.map_err(|error| {
            let field = match error.missing.unwrap_or(0) {
                input if input < inputs.len() => inputs.source(input).name.clone(),
                _ => self.name.clone(),
            };
            RowError {
                row: error.row,
                field,
                reason: error.missing.map_or(Reason::Range, |_| Reason::Required),
                problem: error.problem.to_owned(),
            }
        })?;
        Ok(match Kind::from(self.expression.result()) {
            Kind::Text => Column::Text(texts),
            _ => Column::Numbers(numbers),
        })
    }
}

fn value<'a>(inputs: &Inputs<'a>, input: usize, row: usize) -> Input<'a> {
    let source = inputs.source(input);
    if source.kind == Kind::Text {
        let text = inputs.text(input).get(row).or(source.fill.as_deref());
        return text.map_or(Input::Missing, Input::Text);
    }
    match inputs.numbers(input)[row] {
        number if number.is_nan() => Input::Missing,
        number if source.kind == Kind::Boolean => Input::Boolean(number != 0.0),
        number => Input::Number(number),
    }
}
