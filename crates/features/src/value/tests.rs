#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::sync::Arc;

use serde_json::Value as Json;
use tidegate_core::{KeyValue, murmur3_32};

use super::*;
use crate::entity_key;

const MAX: usize = 1 << 20;

/// What Feast itself has encoded: see `tests/feast_vectors.py`.
fn vectors() -> Json {
    serde_json::from_str(include_str!("../../tests/feast_vectors.json")).unwrap()
}

fn bytes(hex: &Json) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    let digits = (0..hex.len()).step_by(2);
    let bytes = digits.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
    bytes.collect()
}

#[test]
fn keys_are_those_of_feast() {
    for vector in vectors()["keys"].as_array().unwrap() {
        let mut parts: Vec<(&String, &Json)> =
            vector["parts"].as_object().unwrap().iter().collect();
        parts.sort_by_key(|(name, _)| *name);
        let names: Vec<Arc<str>> = parts.iter().map(|(name, _)| name.as_str().into()).collect();
        let values = parts.iter().map(|(_, value)| {
            let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
            match kind.as_str() {
                "string_val" => KeyValue::Text(value.as_str().unwrap().into()),
                "int32_val" => KeyValue::Int32(i32::try_from(value.as_i64().unwrap()).unwrap()),
                _ => KeyValue::Int64(value.as_i64().unwrap()),
            }
        });
        let key = entity_key::encode(&names, &values.collect::<Vec<_>>());
        assert_eq!(key, bytes(&vector["hex"]), "{vector}");
    }
}

#[test]
fn names_of_fields_are_those_of_feast() {
    for vector in vectors()["fields"].as_array().unwrap() {
        let hash = murmur3_32(vector["name"].as_str().unwrap().as_bytes());
        assert_eq!(hash.to_le_bytes().to_vec(), bytes(&vector["hex"]));
    }
}

#[test]
fn values_are_read_as_feast_has_written_them() {
    for vector in vectors()["values"].as_array().unwrap() {
        let found = decode(&bytes(&vector["hex"]), MAX);
        let Some((kind, value)) = vector["value"].as_object().unwrap().iter().next() else {
            assert_eq!(found, FeatureValue::Missing);
            continue;
        };
        let expected = match kind.as_str() {
            "double_val" => FeatureValue::Number(value.as_f64().unwrap()),
            "float_val" => FeatureValue::Single(value.as_f64().unwrap() as f32),
            "int32_val" | "int64_val" => FeatureValue::Integer(value.as_i64().unwrap()),
            "bool_val" => FeatureValue::Boolean(value.as_bool().unwrap()),
            "string_val" => FeatureValue::Text(value.as_str().unwrap().to_owned()),
            "unix_timestamp_val" => FeatureValue::Seconds(value.as_i64().unwrap()),
            "null_val" => FeatureValue::Missing,
            _ => {
                let FeatureValue::Unreadable(problem) = found else {
                    panic!("{vector}: {found:?}");
                };
                assert!(problem.contains("is a list"), "{problem}");
                continue;
            }
        };
        assert_eq!(found, expected, "{vector}");
        if !matches!(kind.as_str(), "int32_val" | "null_val") {
            assert_eq!(decode(&encode(&found), MAX), expected);
        }
    }
}

#[test]
fn times_are_those_of_feast() {
    let time = &vectors()["time"];
    assert_eq!(decode_time(&bytes(&time["hex"])), time["millis"].as_i64());
    assert_eq!(decode_time(b"\xff\xff"), None);
    let far = Timestamp {
        seconds: i64::MAX,
        nanos: 0,
    };
    assert_eq!(decode_time(&far.encode_to_vec()), None);
}

#[test]
fn hostile_values_are_unreadable_and_nothing_worse() {
    let text = encode(&FeatureValue::Text("a".repeat(100)));
    for end in 1..text.len() {
        let found = decode(&text[..end], MAX);
        assert!(
            matches!(found, FeatureValue::Unreadable(_)),
            "{end}: {found:?}"
        );
    }
    for bytes in [
        &b"\xff\xff\xff\xff"[..],
        b"\x12\x02\xff\xfe",
        b"\x2a\x08abc",
        b"\x0a\xff\xff\xff\xff\x0f",
    ] {
        let found = decode(bytes, MAX);
        assert!(
            matches!(found, FeatureValue::Unreadable(_)),
            "{bytes:?}: {found:?}"
        );
    }
    let FeatureValue::Unreadable(problem) = decode(&text, 50) else {
        panic!("it is too long");
    };
    assert!(problem.contains("102 bytes"), "{problem}");
}
