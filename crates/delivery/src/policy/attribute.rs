//! What of a request a policy can look at.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// One thing that is known about a request.
///
/// ```
/// use tidegate_delivery::policy::Attribute;
///
/// assert_eq!("header:X-User".parse(), Ok(Attribute::Header("x-user".into())));
/// assert_eq!("tenant".parse(), Ok(Attribute::Tenant));
/// assert!("cookie:id".parse::<Attribute>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Attribute {
    /// A header, or gRPC metadata; the name is in lower case.
    Header(String),
    /// A claim of the verified token.
    Claim(String),
    /// An input of the request, by its name in the signature.
    Field(String),
    /// The tenant of the caller.
    Tenant,
    /// The caller, as the audit log names it: `key:NAME`, `user:SUBJECT@ISSUER` or `certificate:NAME`.
    Principal,
}

/// Text that is not an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not an attribute: write \"header:NAME\", \"claim:NAME\", \"field:NAME\", \"tenant\" or \
     \"principal\""
)]
pub struct InvalidAttribute(String);

impl FromStr for Attribute {
    type Err = InvalidAttribute;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidAttribute(text.chars().take(80).collect());
        match text {
            "tenant" => return Ok(Self::Tenant),
            "principal" => return Ok(Self::Principal),
            _ => {}
        }
        let (kind, name) = text.split_once(':').ok_or_else(invalid)?;
        if name.is_empty() || name.len() > super::MAX_TEXT || name.contains(char::is_control) {
            return Err(invalid());
        }
        match kind {
            "header" => Ok(Self::Header(name.to_ascii_lowercase())),
            "claim" => Ok(Self::Claim(name.to_owned())),
            "field" => Ok(Self::Field(name.to_owned())),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(formatter, "header:{name}"),
            Self::Claim(name) => write!(formatter, "claim:{name}"),
            Self::Field(name) => write!(formatter, "field:{name}"),
            Self::Tenant => formatter.write_str("tenant"),
            Self::Principal => formatter.write_str("principal"),
        }
    }
}

impl TryFrom<String> for Attribute {
    type Error = InvalidAttribute;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Attribute> for String {
    fn from(attribute: Attribute) -> Self {
        attribute.to_string()
    }
}
