//! The `[privacy]` section of `tidegate.toml`.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most rules of one kind.
pub(crate) const MAX_RULES: usize = 64;
/// Longest rule, in bytes.
pub(crate) const MAX_RULE_BYTES: usize = 256;

/// The `[privacy]` section of `tidegate.toml`: what is replaced in whatever is logged, traced or
/// kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrivacyConfig {
    /// Names whose values are replaced: keys of JSON, tensors, fields of the log. Case, `-` and `_`
    /// do not matter. Names of credentials, such as `password`, are always among them.
    pub fields: Vec<String>,
    /// Paths in JSON whose values are replaced, such as `$.user.email`, `$.rows[*].name` or
    /// `$..phone`.
    pub paths: Vec<String>,
    /// Regular expressions; what they match is replaced. Each at most 256 bytes.
    pub patterns: Vec<String>,
    /// Kinds of personal data that are found by their form.
    pub detectors: Vec<Detector>,
    /// What stands in the place of what was found.
    pub replacement: String,
}

/// A kind of personal data that is found by its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detector {
    /// E-mail addresses.
    Email,
    /// Phone numbers with a country code, a trunk prefix, or in the North American form.
    Phone,
    /// Numbers of payment cards: 13 to 19 digits whose Luhn check digit is right.
    Card,
    /// International bank account numbers whose check digits are right.
    Iban,
    /// Addresses of IP, version 4 and 6.
    Ip,
}

impl Default for PrivacyConfig {
    fn default() -> Self {
        Self {
            fields: Vec::new(),
            paths: Vec::new(),
            patterns: Vec::new(),
            // The others also find addresses of servers, and numbers that are no phone's.
            detectors: vec![Detector::Email, Detector::Card, Detector::Iban],
            replacement: "[redacted]".to_owned(),
        }
    }
}

/// A wrong `[privacy]` section.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum PrivacyError {
    #[error("privacy.{0} has more than {MAX_RULES} rules")]
    TooMany(&'static str),
    #[error("privacy.{0}: each rule must have 1 to {MAX_RULE_BYTES} bytes")]
    Length(&'static str),
    #[error("privacy.paths: {0:?} is not a path such as $.user.email, $.rows[*].name or $..phone")]
    Path(String),
    #[error("privacy.patterns: {pattern:?}: {problem}")]
    Pattern { pattern: String, problem: String },
    #[error("privacy.patterns: {0:?} matches nothing at all, which is everywhere")]
    Empty(String),
    #[error("privacy.replacement must have no quotes, backslashes and control characters")]
    OddReplacement,
    #[error("privacy.replacement is what a rule finds: {0:?}")]
    Replacement(String),
}

impl PrivacyConfig {
    pub(crate) fn check(&self) -> Result<(), PrivacyError> {
        for (kind, rules) in [
            ("fields", &self.fields),
            ("paths", &self.paths),
            ("patterns", &self.patterns),
        ] {
            if rules.len() > MAX_RULES {
                return Err(PrivacyError::TooMany(kind));
            }
            if rules
                .iter()
                .any(|rule| !(1..=MAX_RULE_BYTES).contains(&rule.len()))
            {
                return Err(PrivacyError::Length(kind));
            }
        }
        if self.replacement.len() > MAX_RULE_BYTES {
            return Err(PrivacyError::Length("replacement"));
        }
        // It stands within JSON, and within lines of the log.
        let is_odd =
            |character: char| matches!(character, '"' | '\'' | '\\') || character.is_control();
        if self.replacement.contains(is_odd) {
            return Err(PrivacyError::OddReplacement);
        }
        Ok(())
    }
}
