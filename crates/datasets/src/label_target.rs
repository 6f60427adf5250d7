//! What labels of a version are compared with.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::QualityTask;

/// What the labels of a version are compared with. Written beside its predictions, as labels may come
/// when it is not loaded any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelTarget {
    /// The output.
    pub output: String,
    /// What kind of answer it is.
    pub task: QualityTask,
    /// The names of the classes, in the order of the output; empty if they have none.
    pub classes: Vec<String>,
    /// The place of the class that matters, where there are two.
    pub positive: Option<usize>,
    /// From which probability on an answer is for that class.
    pub threshold: f64,
}

impl LabelTarget {
    /// The class that a label names: by its name, or by its place.
    pub fn class(&self, label: &Value) -> Option<String> {
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
pub fn truth(label: &Value) -> Option<bool> {
    match label {
        Value::Bool(is_true) => Some(*is_true),
        Value::Number(number) if number.as_f64() == Some(1.0) => Some(true),
        Value::Number(number) if number.as_f64() == Some(0.0) => Some(false),
        _ => None,
    }
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
