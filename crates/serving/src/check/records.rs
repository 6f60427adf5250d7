//! Samples of records: through the whole pipeline, and compared with the decisions that they must get.

use serde_json::Value;
use tidegate_core::{Tensor, Tolerance};
use tidegate_engines::Instance;
use tidegate_pipeline::{BadRows, PipelineError};

use super::CheckedModel;
use crate::sample::RecordSample;

/// Runs a sample; the answer has the form of its request.
pub(super) fn run(
    model: CheckedModel<'_>,
    instance: &mut dyn Instance,
    sample: &RecordSample,
) -> Result<Value, String> {
    let pipeline = model
        .pipeline
        .ok_or("it has records, and model.toml has no section [pipeline]")?;
    let mut run = pipeline
        .read_with_features(&sample.body, BadRows::FailRequest)
        .and_then(|records| pipeline.before(records))
        .map_err(text)?;
    let given = super::run(model, instance, run.take_inputs())?;
    let given = match model.wiring {
        None => given,
        Some(wiring) => wiring.visible_outputs(given),
    };
    let outputs: Vec<(usize, Tensor)> = given.into_iter().enumerate().collect();
    let answer = pipeline.after(run, &outputs).map_err(text)?;
    let mut json = Vec::new();
    answer.encode(&mut json);
    serde_json::from_slice(&json).map_err(|error| error.to_string())
}

fn text(error: PipelineError) -> String {
    error.to_string()
}

/// An error names the first value that differs, where, and from what.
pub(super) fn compare(
    found: &Value,
    sample: &RecordSample,
    tolerance: Tolerance,
) -> Result<(), String> {
    let expected = sample.predictions.as_ref();
    let expected = expected.ok_or("it has no expected predictions")?;
    match difference("predictions", found, expected, tolerance) {
        Some(difference) => Err(difference),
        None => Ok(()),
    }
}

fn difference(
    place: &str,
    found: &Value,
    expected: &Value,
    tolerance: Tolerance,
) -> Option<String> {
    match (found, expected) {
        (Value::Number(one), Value::Number(other)) => {
            let is_near = tolerance.accepts(one.as_f64()?, other.as_f64()?);
            (!is_near).then(|| differs(place, found, expected))
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let mut pairs = one.iter().zip(other).enumerate();
            pairs.find_map(|(at, (one, other))| {
                difference(&format!("{place}[{at}]"), one, other, tolerance)
            })
        }
        // Fields that the sample leaves out are not compared.
        (Value::Object(one), Value::Object(other)) => other.iter().find_map(|(name, other)| {
            let place = format!("{place}.{name}");
            match one.get(name) {
                Some(one) => difference(&place, one, other, tolerance),
                None => Some(format!("{place} is not in the answer")),
            }
        }),
        _ if found == expected => None,
        _ => Some(differs(place, found, expected)),
    }
}

fn differs(place: &str, found: &Value, expected: &Value) -> String {
    format!("{place} is {found}, expected is {expected}")
}
