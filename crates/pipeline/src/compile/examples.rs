//! The examples of a state file: what the library made of some rows must come out here, too.

use std::sync::Arc;

use serde_json::Value;

use super::lower;
use crate::error::CompileError;
use crate::program::{Builder, Inputs, Kind, Source};
use crate::state::Transformer;
use crate::{Column, TextColumn};

/// How far results may be from the library's, absolutely and as a share.
const TOLERANCE: f64 = 1e-6;

/// Runs the examples of a transformer.
pub(super) fn check(transformer: &Transformer) -> Result<(), CompileError> {
    let rows = transformer.examples.rows.len();
    if transformer.examples.expected.len() != rows {
        return Err(CompileError::new("its examples have no results"));
    }
    let mut registers = Vec::with_capacity(transformer.inputs.len());
    let mut sources = Vec::with_capacity(transformer.inputs.len());
    for (at, input) in transformer.inputs.iter().enumerate() {
        let kind = Kind::from(input.field_type);
        let name: Arc<str> = input.name.as_str().into();
        registers.push(column(transformer, at, kind)?);
        sources.push(Source::new(at, kind, name));
    }
    let mut builder = Builder::after(registers.len());
    let made = lower::node(&mut builder, &transformer.node, sources)?;
    let program = builder.take_program();
    let run = program.run(&mut registers, rows);
    run.map_err(|error| CompileError::new(format!("an example fails: {error}")))?;
    let results = Inputs::new(&registers, &made, rows);
    for (row, expected) in transformer.examples.expected.iter().enumerate() {
        if expected.len() != results.len() {
            return Err(CompileError::new("its examples have another width"));
        }
        for (at, expected) in expected.iter().enumerate() {
            let (found, expected) = (results.numbers(at)[row], expected.unwrap_or(f64::NAN));
            if !is_near(found, expected) {
                let name = transformer.outputs.get(at).map_or("", String::as_str);
                let problem = format!(
                    "column \"{name}\" of example {row} is {found}, the library made {expected}"
                );
                return Err(CompileError::new(problem));
            }
        }
    }
    Ok(())
}

fn is_near(found: f64, expected: f64) -> bool {
    (found.is_nan() && expected.is_nan())
        || found == expected
        || (found - expected).abs() <= TOLERANCE * (1.0 + expected.abs())
}

fn column(transformer: &Transformer, at: usize, kind: Kind) -> Result<Column, CompileError> {
    let values = transformer.examples.rows.iter().map(|row| row.get(at));
    if kind == Kind::Text {
        let mut texts = TextColumn::default();
        for value in values {
            match value {
                Some(Value::Null) => texts.push(None),
                Some(Value::String(text)) => texts.push(Some(text)),
                _ => return Err(odd(transformer, at)),
            }
        }
        return Ok(Column::Text(texts));
    }
    let mut numbers = Vec::with_capacity(transformer.examples.rows.len());
    for value in values {
        numbers.push(match value {
            Some(Value::Null) => f64::NAN,
            Some(Value::Bool(value)) => f64::from(u8::from(*value)),
            Some(Value::Number(number)) => number.as_f64().unwrap_or(f64::NAN),
            _ => return Err(odd(transformer, at)),
        });
    }
    Ok(Column::Numbers(numbers))
}

fn odd(transformer: &Transformer, at: usize) -> CompileError {
    let name = &transformer.inputs[at].name;
    CompileError::new(format!("an example has no value of the type of \"{name}\""))
}
