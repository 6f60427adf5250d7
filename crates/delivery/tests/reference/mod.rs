//! Reads `reference.json`.

#![allow(dead_code, reason = "each test uses some of it")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use serde_json::Value;

const REFERENCE: &str = include_str!("reference.json");

/// One case of the reference.
pub(crate) struct Case(Value);

/// The cases of one part.
pub(crate) fn part(name: &str) -> Vec<Case> {
    let mut all: Value = serde_json::from_str(REFERENCE).unwrap();
    let cases = std::mem::take(all[name].as_array_mut().unwrap());
    assert!(!cases.is_empty());
    cases.into_iter().map(Case).collect()
}

impl Case {
    pub(crate) fn number(&self, name: &str) -> f64 {
        self.0[name].as_f64().unwrap()
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap()
    }

    pub(crate) fn list(&self, name: &str) -> &[Value] {
        self.0[name].as_array().unwrap()
    }

    pub(crate) fn numbers(&self, name: &str) -> Vec<f64> {
        numbers(&self.0[name]).collect()
    }

    pub(crate) fn counts(&self, name: &str) -> Vec<u64> {
        self.list(name)
            .iter()
            .map(|value| value.as_u64().unwrap())
            .collect()
    }
}

pub(crate) fn numbers(list: &Value) -> impl Iterator<Item = f64> + '_ {
    list.as_array()
        .unwrap()
        .iter()
        .map(|value| value.as_f64().unwrap())
}

/// Fails unless the numbers are equal up to `tolerance`, relative where they are above 1.
pub(crate) fn close(found: f64, expected: f64, tolerance: f64) {
    let distance = (found - expected).abs() / expected.abs().max(1.0);
    assert!(distance < tolerance, "{found} instead of {expected}");
}
