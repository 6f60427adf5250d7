//! The JSON Schema of `model.toml`. `UPDATE_DOCS=1` writes it.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::path::Path;

use serde_json::{Value, json};
use tidegate_core::Manifest;

#[test]
fn model_schema_is_made_from_the_manifest() {
    let mut schema = schemars::schema_for!(Manifest);
    let types = schema.get_mut("$defs").unwrap();
    types["EngineChoice"] = engine_choice();
    let made = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/model.schema.json");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        found,
        made,
        "{} is out of date: run with UPDATE_DOCS=1",
        path.display()
    );
}

/// The names of the engines, which the manifest's own type does not know.
fn engine_choice() -> Value {
    let auto = json!({
        "description": "The first engine of the server that can be used: ONNX Runtime where its library is found, else portable.",
        "type": "string",
        "const": "auto",
    });
    let mut choices = vec![auto];
    for engine in tidegate_engines::all(None) {
        choices.push(json!({
            "description": engine.description(),
            "type": "string",
            "const": engine.name(),
        }));
    }
    choices.push(json!({
        "description": "Other inference servers, as the section `remote` says",
        "type": "string",
        "const": tidegate_engines::REMOTE,
    }));
    json!({ "description": "The engine that executes an artifact.", "oneOf": choices })
}
