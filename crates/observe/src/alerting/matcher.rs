//! Matchers on labels, in the syntax of Alertmanager: `endpoint="fraud"`, `tier!="free"`,
//! `version=~"1|2"`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use regex_lite::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Maximum length of a matcher, in bytes.
const MAX_BYTES: usize = 1024;
/// Maximum memory of a compiled expression: matchers come from requests, too.
const MAX_REGEX_BYTES: usize = 64 << 10;

/// A condition on one label. A missing label counts as empty; regular expressions must match the
/// whole value.
///
/// ```
/// use tidegate_observe::alerting::{Labels, Matcher};
///
/// let labels = Labels::from([("endpoint".to_owned(), "fraud".to_owned())]);
/// let matcher: Matcher = r#"endpoint=~"fraud|churn""#.parse()?;
/// assert!(matcher.matches(&labels));
/// # Ok::<(), tidegate_observe::alerting::MatcherError>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Matcher {
    name: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Equal(String),
    NotEqual(String),
    Matches(String, Regex),
    NotMatches(String, Regex),
}

/// A text that is not a matcher.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("matcher {text:?}: {problem}")]
pub struct MatcherError {
    text: String,
    problem: String,
}

impl Matcher {
    /// The name of its label.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether these labels match.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.name).map_or("", String::as_str);
        match &self.test {
            Test::Equal(wanted) => value == wanted,
            Test::NotEqual(unwanted) => value != unwanted,
            Test::Matches(_, wanted) => wanted.is_match(value),
            Test::NotMatches(_, unwanted) => !unwanted.is_match(value),
        }
    }

    /// Whether these labels match all matchers.
    pub fn all_match(matchers: &[Self], labels: &BTreeMap<String, String>) -> bool {
        matchers.iter().all(|matcher| matcher.matches(labels))
    }

    /// Whether labels without one of its name match.
    pub fn accepts_absence(&self) -> bool {
        self.matches(&BTreeMap::new())
    }

    fn parts(&self) -> (&'static str, &str) {
        match &self.test {
            Test::Equal(value) => ("=", value),
            Test::NotEqual(value) => ("!=", value),
            Test::Matches(value, _) => ("=~", value),
            Test::NotMatches(value, _) => ("!~", value),
        }
    }
}

impl FromStr for Matcher {
    type Err = MatcherError;

    fn from_str(text: &str) -> Result<Self, MatcherError> {
        parse(text).map_err(|problem| MatcherError {
            // Cut: the text may come from a request, and the message is logged.
            text: text.chars().take(80).collect(),
            problem,
        })
    }
}

fn parse(text: &str) -> Result<Matcher, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("it is longer than {MAX_BYTES} bytes"));
    }
    let at = text
        .find(['=', '!'])
        .ok_or("write it as NAME=\"VALUE\", or with !=, =~ or !~")?;
    let (name, rest) = (text[..at].trim(), &text[at..]);
    if !is_label_name(name) {
        return Err("a label name must be letters, digits and \"_\"".to_owned());
    }
    // Two-character operators first: "=" is a prefix of "=~".
    let operator = ["=~", "!~", "!=", "="]
        .into_iter()
        .find(|operator| rest.starts_with(operator))
        .ok_or("write it with =, !=, =~ or !~")?;
    let value =
        unquoted(rest[operator.len()..].trim()).ok_or("the quotes of the value do not match")?;
    let test = match operator {
        "=~" => Test::Matches(value.clone(), whole_value_regex(&value)?),
        "!~" => Test::NotMatches(value.clone(), whole_value_regex(&value)?),
        "!=" => Test::NotEqual(value),
        _ => Test::Equal(value),
    };
    Ok(Matcher {
        name: name.to_owned(),
        test,
    })
}

/// Whether this is a label name of Prometheus: `[a-zA-Z_][a-zA-Z0-9_]*`.
fn is_label_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn whole_value_regex(value: &str) -> Result<Regex, String> {
    // Anchored, as matchers of Prometheus and Alertmanager are. The size limit bounds the memory of the
    // compiled expression.
    RegexBuilder::new(&format!("^(?:{value})$"))
        .size_limit(MAX_REGEX_BYTES)
        .build()
        .map_err(|error| error.to_string())
}

/// The value without its double quotes, with `\"`, `\\` and `\n` replaced, or a bare value.
fn unquoted(text: &str) -> Option<String> {
    let Some(rest) = text.strip_prefix('"') else {
        return (!text.contains('"')).then(|| text.to_owned());
    };
    let inner = rest.strip_suffix('"')?;
    let (mut value, mut letters) = (String::new(), inner.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return None,
            '\\' => match letters.next()? {
                'n' => value.push('\n'),
                escaped @ ('"' | '\\') => value.push(escaped),
                // Kept as it is, so that expressions such as "a\\.b" need no double backslash.
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    Some(value)
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, value) = self.parts();
        let value = value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");
        write!(f, "{}{sign}\"{value}\"", self.name)
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.parts()) == (&other.name, other.parts())
    }
}

impl Eq for Matcher {}

impl TryFrom<String> for Matcher {
    type Error = MatcherError;

    fn try_from(text: String) -> Result<Self, MatcherError> {
        text.parse()
    }
}

impl From<Matcher> for String {
    fn from(matcher: Matcher) -> Self {
        matcher.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(matcher: &str, value: &str) -> bool {
        let labels = BTreeMap::from([("endpoint".to_owned(), value.to_owned())]);
        matcher.parse::<Matcher>().unwrap().matches(&labels)
    }

    #[test]
    fn labels_are_compared_or_matched_as_a_whole() {
        assert!(matches("endpoint=\"fraud\"", "fraud") && !matches("endpoint=\"fraud\"", "fraud2"));
        assert!(
            matches("endpoint = fraud", "fraud"),
            "quotes can be left out"
        );
        assert!(matches("endpoint!=\"fraud\"", "iris") && !matches("endpoint!=\"fraud\"", "fraud"));
        assert!(
            matches("endpoint=~\"fra.*|iris\"", "fraud")
                && !matches("endpoint=~\"fra|iris\"", "fraud")
        );
        assert!(matches("endpoint!~\"fra.*\"", "iris") && !matches("endpoint!~\"fra.*\"", "fraud"));
        assert!(
            matches("tier=\"\"", "fraud") && matches("tier!=\"gold\"", "x"),
            "what is absent is empty"
        );
    }

    #[test]
    fn an_invalid_matcher_is_refused_with_its_reason() {
        for (text, reason) in [
            ("endpoint", "write it as"),
            ("1a=\"b\"", "label name"),
            ("a=\"b", "quotes"),
            ("a=\"b\"c\"", "quotes"),
            ("a!b", "=, !=, =~"),
            ("a=~\"(\"", "without closing"),
            ("a=~\".{1000}{1000}\"", "size"),
        ] {
            let error = text.parse::<Matcher>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(name in "[a-z_][a-z0-9_]{0,8}", value in "\\PC{0,20}", unequal: bool) {
            let test = if unequal { Test::NotEqual(value) } else { Test::Equal(value) };
            let matcher = Matcher { name, test };
            prop_assert_eq!(matcher.to_string().parse::<Matcher>().unwrap(), matcher);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<Matcher>();
        }
    }
}
