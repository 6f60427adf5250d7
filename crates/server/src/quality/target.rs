//! What labels of a version are compared with.

use tidegate_core::{DataType, Dim, QualityTask, TensorSpec};
use tidegate_datasets::LabelTarget;
use tidegate_serving::Version;

/// What the labels of a version are compared with.
///
/// # Errors
/// If none of its outputs can be compared with labels, or not the one that it names.
pub(super) fn label_target(version: &Version) -> Result<LabelTarget, String> {
    let spec = version.plan().manifest.quality.clone().unwrap_or_default();
    let outputs = &version.model_signature().outputs;
    let output = match spec.output.as_str() {
        "" => only_comparable(outputs, version)?,
        name => outputs
            .iter()
            .find(|output| output.name == name)
            .ok_or_else(|| {
                format!("quality.output names {name:?}, the model has no such output")
            })?,
    };
    let classes = version.labels(&output.name).unwrap_or_default().to_vec();
    let task = spec.task.unwrap_or_else(|| task_of(output, &classes));
    let positive = match (&spec.positive, classes.len()) {
        (Some(name), _) => Some(place_of(name, &classes)?),
        (None, 2) => Some(1),
        (None, _) => None,
    };
    if !(0.0..=1.0).contains(&spec.threshold) {
        let threshold = spec.threshold;
        return Err(format!(
            "quality.threshold is {threshold}, it must be from 0 to 1"
        ));
    }
    Ok(LabelTarget {
        output: output.name.clone(),
        task,
        classes,
        positive,
        threshold: spec.threshold,
    })
}

fn place_of(name: &str, classes: &[String]) -> Result<usize, String> {
    let place = classes.iter().position(|class| class == name);
    match (place, classes.len()) {
        (Some(place), 2) => Ok(place),
        (Some(_), count) => Err(format!(
            "quality.positive needs an output of two classes, this one has {count}"
        )),
        (None, _) => Err(format!(
            "quality.positive names {name:?}, which is not a class"
        )),
    }
}

/// The only output that labels can be compared with. Of several, the one with names of classes.
fn only_comparable<'s>(
    outputs: &'s [TensorSpec],
    version: &Version,
) -> Result<&'s TensorSpec, String> {
    let comparable: Vec<&TensorSpec> = outputs
        .iter()
        .filter(|output| is_comparable(output))
        .collect();
    let named = comparable
        .iter()
        .filter(|output| version.labels(&output.name).is_some());
    let named: Vec<&&TensorSpec> = named.collect();
    match (comparable.as_slice(), named.as_slice()) {
        ([only], _) => Ok(only),
        (_, [only]) => Ok(only),
        ([], _) => Err("no output has a value, or a value for each class, for each row".to_owned()),
        _ => Err(
            "several outputs could be compared with labels: name one in quality.output".to_owned(),
        ),
    }
}

/// Whether an output has a value or a row of values for each row.
fn is_comparable(output: &TensorSpec) -> bool {
    output.dims.as_ref().is_some_and(|dims| dims.len() <= 2)
}

fn task_of(output: &TensorSpec, classes: &[String]) -> QualityTask {
    let is_float = matches!(
        output.datatype,
        DataType::Fp16 | DataType::Bf16 | DataType::Fp32 | DataType::Fp64
    );
    match is_float && classes.is_empty() && !has_width(output) {
        true => QualityTask::Number,
        false => QualityTask::Classes,
    }
}

/// Whether an output has several values for each row.
fn has_width(output: &TensorSpec) -> bool {
    let dims = output.dims.as_deref().unwrap_or_default();
    dims.iter().skip(1).any(|dim| *dim != Dim::Fixed(1))
}
