//! The functions of expressions.

use std::borrow::Cow;

use cel::common::ast::operators;
use cel::common::types::{CelDouble, CelString, DOUBLE_TYPE, STRING_TYPE};
use cel::common::value::Val;
use cel::{Env, ExecutionError};

/// A value in the library's form.
type Value<'a> = Cow<'a, dyn Val>;

/// Functions of one number, beside those of the language.
pub(crate) const OF_ONE: [&str; 8] = [
    "abs", "ceil", "exp", "floor", "log", "log1p", "round", "sqrt",
];
/// Functions of two numbers.
pub(crate) const OF_TWO: [&str; 3] = ["max", "min", "pow"];

/// The function that stands for an operator on numbers: those of the library give NaN and infinities.
pub(crate) fn of_operator(operator: &str) -> Option<&'static str> {
    match operator {
        operators::ADD => Some("add"),
        operators::SUBSTRACT => Some("subtract"),
        operators::MULTIPLY => Some("multiply"),
        operators::DIVIDE => Some("divide"),
        _ => None,
    }
}

/// The number of characters of a text. The library's `size` counts bytes.
pub(crate) const CHARACTERS: &str = "characters";

/// The language's own functions, and those of numbers.
pub(crate) fn all() -> Env {
    let mut env = Env::stdlib();
    macro_rules! add {
        ($($name:literal: ($($number:ident),*) => $value:expr;)*) => {
            $(
                let types = vec![$(add!(@type $number)),*];
                let added = env.add_overload($name, concat!($name, "_of_doubles"), types, |arguments| {
                    let mut numbers = arguments.iter().map(number);
                    $(let $number = numbers.next().ok_or(ExecutionError::NoSuchOverload)??;)*
                    finite($value)
                });
                debug_assert!(added.is_ok(), "the language has no such function");
            )*
        };
        (@type $number:ident) => { DOUBLE_TYPE };
    }
    add! {
        "add": (x, y) => x + y;
        "subtract": (x, y) => x - y;
        "multiply": (x, y) => x * y;
        "divide": (x, y) => x / y;
        "abs": (x) => x.abs();
        "ceil": (x) => x.ceil();
        "exp": (x) => x.exp();
        "floor": (x) => x.floor();
        "log": (x) => x.ln();
        "log1p": (x) => x.ln_1p();
        "round": (x) => x.round_ties_even();
        "sqrt": (x) => x.sqrt();
        "max": (x, y) => x.max(y);
        "min": (x, y) => x.min(y);
        "pow": (x, y) => x.powf(y);
    }
    let added = env.add_overload(CHARACTERS, CHARACTERS, vec![STRING_TYPE], |arguments| {
        let text = arguments
            .first()
            .and_then(|text| text.downcast_ref::<CelString>());
        let text = text.ok_or(ExecutionError::NoSuchOverload)?;
        let count = text.inner().chars().count() as f64;
        Ok(Cow::Owned(Box::new(CelDouble::from(count)) as Box<dyn Val>))
    });
    debug_assert!(added.is_ok(), "the language has no such function");
    env
}

/// A result. What is no finite number is none: comparisons and texts would hide it.
fn finite<'a>(number: f64) -> Result<Value<'a>, ExecutionError> {
    if number.is_finite() {
        return Ok(Cow::Owned(Box::new(CelDouble::from(number)) as Box<dyn Val>));
    }
    Err(ExecutionError::NoSuchOverload)
}

fn number(value: &Value<'_>) -> Result<f64, ExecutionError> {
    let number = value.downcast_ref::<CelDouble>();
    number
        .map(|number| *number.inner())
        .ok_or(ExecutionError::NoSuchOverload)
}
