//! JSON whose numbers are the nearest doubles. `serde_json` may be off by a digit at the end.

use jiter::JsonValue;
use serde_json::{Map, Number, Value};

/// Reads JSON exactly. NaN, which Python writes for what is missing, is `null`.
///
/// # Errors
/// What is no JSON, and where.
pub fn exact_json(json: &[u8]) -> Result<Value, String> {
    let parsed = JsonValue::parse(json, true);
    let parsed = parsed.map_err(|error| error.description(json))?;
    Ok(exact(&parsed))
}

fn exact(value: &JsonValue<'_>) -> Value {
    match value {
        JsonValue::Null => Value::Null,
        JsonValue::Bool(boolean) => Value::Bool(*boolean),
        JsonValue::Int(number) => Value::Number((*number).into()),
        // Not missing: what is infinite is wrong, and must be seen.
        JsonValue::Float(number) if number.is_infinite() => Value::String(number.to_string()),
        JsonValue::Float(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
        JsonValue::Str(text) => Value::String(text.to_string()),
        JsonValue::Array(values) => Value::Array(values.iter().map(exact).collect()),
        JsonValue::Object(entries) => {
            let entries = entries.iter();
            let entries = entries.map(|(key, value)| (key.to_string(), exact(value)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_last_digit() {
        // `serde_json` reads 0.026.
        let text = b"[0.026000000000000002, NaN, -Infinity, 1, 1e2]";
        let Ok(Value::Array(values)) = exact_json(text) else {
            panic!("it is a list");
        };
        assert_eq!(values[0].as_f64(), Some(0.026_000_000_000_000_002));
        assert_eq!(values[1], Value::Null);
        assert_eq!(values[2], "-inf");
        assert_eq!(values[3].as_i64(), Some(1));
        assert!(exact_json(b"007").is_err());
        assert!(exact_json(b"[1,").is_err());
    }
}
