//! Paths in JSON: the part of JSONPath (RFC 9535) that names members and elements.

use serde_json::Value;

use crate::PrivacyError;

/// A parsed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// The member of a name.
    Member(String),
    /// The element at an index.
    Element(usize),
    /// Every member or element.
    Every,
    /// Members of a name at any depth.
    AtAnyDepth(String),
}

impl Path {
    pub(crate) fn parse(text: &str) -> Result<Self, PrivacyError> {
        let wrong = || PrivacyError::Path(text.to_owned());
        let mut rest = text.strip_prefix('$').ok_or_else(wrong)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step(rest).ok_or_else(wrong)?;
            steps.push(step);
            rest = after;
        }
        match steps.is_empty() {
            true => Err(wrong()),
            false => Ok(Self(steps)),
        }
    }

    /// Replaces every value that the path leads to.
    pub(crate) fn replace(&self, value: &mut Value, replacement: &str) {
        replace(&self.0, value, replacement);
    }
}

fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(rest) = text.strip_prefix("..") {
        let (name, rest) = name(rest)?;
        return Some((Step::AtAnyDepth(name), rest));
    }
    if let Some(rest) = text.strip_prefix(".*") {
        return Some((Step::Every, rest));
    }
    if let Some(rest) = text.strip_prefix('.') {
        let (name, rest) = name(rest)?;
        return Some((Step::Member(name), rest));
    }
    let (inner, rest) = text.strip_prefix('[')?.split_once(']')?;
    let quoted = |quote| inner.strip_prefix(quote)?.strip_suffix(quote);
    let step = match quoted('\'').or_else(|| quoted('"')) {
        Some(name) => Step::Member(name.to_owned()),
        None if inner == "*" => Step::Every,
        None => Step::Element(inner.parse().ok()?),
    };
    Some((step, rest))
}

fn name(text: &str) -> Option<(String, &str)> {
    let end = text.find(['.', '[']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let is_plain = !name.is_empty() && !name.contains([' ', ']', '*', '?', '\'', '"']);
    is_plain.then(|| (name.to_owned(), rest))
}

fn replace(steps: &[Step], value: &mut Value, replacement: &str) {
    let Some((step, rest)) = steps.split_first() else {
        *value = Value::from(replacement);
        return;
    };
    match step {
        Step::Member(name) => {
            if let Some(member) = value.get_mut(name) {
                replace(rest, member, replacement);
            }
        }
        Step::Element(index) => {
            if let Some(element) = value.get_mut(*index) {
                replace(rest, element, replacement);
            }
        }
        Step::Every => for_each(value, &mut |_, child| replace(rest, child, replacement)),
        Step::AtAnyDepth(name) => for_each(value, &mut |key, child| {
            // What is below first: a replaced value has nothing below.
            replace(steps, child, replacement);
            if key == Some(name.as_str()) {
                replace(rest, child, replacement);
            }
        }),
    }
}

fn for_each(value: &mut Value, change: &mut dyn FnMut(Option<&str>, &mut Value)) {
    match value {
        Value::Object(members) => {
            for (key, child) in members.iter_mut() {
                change(Some(key), child);
            }
        }
        Value::Array(elements) => {
            for child in elements {
                change(None, child);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_form_of_a_path_leads_where_it_says() {
        let cases = [
            (
                "$.user.email",
                json!({"user": {"email": "x", "id": 1}, "email": 2}),
            ),
            (
                "$['user']['email']",
                json!({"user": {"email": "x", "id": 1}, "email": 2}),
            ),
            (
                "$.rows[*].name",
                json!({"rows": [{"name": "x"}, {"name": "x", "id": 1}], "name": 2}),
            ),
            ("$.rows[1]", json!({"rows": [1, "x", 3]})),
            (
                "$..phone",
                json!({"phone": "x", "a": [{"phone": "x"}, {"b": {"phone": "x"}}]}),
            ),
            ("$.a.*", json!({"a": {"b": "x", "c": "x"}, "d": 1})),
        ];
        for (path, expected) in cases {
            let mut value: Value =
                serde_json::from_str(&expected.to_string().replace("\"x\"", "{\"deep\": [1]}"))
                    .unwrap();
            Path::parse(path).unwrap().replace(&mut value, "x");
            assert_eq!(value, expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "",
            "$",
            "user",
            "$.",
            "$[",
            "$[x]",
            "$.a b",
            "$..",
            "$.a[?(@.b)]",
        ] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
    }
}
