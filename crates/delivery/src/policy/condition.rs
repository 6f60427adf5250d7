//! What a rule asks of a request.

use std::fmt;

use super::attribute::Attribute;

/// A test on one attribute. A request without the attribute fulfils none but `present = false`.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// What is looked at.
    pub attribute: Attribute,
    /// What it must be.
    pub test: Test,
}

/// What the value of an attribute must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// Exactly this text.
    Equals(String),
    /// One of these texts.
    OneOf(Vec<String>),
    /// A text that begins so.
    Prefix(String),
    /// A number of at least this.
    AtLeast(f64),
    /// A number below this.
    Below(f64),
    /// There at all, or not.
    Present(bool),
}

impl Condition {
    /// Whether a value fulfils it; `None` is an attribute that the request does not have.
    pub fn holds(&self, value: Option<&str>) -> bool {
        let Some(value) = value else {
            return self.test == Test::Present(false);
        };
        match &self.test {
            Test::Equals(text) => value == text,
            Test::OneOf(texts) => texts.iter().any(|text| value == text),
            Test::Prefix(prefix) => value.starts_with(prefix.as_str()),
            // Text that is not a number, and NaN, fulfil neither.
            Test::AtLeast(least) => value.parse::<f64>().is_ok_and(|number| number >= *least),
            Test::Below(bound) => value.parse::<f64>().is_ok_and(|number| number < *bound),
            Test::Present(present) => *present,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attribute = &self.attribute;
        match &self.test {
            Test::Equals(text) => write!(formatter, "{attribute} is {text:?}"),
            Test::OneOf(texts) => write!(formatter, "{attribute} is one of {texts:?}"),
            Test::Prefix(prefix) => write!(formatter, "{attribute} begins with {prefix:?}"),
            Test::AtLeast(least) => write!(formatter, "{attribute} is at least {least}"),
            Test::Below(bound) => write!(formatter, "{attribute} is below {bound}"),
            Test::Present(true) => write!(formatter, "{attribute} is there"),
            Test::Present(false) => write!(formatter, "{attribute} is not there"),
        }
    }
}
