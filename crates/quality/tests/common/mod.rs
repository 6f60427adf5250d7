//! Reads reference values, and compares with them.
#![allow(dead_code, reason = "each test uses a part")]

use serde_json::Value;

/// The reference values of a part.
pub(crate) fn read(name: &str) -> Value {
    let path = format!("{}/tests/reference/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A list of numbers.
pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap())
        .collect()
}

/// That a number is the reference value, within a relative 1e-9, however small it is.
#[track_caller]
pub(crate) fn assert_close(ours: f64, theirs: &Value) {
    let theirs = theirs.as_f64().unwrap();
    let off = (ours - theirs).abs();
    assert!(
        off <= 1e-9 * theirs.abs() || off < 1e-15,
        "{ours} is not {theirs}"
    );
}

/// The same for a number that may not exist: `null`.
#[track_caller]
pub(crate) fn assert_maybe_close(ours: Option<f64>, theirs: &Value) {
    match ours {
        Some(ours) => assert_close(ours, theirs),
        None => assert!(theirs.is_null(), "there is none, but {theirs}"),
    }
}
