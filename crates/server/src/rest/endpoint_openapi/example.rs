//! An example of a request, for bundles without samples.

use serde_json::{Map, Value, json};
use tidegate_core::{FieldSpec, FieldType, PipelineSpec};

/// One record that follows the rules of all fields; `None` if they do not tell one.
pub(super) fn records(spec: &PipelineSpec) -> Option<Value> {
    let mut record = Map::new();
    for field in &spec.fields {
        match value(field) {
            Some(value) => {
                record.insert(field.name.clone(), value);
            }
            None if field.optional => {}
            None => return None,
        }
    }
    Some(json!({ "instances": [record] }))
}

fn value(field: &FieldSpec) -> Option<Value> {
    if let Some(category) = field.categories.first() {
        return Some(json!(category));
    }
    match field.field_type {
        FieldType::Number => Some(number(field).into()),
        FieldType::Integer => Some((number(field).ceil() as i64).into()),
        FieldType::Boolean => Some(true.into()),
        FieldType::Time => Some("2025-06-01T12:00:00Z".into()),
        FieldType::String if field.pattern.is_none() => {
            let length = field.min_length.unwrap_or(1).max(1);
            Some(
                "a".repeat(field.max_length.map_or(length, |most| length.min(most)))
                    .into(),
            )
        }
        // Nobody can guess an image, or a text by its pattern.
        FieldType::String | FieldType::Bytes => None,
    }
}

fn number(field: &FieldSpec) -> f64 {
    match (field.min, field.max) {
        (Some(min), Some(max)) => min + (max - min) / 2.0,
        (Some(min), None) => min,
        (None, Some(max)) => max,
        (None, None) => 1.0,
    }
}
