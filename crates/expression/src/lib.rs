//! Expressions over the values of a row, in the Common Expression Language (CEL).
//!
//! In: a text such as `amount / income > 0.5 ? "review" : "accept"` and the types of its variables.
//! Out: an [`Expression`] whose types are checked, and its value for each row. There are no loops, so
//! that a run takes a time in proportion to the text. All numbers are doubles: `2` is `2.0`.
//!
//! This crate has the parser of a whole language behind it, and must depend on nothing of the
//! workspace, so that changes elsewhere do not build it again.
//!
//! ```
//! use tidegate_expression::{Expression, Input, Output, Type};
//!
//! let types = |name: &str| (name == "amount").then_some(Type::Number);
//! let expression = Expression::parse("amount > 100 ? 'review' : 'accept'", types)?;
//! assert_eq!((expression.variables(), expression.result()), (&["amount".to_owned()][..], Type::Text));
//!
//! let amounts = [20.0, 500.0];
//! let mut decisions = Vec::new();
//! expression.run(2, |_variable, row| Input::Number(amounts[row]), |output| decisions.push(output))?;
//! assert_eq!(decisions, [Output::Text("accept".into()), Output::Text("review".into())]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod error;
mod functions;
mod run;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::common::ast::Expr;
use cel::parser::Parser;
use cel::{Env, IdedExpr};

pub use error::{ParseError, RunError};
pub use run::{Input, Output};

/// The longest expression, in bytes.
pub const MAX_BYTES: usize = 2000;
/// How deep an expression may be nested: the parser calls itself.
const MAX_DEPTH: u16 = 48;

/// What a value is. Any of them may be missing, which is `null`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A double.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Text.
    Text,
}

impl Type {
    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Text => "text",
        }
    }
}

/// The variables that a text names, each once, whatever their types are.
///
/// ```
/// let names = tidegate_expression::variables("score < 0.9 && (score > 0.1 || rush)")?;
/// assert_eq!(names, ["score", "rush"]);
/// # Ok::<(), tidegate_expression::ParseError>(())
/// ```
///
/// # Errors
/// Why it cannot be read.
pub fn variables(text: &str) -> Result<Vec<String>, ParseError> {
    let mut names = Vec::new();
    collect_variables(&tree(text)?, &mut names);
    Ok(names)
}

fn collect_variables(part: &IdedExpr, names: &mut Vec<String>) {
    match &part.expr {
        Expr::Ident(name) if !names.contains(name) => names.push(name.clone()),
        Expr::Call(call) => {
            let parts = call.target.as_deref().into_iter().chain(&call.args);
            parts.for_each(|part| collect_variables(part, names));
        }
        Expr::List(list) => {
            let elements = list.elements.iter();
            elements.for_each(|part| collect_variables(part, names));
        }
        // Other forms are refused when types are checked.
        _ => {}
    }
}

fn tree(text: &str) -> Result<IdedExpr, ParseError> {
    if text.len() > MAX_BYTES {
        let problem = format!("it has {} bytes, at most are {MAX_BYTES}", text.len());
        return Err(ParseError(problem));
    }
    check::depth(text, usize::from(MAX_DEPTH))?;
    let parser = Parser::new().max_recursion_depth(MAX_DEPTH);
    // A parser that was generated from a grammar, for texts that come with models: a mistake in
    // it must not end the server.
    let parsed = catch_unwind(AssertUnwindSafe(|| parser.parse(text)));
    parsed
        .map_err(|_| ParseError("it cannot be read".to_owned()))?
        .map_err(|errors| ParseError::of(&errors))
}

/// A checked expression.
#[derive(Clone)]
pub struct Expression {
    tree: IdedExpr,
    variables: Vec<String>,
    result: Type,
    functions: Arc<Env>,
}

impl Expression {
    /// Parses an expression, and checks its types. `types` knows the variables.
    ///
    /// # Errors
    /// What is wrong with it, for whoever wrote it.
    pub fn parse(text: &str, types: impl Fn(&str) -> Option<Type>) -> Result<Self, ParseError> {
        let mut tree = tree(text)?;
        let mut checker = check::Checker::new(types);
        let result = checker.check(&mut tree)?;
        let result = result.ok_or_else(|| ParseError("it is always null".to_owned()))?;
        Ok(Self {
            tree,
            variables: checker.into_variables(),
            result,
            functions: Arc::new(functions::all()),
        })
    }

    /// The variables that it names, each once.
    pub fn variables(&self) -> &[String] {
        &self.variables
    }

    /// What its value is, where it is not missing.
    pub fn result(&self) -> Type {
        self.result
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Expression")
            .field("variables", &self.variables)
            .field("result", &self.result)
            .finish_non_exhaustive()
    }
}
