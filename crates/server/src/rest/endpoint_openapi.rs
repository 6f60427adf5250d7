//! The description of one endpoint: what its requests and answers have, by its signature and the
//! fields of its pipeline.

mod example;
mod schema;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};
use tidegate_serving::Version;

use self::schema::{prediction, record, tensors};
use super::answer::{ApiError, ErrorBody};
use super::path::Path;
use crate::front_end::FrontEnd;

/// The OpenAPI description of an endpoint, of the version that answers now.
#[utoipa::path(get, path = "/v1/endpoints/{name}/openapi.json", tag = "endpoints",
    params(("name" = String, Path)),
    responses((status = 200, body = Object), (status = 404, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn endpoint(
    State(front_end): State<Arc<FrontEnd>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    // Loads the version if it must: before, its signature is not known.
    let (version, _) = front_end.serving.demand(&name, None, None).await?;
    Ok(Json(description(&name, &version)))
}

fn description(name: &str, version: &Version) -> Value {
    let manifest = &version.plan().manifest;
    let mut paths = Map::new();
    let mut schemas = Map::new();
    schemas.insert("Error".to_owned(), error());
    if let (Some(spec), Some(pipeline)) = (&manifest.pipeline, version.pipeline()) {
        schemas.insert("Record".to_owned(), record(spec));
        schemas.insert("Columns".to_owned(), schema::columns(spec));
        schemas.insert("Prediction".to_owned(), prediction(pipeline));
        let example = version.record_sample().or_else(|| example::records(spec));
        let operation = operation(
            "predict",
            &manifest.description,
            records(),
            example,
            answers(),
        );
        paths.insert(format!("/v1/endpoints/{name}/predict"), operation);
    }
    let sample = version.request_sample().body;
    let body = inference(version);
    let operation = operation(
        "infer",
        &manifest.description,
        body,
        Some(sample),
        outputs(version),
    );
    paths.insert(format!("/v2/models/{name}/infer"), operation);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": name,
            "version": version.number(),
            "description": manifest.description,
        },
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

fn operation(id: &str, summary: &str, body: Value, example: Option<Value>, answer: Value) -> Value {
    let mut content = json!({ "schema": body });
    if let Some(example) = example {
        content["example"] = example;
    }
    let error = json!({
        "description": "What is wrong, where, and a code for programs",
        "content": { "application/json": { "schema": reference("Error") } },
    });
    json!({ "post": {
        "operationId": id,
        "summary": summary,
        "requestBody": { "required": true, "content": { "application/json": content } },
        "responses": {
            "200": {
                "description": "The answer",
                "content": { "application/json": { "schema": answer } },
            },
            "default": error,
        },
    }})
}

/// Records as rows, or as columns.
fn records() -> Value {
    let rows = json!({ "type": "array", "minItems": 1, "items": reference("Record") });
    json!({ "oneOf": [member("instances", rows), member("columns", reference("Columns"))] })
}

/// An object with one member.
fn member(name: &str, schema: Value) -> Value {
    let mut properties = Map::new();
    properties.insert(name.to_owned(), schema);
    json!({
        "type": "object",
        "properties": properties,
        "required": [name],
        "additionalProperties": false,
    })
}

fn answers() -> Value {
    let row = json!({ "anyOf": [reference("Prediction"), { "type": "null" }] });
    let columns = json!({ "type": "object", "additionalProperties": { "type": "array" } });
    json!({
        "type": "object",
        "properties": {
            "model_name": { "type": "string" },
            "model_version": { "type": "string" },
            "predictions": { "anyOf": [{ "type": "array", "items": row }, columns] },
            "flagged": { "type": "array", "items": { "type": "object" } },
            "errors": { "type": "array", "items": { "type": "object" } },
        },
        "required": ["model_name", "model_version", "predictions"],
    })
}

/// A request of the Open Inference Protocol: the tensors of the model, or the fields of the pipeline.
fn inference(version: &Version) -> Value {
    let mut inputs = vec![tensors(&version.signature().inputs)];
    if let Some(pipeline) = version.pipeline() {
        inputs.push(tensors(&pipeline.tensor_signature().inputs));
    }
    json!({
        "type": "object",
        "properties": {
            "id": { "type": "string" },
            "parameters": { "type": "object" },
            "inputs": { "anyOf": inputs },
            "outputs": { "type": "array", "items": { "type": "object" } },
        },
        "required": ["inputs"],
    })
}

fn outputs(version: &Version) -> Value {
    let mut outputs = vec![tensors(&version.signature().outputs)];
    if let Some(pipeline) = version.pipeline() {
        outputs.push(tensors(&pipeline.tensor_signature().outputs));
    }
    json!({
        "type": "object",
        "properties": {
            "model_name": { "type": "string" },
            "model_version": { "type": "string" },
            "id": { "type": "string" },
            "outputs": { "anyOf": outputs },
        },
        "required": ["model_name", "model_version", "outputs"],
    })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn error() -> Value {
    json!({
        "type": "object",
        "properties": { "error": { "type": "string" }, "code": { "type": "string" } },
        "required": ["error", "code"],
    })
}
