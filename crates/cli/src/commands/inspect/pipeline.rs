//! The pipeline of a version, from the fields of a request to those of its answer.

use serde_json::Value;
use tidegate_core::{FieldSpec, LookupSpec, PipelineSpec, StepSpec};
use tidegate_engines::Engines;
use tidegate_serving::{VersionPlan, compile_pipeline};

use super::{FAILED, load};

/// Longest description of a step, in characters.
const MAX_STEP: usize = 90;

/// The lines about the pipeline of a version; none without one.
pub(super) fn lines(plan: &VersionPlan, engines: &Engines) -> Vec<(&'static str, String)> {
    let Some(spec) = &plan.manifest.pipeline else {
        return Vec::new();
    };
    let mut lines = vec![("pipeline", summary(spec))];
    lines.extend(spec.fields.iter().map(|spec| ("field", field(spec))));
    lines.extend(spec.lookups.iter().map(|spec| ("look up", lookup(spec))));
    lines.extend(spec.before.iter().map(|spec| ("before", step(spec))));
    let compiled = load(plan, engines)
        .map_err(|error| error.to_string())
        .and_then(|signature| compile_pipeline(plan, &signature));
    let pipeline = match compiled {
        Ok(Some(pipeline)) => pipeline,
        Ok(None) => return lines,
        Err(problem) => {
            lines.push(("pipeline", format!("{FAILED}{problem}")));
            return lines;
        }
    };
    for (input, taken) in pipeline.inputs() {
        lines.push(("to model", format!("{input}: {taken}")));
    }
    lines.extend(spec.after.iter().map(|spec| ("after", step(spec))));
    let answer: Vec<&str> = pipeline.response().collect();
    lines.push(("answer", answer.join(", ")));
    if !pipeline.unused().is_empty() {
        lines.push(("unused", pipeline.unused().join(", ")));
    }
    lines
}

fn summary(spec: &PipelineSpec) -> String {
    let (fields, before, after) = (spec.fields.len(), spec.before.len(), spec.after.len());
    let state = spec.state.as_ref();
    let state = state.map_or_else(String::new, |file| format!(", state in {file}"));
    format!("{fields} fields, {before} steps before the model, {after} after it{state}")
}

fn field(spec: &FieldSpec) -> String {
    let mut text = format!("{}: {}", spec.name, spec.field_type.name());
    if spec.optional {
        text.push_str(", optional");
    }
    if let Some(min) = spec.min {
        text.push_str(&format!(", from {min}"));
    }
    if let Some(max) = spec.max {
        text.push_str(&format!(", to {max}"));
    }
    if !spec.categories.is_empty() {
        text.push_str(&format!(", one of {} categories", spec.categories.len()));
    }
    text
}

fn lookup(spec: &LookupSpec) -> String {
    let entity = spec.entity.iter().map(|key| key.field());
    let features = spec.features.iter().map(|feature| feature.name.as_str());
    let age = spec.max_age_s;
    let age = age.map_or_else(String::new, |age| format!(", at most {age} s old"));
    format!(
        "{}: {} by {} from {} of {}{age}",
        spec.name,
        features.collect::<Vec<_>>().join(", "),
        entity.collect::<Vec<_>>().join(", "),
        spec.view,
        spec.store,
    )
}

/// The name of a step and its parameters.
fn step(spec: &StepSpec) -> String {
    let Ok(Value::Object(parameters)) = serde_json::to_value(spec) else {
        return String::new();
    };
    let mut text = String::new();
    for (key, value) in parameters.iter().filter(|(_, value)| !value.is_null()) {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        match key.as_str() {
            "step" => text.insert_str(0, &value),
            key => text.push_str(&format!(" {key}={value}")),
        }
    }
    match text.char_indices().nth(MAX_STEP) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
