//! The types of an expression.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};
use cel::common::types::CelDouble;

use crate::functions::{CHARACTERS, OF_ONE, OF_TWO, of_operator};
use crate::{ParseError, Type};

/// The type of a part; `None` for one that is always `null`.
type Checked = Result<Option<Type>, ParseError>;

/// The most signs of operators: each of them can be one level of the tree.
const MAX_OPERATORS: usize = 200;

/// Refuses a text with more nested brackets or operators than the parser should follow.
pub(crate) fn depth(text: &str, most: usize) -> Result<(), ParseError> {
    let (mut depth, mut deepest) = (0usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' | b'?' | b'!' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    // `a + b + c` is `(a + b) + c`.
    let operators = text.bytes().filter(|byte| b"+*/<>=&|.".contains(byte));
    if operators.count() > MAX_OPERATORS {
        let problem = format!("it has more than {MAX_OPERATORS} operators");
        return Err(ParseError(problem));
    }
    // A minus before a minus is nested too.
    let signs = text.matches('-').count();
    if deepest.max(signs) > most {
        return Err(ParseError(format!("it is nested deeper than {most}")));
    }
    Ok(())
}

/// Checks types, and makes every number a double.
pub(crate) struct Checker<F> {
    types: F,
    variables: Vec<String>,
}

impl<F: Fn(&str) -> Option<Type>> Checker<F> {
    pub(crate) fn new(types: F) -> Self {
        Self {
            types,
            variables: Vec::new(),
        }
    }

    pub(crate) fn into_variables(self) -> Vec<String> {
        self.variables
    }

    pub(crate) fn check(&mut self, part: &mut IdedExpr) -> Checked {
        match &mut part.expr {
            Expr::Literal(literal) => self::literal(literal),
            Expr::Ident(name) => self.variable(name),
            Expr::Call(call) => {
                let checked = self.call(call)?;
                if checked == Some(Type::Number)
                    && let Some(function) = of_operator(&call.func_name)
                {
                    call.func_name = function.to_owned();
                }
                if call.func_name == "size" {
                    let text = call.target.take().map(|text| *text);
                    let args = text.into_iter().chain(std::mem::take(&mut call.args));
                    *call = CallExpr {
                        func_name: CHARACTERS.to_owned(),
                        target: None,
                        args: args.collect(),
                    };
                }
                Ok(checked)
            }
            Expr::List(_) => Err(ParseError("a list stands behind \"in\" only".to_owned())),
            Expr::Select(select) => {
                let problem = format!(
                    "\".{}\" is no column: rename the column first",
                    select.field
                );
                Err(ParseError(problem))
            }
            _ => Err(ParseError(
                "loops, maps and structures are not supported".to_owned(),
            )),
        }
    }

    fn variable(&mut self, name: &str) -> Checked {
        let Some(found) = (self.types)(name) else {
            return Err(ParseError(format!("\"{name}\" is unknown")));
        };
        if !self.variables.iter().any(|known| known == name) {
            self.variables.push(name.to_owned());
        }
        Ok(Some(found))
    }

    fn call(&mut self, call: &mut CallExpr) -> Checked {
        let name = call.func_name.clone();
        match (name.as_str(), call.target.is_some(), call.args.len()) {
            (operators::IN, false, 2) => return self.membership(call),
            (operators::CONDITIONAL, false, 3) => return self.conditional(call),
            _ => {}
        }
        let mut arguments = Vec::with_capacity(call.args.len() + 1);
        for part in call.target.as_deref_mut().into_iter().chain(&mut call.args) {
            arguments.push(self.check(part)?);
        }
        let is_member = call.target.is_some();
        result(&name, is_member, &arguments).ok_or_else(|| refused(&name, &arguments))
    }

    fn conditional(&mut self, call: &mut CallExpr) -> Checked {
        let condition = self.check(&mut call.args[0])?;
        let one = self.check(&mut call.args[1])?;
        let other = self.check(&mut call.args[2])?;
        if condition != Some(Type::Boolean) {
            let problem = format!("the condition before \"?\" is {}", shown(condition));
            return Err(ParseError(problem));
        }
        if let (Some(one), Some(other)) = (one, other)
            && one != other
        {
            let (one, other) = (one.name(), other.name());
            let problem = format!("behind \"?\" stands {one}, and behind \":\" {other}");
            return Err(ParseError(problem));
        }
        Ok(one.or(other))
    }

    fn membership(&mut self, call: &mut CallExpr) -> Checked {
        let wanted = self.check(&mut call.args[0])?;
        let Expr::List(list) = &mut call.args[1].expr else {
            return Err(ParseError("behind \"in\" must stand a list".to_owned()));
        };
        for element in &mut list.elements {
            let found = self.check(element)?;
            if found != wanted {
                let (found, wanted) = (shown(found), shown(wanted));
                let problem = format!("{wanted} is looked for in a list that has {found}");
                return Err(ParseError(problem));
            }
        }
        Ok(Some(Type::Boolean))
    }
}

fn literal(literal: &mut LiteralValue) -> Checked {
    let number = match literal {
        LiteralValue::Int(number) => *number.inner() as f64,
        LiteralValue::UInt(number) => *number.inner() as f64,
        LiteralValue::Double(number) => *number.inner(),
        LiteralValue::Boolean(_) => return Ok(Some(Type::Boolean)),
        LiteralValue::String(_) => return Ok(Some(Type::Text)),
        LiteralValue::Null => return Ok(None),
        LiteralValue::Bytes(_) => {
            return Err(ParseError("literals of bytes are not supported".to_owned()));
        }
    };
    *literal = LiteralValue::Double(CelDouble::from(number));
    Ok(Some(Type::Number))
}

/// What a function or an operator gives; `None` if it does not take these.
fn result(name: &str, is_member: bool, arguments: &[Option<Type>]) -> Option<Option<Type>> {
    use Type::{Boolean, Number, Text};
    let given = match (name, arguments) {
        (operators::ADD, [Some(Text), Some(Text)]) => Text,
        (
            operators::ADD | operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE,
            [Some(Number), Some(Number)],
        ) => Number,
        (operators::NEGATE, [Some(Number)]) => Number,
        (
            operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS,
            [Some(Number), Some(Number)] | [Some(Text), Some(Text)],
        ) => Boolean,
        (operators::EQUALS | operators::NOT_EQUALS, [one, other])
            if one == other || one.is_none() || other.is_none() =>
        {
            Boolean
        }
        (operators::LOGICAL_AND | operators::LOGICAL_OR, [Some(Boolean), Some(Boolean)]) => Boolean,
        (operators::LOGICAL_NOT, [Some(Boolean)]) => Boolean,
        ("size", [Some(Text)]) => Number,
        ("string", [Some(Number | Text)]) if !is_member => Text,
        ("contains" | "startsWith" | "endsWith", [Some(Text), Some(Text)]) if is_member => Boolean,
        (name, [Some(Number)]) if !is_member && OF_ONE.contains(&name) => Number,
        (name, [Some(Number), Some(Number)]) if !is_member && OF_TWO.contains(&name) => Number,
        _ => return None,
    };
    Some(Some(given))
}

fn refused(name: &str, arguments: &[Option<Type>]) -> ParseError {
    let arguments: Vec<&str> = arguments.iter().map(|found| shown(*found)).collect();
    // Operators have their places in their names: `_+_`.
    let name = name.trim_matches('_').trim_matches('@');
    let problem = format!("\"{name}\" does not take {}", arguments.join(" and "));
    ParseError(problem)
}

fn shown(found: Option<Type>) -> &'static str {
    found.map_or("null", Type::name)
}
