//! JSON for people: one line for each thing that has names, lists of numbers on a line.

use std::fmt::Write;

use serde_json::Value;

/// The value with two spaces for each level.
pub(super) fn pretty(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, 0);
    text
}

fn write(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(fields) if fields.values().any(has_names) => {
            let fields = fields.iter().map(|(name, value)| (Some(name), value));
            lines(text, ['{', '}'], fields, depth);
        }
        Value::Array(items) if items.iter().any(has_names) => {
            lines(
                text,
                ['[', ']'],
                items.iter().map(|item| (None, item)),
                depth,
            );
        }
        // Writing to a string does not fail.
        flat => drop(write!(text, "{flat}")),
    }
}

fn has_names(value: &Value) -> bool {
    match value {
        Value::Object(_) => true,
        Value::Array(items) => items.iter().any(has_names),
        _ => false,
    }
}

fn lines<'a>(
    text: &mut String,
    [open, close]: [char; 2],
    items: impl Iterator<Item = (Option<&'a String>, &'a Value)>,
    depth: usize,
) {
    text.push(open);
    for (at, (name, value)) in items.enumerate() {
        let separator = if at == 0 { "\n" } else { ",\n" };
        let _ = write!(text, "{separator}{:width$}", "", width = (depth + 1) * 2);
        if let Some(name) = name {
            let _ = write!(text, "{}: ", Value::from(name.as_str()));
        }
        write(text, value, depth + 1);
    }
    let _ = write!(text, "\n{:width$}{close}", "", width = depth * 2);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers_stay_on_a_line_and_it_reads_back() {
        let value = serde_json::json!({"inputs": [{"name": "a\"", "data": [1, 2.5, [3]]}, {"name": "b", "data": []}]});
        let text = pretty(&value);
        let wanted = "{\n  \"inputs\": [\n    {\"name\":\"a\\\"\",\"data\":[1,2.5,[3]]},\n    {\"name\":\"b\",\"data\":[]}\n  ]\n}";
        assert_eq!(text, wanted);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        assert_eq!(pretty(&serde_json::json!([1, 2])), "[1,2]");
    }
}
