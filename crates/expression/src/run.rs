//! The value of an expression for each row.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cel::context::VariableResolver;
use cel::{Context, Value};

use crate::{Expression, RunError};

/// The value of a variable in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Input<'a> {
    /// None.
    Missing,
    /// A number.
    Number(f64),
    /// A boolean.
    Boolean(bool),
    /// Text.
    Text(&'a str),
}

/// The value of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// `null`.
    Missing,
    /// A number.
    Number(f64),
    /// A boolean.
    Boolean(bool),
    /// Text.
    Text(String),
}

impl Expression {
    /// Runs it for each row. `input` has the value of a variable, by its place in
    /// [`variables`](Self::variables), in a row; `take` gets the values in order.
    ///
    /// # Errors
    /// The first row that has no value: a missing variable in arithmetic, or a number beyond the
    /// range of doubles.
    pub fn run<'a>(
        &self,
        rows: usize,
        input: impl Fn(usize, usize) -> Input<'a> + Sync + Send,
        mut take: impl FnMut(Output),
    ) -> Result<(), RunError> {
        let row = Row {
            expression: self,
            at: AtomicUsize::new(0),
            input,
        };
        let mut context = Context::with_env(self.functions.clone());
        context.set_variable_resolver(&row);
        for at in 0..rows {
            row.at.store(at, Ordering::Relaxed);
            let found = context.resolve(&self.tree).ok();
            take(found.and_then(output).ok_or_else(|| row.error(at))?);
        }
        Ok(())
    }
}

fn output(value: Value) -> Option<Output> {
    match value {
        Value::Float(number) => number.is_finite().then_some(Output::Number(number)),
        Value::Bool(value) => Some(Output::Boolean(value)),
        Value::String(text) => Some(Output::Text(Arc::unwrap_or_clone(text))),
        Value::Null => Some(Output::Missing),
        _ => None,
    }
}

/// The variables of the row that runs.
struct Row<'e, F> {
    expression: &'e Expression,
    at: AtomicUsize,
    input: F,
}

impl<'a, F: Fn(usize, usize) -> Input<'a> + Sync + Send> VariableResolver for Row<'_, F> {
    fn resolve(&self, name: &str) -> Option<Value> {
        let variables = &self.expression.variables;
        let variable = variables.iter().position(|variable| variable == name)?;
        Some(
            match (self.input)(variable, self.at.load(Ordering::Relaxed)) {
                Input::Missing => Value::Null,
                Input::Number(number) => Value::Float(number),
                Input::Boolean(value) => Value::Bool(value),
                Input::Text(text) => Value::String(Arc::new(text.to_owned())),
            },
        )
    }
}

impl<'a, F: Fn(usize, usize) -> Input<'a>> Row<'_, F> {
    /// Why a row has no value. Types were checked, so it is a missing value or a number that is none.
    fn error(&self, row: usize) -> RunError {
        let mut variables = 0..self.expression.variables.len();
        let missing = variables.find(|variable| (self.input)(*variable, row) == Input::Missing);
        let problem = match missing {
            Some(_) => "is missing, and the expression needs it",
            None => "gets a number that is none from the expression",
        };
        RunError {
            row,
            missing,
            problem,
        }
    }
}
