//! Fields and tensors as JSON Schema.

use serde_json::{Map, Value, json};
use tidegate_core::{
    DataType, Dim, FieldSpec, FieldType, PipelineSpec, Signature, TensorSpec, UnknownFields,
};
use tidegate_pipeline::Pipeline;

/// The largest whole number up to which a double holds all of them.
const MAX_INTEGER: i64 = 1 << 53;

/// One record of a request.
pub(super) fn record(spec: &PipelineSpec) -> Value {
    object(spec, |field| match field.optional {
        false => value(field),
        true => json!({ "anyOf": [value(field), { "type": "null" }] }),
    })
}

/// All records of a request as columns.
pub(super) fn columns(spec: &PipelineSpec) -> Value {
    object(spec, |field| {
        let items = match field.optional {
            false => value(field),
            true => json!({ "anyOf": [value(field), { "type": "null" }] }),
        };
        json!({ "type": "array", "minItems": 1, "items": items })
    })
}

fn object(spec: &PipelineSpec, schema: fn(&FieldSpec) -> Value) -> Value {
    let fields = spec.fields.iter();
    let properties: Map<String, Value> = fields
        .map(|field| {
            (
                field.name.clone(),
                described(schema(field), &field.description),
            )
        })
        .collect();
    let required = spec.fields.iter().filter(|field| !field.optional);
    let required: Vec<&str> = required.map(|field| field.name.as_str()).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": spec.unknown_fields == UnknownFields::Ignore,
    })
}

fn described(mut schema: Value, description: &str) -> Value {
    if !description.is_empty() {
        schema["description"] = description.into();
    }
    schema
}

/// A value of a field that is there.
fn value(field: &FieldSpec) -> Value {
    let mut schema = match field.field_type {
        FieldType::Number => json!({ "type": "number" }),
        FieldType::Integer => {
            json!({ "type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER })
        }
        FieldType::String => json!({ "type": "string" }),
        FieldType::Boolean => json!({ "type": "boolean" }),
        FieldType::Time => json!({ "type": "string", "title": "A date or time of ISO 8601" }),
        FieldType::Bytes => return bytes(),
    };
    if let Some(min) = field.min {
        schema["minimum"] = min.into();
    }
    if let Some(max) = field.max {
        schema["maximum"] = max.into();
    }
    if !field.categories.is_empty() {
        schema["enum"] = json!(field.categories);
    }
    if let Some(length) = field.min_length {
        schema["minLength"] = length.into();
    }
    if let Some(length) = field.max_length {
        schema["maxLength"] = length.into();
    }
    if let Some(pattern) = field
        .pattern
        .as_deref()
        .filter(|pattern| is_portable(pattern))
    {
        schema["pattern"] = format!("^(?:{pattern})$").into();
    }
    schema
}

/// Whether readers of JSON Schema, which has regular expressions of ECMAScript, read a pattern the same.
fn is_portable(pattern: &str) -> bool {
    !pattern.replace("(?:", "").contains("(?") && !pattern.contains("[[:")
}

fn bytes() -> Value {
    let base64 = json!({ "type": "string", "contentEncoding": "base64" });
    let wrapped = json!({
        "type": "object",
        "properties": { "b64": base64 },
        "required": ["b64"],
        "additionalProperties": false,
    });
    json!({ "oneOf": [base64, wrapped] })
}

/// One row of an answer.
pub(super) fn prediction(pipeline: &Pipeline) -> Value {
    let signature = pipeline.tensor_signature();
    let properties: Map<String, Value> = pipeline
        .response()
        .map(|name| (name.to_owned(), answer_field(signature, name)))
        .collect();
    let required: Vec<&String> = properties.keys().collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn answer_field(signature: &Signature, name: &str) -> Value {
    let mut outputs = signature.outputs.iter();
    // Values of several types are no output.
    let Some(output) = outputs.find(|output| output.name == name) else {
        return json!({ "type": "array" });
    };
    let Some(dims) = &output.dims else {
        return json!({ "type": "array" });
    };
    let element = json!({ "type": [json_type(output.datatype), "null"] });
    let rows = dims.iter().skip(1).rev();
    rows.fold(element, |items, dim| match dim {
        Dim::Fixed(count) => {
            json!({ "type": "array", "items": items, "minItems": count, "maxItems": count })
        }
        _ => json!({ "type": "array", "items": items }),
    })
}

fn json_type(datatype: DataType) -> &'static str {
    match datatype {
        DataType::Bool => "boolean",
        DataType::Bytes => "string",
        _ => "number",
    }
}

/// A list of tensors, each of one of these.
pub(super) fn tensors(specs: &[TensorSpec]) -> Value {
    if specs.is_empty() {
        return json!({ "type": "array", "maxItems": 0 });
    }
    let specs: Vec<Value> = specs.iter().map(tensor).collect();
    json!({ "type": "array", "items": { "anyOf": specs } })
}

fn tensor(spec: &TensorSpec) -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": { "const": spec.name },
            "datatype": { "type": "string" },
            "shape": shape(spec),
            "data": { "type": "array" },
            "parameters": { "type": "object" },
        },
        "required": ["name", "shape", "datatype"],
        "description": format!("{} {:?}", spec.datatype, spec.wire_shape()),
    })
}

fn shape(spec: &TensorSpec) -> Value {
    let mut shape = json!({ "type": "array", "items": { "type": "integer", "minimum": 0 } });
    if let Some(dims) = &spec.dims {
        shape["minItems"] = dims.len().into();
    }
    shape
}
