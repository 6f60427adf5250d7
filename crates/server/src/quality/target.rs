//! What labels of a version are compared with.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::{DataType, Dim, QualityTask, TensorSpec};
use tidegate_serving::Version;

/// What the labels of a version are compared with. Written beside its predictions, as labels may come
/// when it is not loaded any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LabelTarget {
    /// The output.
    pub(super) output: String,
    pub(super) task: QualityTask,
    /// The names of the classes, in the order of the output; empty if they have none.
    pub(super) classes: Vec<String>,
    /// The place of the class that matters, where there are two.
    pub(super) positive: Option<usize>,
    /// From which probability on an answer is for that class.
    pub(super) threshold: f64,
}

impl LabelTarget {
    /// That of a version.
    ///
    /// # Errors
    /// If none of its outputs can be compared with labels, or not the one that it names.
    pub(super) fn of(version: &Version) -> Result<Self, String> {
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
        Ok(Self {
            output: output.name.clone(),
            task,
            classes,
            positive,
            threshold: spec.threshold,
        })
    }

    /// The class that a label names: by its name, or by its place.
    pub(super) fn class(&self, label: &Value) -> Option<String> {
        match label {
            Value::String(name) if self.classes.is_empty() || self.classes.contains(name) => {
                Some(name.clone())
            }
            Value::Number(number) => {
                // Clients in dynamic languages write 1.0 as readily as 1.
                let number = number.as_f64().filter(|number| number.fract() == 0.0)? as i64;
                let name = number.to_string();
                // Where classes are numbers, a number is one of them, and never a place.
                if self.classes.is_empty() || self.classes.contains(&name) {
                    return Some(name);
                }
                let are_numbers = self
                    .classes
                    .iter()
                    .any(|class| class.parse::<f64>().is_ok());
                let place = usize::try_from(number).ok().filter(|_| !are_numbers)?;
                self.classes.get(place).cloned()
            }
            // Of two classes, the one that matters is the one that is true.
            Value::Bool(is_positive) => {
                let positive = self.positive?;
                let place = if *is_positive { positive } else { 1 - positive };
                self.classes.get(place).cloned()
            }
            _ => None,
        }
    }
}

/// Whether a label says that something is so.
pub(super) fn truth(label: &Value) -> Option<bool> {
    match label {
        Value::Bool(is_true) => Some(*is_true),
        Value::Number(number) if number.as_f64() == Some(1.0) => Some(true),
        Value::Number(number) if number.as_f64() == Some(0.0) => Some(false),
        _ => None,
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target(classes: &[&str]) -> LabelTarget {
        LabelTarget {
            output: "probabilities".to_owned(),
            task: QualityTask::Classes,
            classes: classes.iter().map(|&class| class.to_owned()).collect(),
            positive: (classes.len() == 2).then_some(1),
            threshold: 0.5,
        }
    }

    #[test]
    fn labels_name_classes_by_name_place_or_truth() {
        let fraud = target(&["legitimate", "fraud"]);
        assert_eq!(fraud.class(&json!("fraud")).as_deref(), Some("fraud"));
        assert_eq!(fraud.class(&json!(0)).as_deref(), Some("legitimate"));
        assert_eq!(fraud.class(&json!(true)).as_deref(), Some("fraud"));
        assert_eq!(fraud.class(&json!(false)).as_deref(), Some("legitimate"));
        for wrong in [json!("Fraud"), json!(2), json!(-1), json!(0.5)] {
            assert_eq!(fraud.class(&wrong), None, "{wrong}");
        }
        let ratings = target(&["1", "2", "3"]);
        assert_eq!(ratings.class(&json!(3)).as_deref(), Some("3"));
        assert_eq!(ratings.class(&json!(0)), None);
        let unnamed = target(&[]);
        assert_eq!(unnamed.class(&json!(7)).as_deref(), Some("7"));
        assert_eq!(unnamed.class(&json!(true)), None);
    }

    #[test]
    fn truth_is_a_boolean_or_one_or_zero() {
        assert_eq!(truth(&json!(true)), Some(true));
        assert_eq!(truth(&json!(1)), Some(true));
        assert_eq!(truth(&json!(0.0)), Some(false));
        assert_eq!(truth(&json!("yes")), None);
        assert_eq!(truth(&json!(2)), None);
    }
}
