//! References to versions, as people write them.

use std::fmt;
use std::str::FromStr;

use tidegate_core::ModelName;

use crate::{Error, ErrorCode, Result};

/// A model and which of its versions: `fraud`, `fraud:7`, `fraud@champion`.
///
/// ```
/// use tidegate_registry::{Reference, Selector};
///
/// let reference: Reference = "fraud@champion".parse()?;
/// assert_eq!(reference.model.as_str(), "fraud");
/// assert_eq!(reference.selector, Selector::Alias("champion".to_owned()));
/// assert!("fraud:0".parse::<Reference>().is_err());
/// # Ok::<(), tidegate_registry::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The model.
    pub model: ModelName,
    /// Which of its versions.
    pub selector: Selector,
}

/// Which version of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The one with the highest number that is not deprecated.
    Latest,
    /// The one with this number.
    Number(i64),
    /// The one that this alias points at.
    Alias(String),
}

impl FromStr for Reference {
    type Err = Error;

    /// An alias follows `@`, or `:` if it is not a number.
    fn from_str(text: &str) -> Result<Self> {
        let (model, selector) = match text.split_once(['@', ':']) {
            None => (text, Selector::Latest),
            Some((model, rest)) => {
                let number = rest
                    .parse::<i64>()
                    .ok()
                    .filter(|_| text[model.len()..].starts_with(':'));
                (
                    model,
                    number.map_or_else(
                        || alias_name(rest).map(Selector::Alias),
                        |number| Ok(Selector::Number(number)),
                    )?,
                )
            }
        };
        if matches!(selector, Selector::Number(number) if number < 1) {
            return Err(invalid(format!("{text:?}: versions are numbered from 1")));
        }
        let model = model.parse().map_err(|error| invalid(format!("{error}")))?;
        Ok(Self { model, selector })
    }
}

fn invalid(problem: String) -> Error {
    Error::new(ErrorCode::InvalidReference, problem)
}

/// An alias: spelled like a model's name, and not a number, so that `fraud:7` is always version 7.
pub(crate) fn alias_name(text: &str) -> Result<String> {
    let number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<ModelName>() {
        Ok(name) if !number => Ok(name.into_string()),
        _ => {
            let shown: String = text.chars().take(140).collect();
            let problem = format!(
                "{shown:?} is not an alias: use letters, digits, '-', '_' and '.', and not digits alone"
            );
            Err(invalid(problem))
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.selector {
            Selector::Latest => write!(f, "{}", self.model),
            Selector::Number(number) => write!(f, "{}:{number}", self.model),
            Selector::Alias(alias) => write!(f, "{}@{alias}", self.model),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read_and_written() {
        for text in ["fraud", "fraud:7", "fraud@champion", "fraud-2.0:12"] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        assert_eq!(
            "fraud:champion".parse::<Reference>().unwrap().to_string(),
            "fraud@champion"
        );
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for text in [
            "",
            ":7",
            "fraud:0",
            "fraud:-1",
            "fraud:",
            "fraud@",
            "fraud@7",
            "a/b",
            "fraud:1:2",
            "fraud@a@b",
            "fraud: 7",
        ] {
            assert_eq!(
                text.parse::<Reference>().unwrap_err().code,
                ErrorCode::InvalidReference,
                "{text}"
            );
        }
    }
}
