//! Labels as clients send them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_redaction::Redactor;
use tidegate_serving::{ErrorCode, InferError, is_captured, prediction_ms};
use tidegate_store::{Feedback, FeedbackOutcome};
use utoipa::ToSchema;
use uuid::Uuid;

/// Labels of one request, at most.
pub(super) const MAX_LABELS: usize = 10_000;
/// The longest label, in bytes of its JSON.
const MAX_LABEL_BYTES: usize = 1024;

/// Labels: a list, or a single one.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum FeedbackBody {
    /// Several.
    Many {
        /// At most 10,000.
        feedback: Vec<Label>,
    },
    /// One.
    One(Label),
}

/// What came true of a row of a prediction.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Label {
    /// The id that the answer had.
    prediction_id: String,
    /// The row of the request, from 0.
    #[serde(default)]
    row: u32,
    /// The class by its name or place, `true` or `false`, or the true number.
    #[schema(value_type = Object)]
    label: Value,
    /// When it came true, in milliseconds since 1970; now by default.
    at_ms: Option<u64>,
}

/// What became of labels.
#[derive(Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FeedbackReceipt {
    /// First labels of their rows.
    pub(super) new: u64,
    /// Labels that replace other ones.
    pub(super) corrected: u64,
    /// Labels that their rows had already.
    pub(super) same: u64,
    /// Labels of predictions that are not among the captured ones: there is nothing to compare them with,
    /// and they are not kept.
    pub(super) not_captured: u64,
}

impl FeedbackReceipt {
    pub(super) fn new(outcomes: &[FeedbackOutcome], not_captured: u64) -> Self {
        let mut receipt = Self {
            not_captured,
            ..Self::default()
        };
        for outcome in outcomes {
            match outcome {
                FeedbackOutcome::New => receipt.new += 1,
                FeedbackOutcome::Corrected => receipt.corrected += 1,
                FeedbackOutcome::Same => receipt.same += 1,
            }
        }
        receipt
    }
}

/// Who sends labels of which endpoint, and when.
pub(super) struct Sender<'a> {
    pub(super) endpoint: &'a str,
    /// The share of its requests that is captured.
    pub(super) rate: f64,
    pub(super) principal: String,
    /// Empty for those who act for all.
    pub(super) tenant: &'a str,
    pub(super) now_ms: u64,
}

/// The labels of a body, and how many are of predictions that are not captured.
///
/// # Errors
/// Which label is wrong, and why: then none is taken.
pub(super) fn rows(
    body: FeedbackBody,
    sender: &Sender<'_>,
    redactor: &Redactor,
) -> Result<(Vec<Feedback>, u64), InferError> {
    let labels = match body {
        FeedbackBody::One(label) => vec![label],
        FeedbackBody::Many { feedback } => feedback,
    };
    if labels.len() > MAX_LABELS {
        let count = labels.len();
        return Err(InferError::new(
            ErrorCode::MalformedRequest,
            format!("the body has {count} labels, at most {MAX_LABELS} are taken at once"),
        ));
    }
    let mut rows = Vec::with_capacity(labels.len());
    let mut not_captured = 0;
    for (at, label) in labels.into_iter().enumerate() {
        let (id, row) = row(label, sender, redactor).map_err(|problem| {
            InferError::new(
                ErrorCode::MalformedRequest,
                format!("feedback {at}: {problem}"),
            )
        })?;
        match is_captured(id, sender.rate) {
            true => rows.push(row),
            false => not_captured += 1,
        }
    }
    Ok((rows, not_captured))
}

fn row(label: Label, sender: &Sender<'_>, redactor: &Redactor) -> Result<(Uuid, Feedback), String> {
    let id = prediction_id(&label.prediction_id, sender.now_ms)?;
    let value = match &label.label {
        Value::Bool(_) | Value::Number(_) => label.label.to_string(),
        Value::String(text) => Value::from(redactor.text(text)).to_string(),
        _ => return Err("the label must be a text, a number, true or false".to_owned()),
    };
    if value.len() > MAX_LABEL_BYTES {
        return Err(format!("the label is longer than {MAX_LABEL_BYTES} bytes"));
    }
    let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let feedback = Feedback {
        endpoint: sender.endpoint.to_owned(),
        prediction_id: id.to_string(),
        row: i64::from(label.row),
        tenant: sender.tenant.to_owned(),
        prediction_ms: ms(prediction_ms(id)),
        label: value,
        event_ms: label.at_ms.map(ms),
        received_ms: ms(sender.now_ms),
        sent_by: sender.principal.clone(),
    };
    Ok((id, feedback))
}

/// Clocks of servers may differ by so much.
const MAX_CLOCK_DIFFERENCE_MS: u64 = 24 * 3600 * 1000;

fn prediction_id(text: &str, now_ms: u64) -> Result<Uuid, String> {
    let id: Option<Uuid> = text.parse().ok();
    let id = id.filter(|id| id.get_version_num() == 7);
    let id = id.ok_or("prediction_id is not the id of an answer")?;
    if prediction_ms(id) > now_ms + MAX_CLOCK_DIFFERENCE_MS {
        return Err("prediction_id is of the future".to_owned());
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_redaction::PrivacyConfig;

    use super::*;

    const ID: &str = "019ac4a8-5f00-7000-8000-000000000001";

    fn read(body: Value) -> Result<(Vec<Feedback>, u64), String> {
        let body = serde_json::from_value(body).map_err(|error| error.to_string())?;
        let sender = Sender {
            endpoint: "fraud",
            rate: 1.0,
            principal: "shop".to_owned(),
            tenant: "",
            now_ms: 1_795_770_000_000,
        };
        let redactor = Redactor::new(&PrivacyConfig::default()).unwrap();
        rows(body, &sender, &redactor).map_err(|error| error.message.into_owned())
    }

    #[test]
    fn one_label_or_many_are_taken() {
        let (one, not_captured) = read(json!({"prediction_id": ID, "label": "fraud"})).unwrap();
        assert_eq!(
            (one.len(), one[0].row, one[0].label.as_str()),
            (1, 0, "\"fraud\"")
        );
        assert_eq!(not_captured, 0);
        let many = json!({"feedback": [
            {"prediction_id": ID, "row": 1, "label": true},
            {"prediction_id": ID, "row": 2, "label": 0.5, "at_ms": 7},
        ]});
        let (many, _) = read(many).unwrap();
        assert_eq!((many[0].row, many[1].event_ms), (1, Some(7)));
    }

    #[test]
    fn a_wrong_label_is_named_and_none_is_taken() {
        for (label, problem) in [
            (
                json!({"prediction_id": "x", "label": 1}),
                "feedback 0: prediction_id is not",
            ),
            (
                json!({"prediction_id": ID, "label": [1]}),
                "feedback 0: the label must be",
            ),
            (
                json!({"prediction_id": "ffffffff-ffff-7000-8000-000000000001", "label": 1}),
                "of the future",
            ),
            (
                json!({"prediction_id": "8d8ac754-8d3c-4d5c-9d84-8e0a4bb6a1f1", "label": 1}),
                "prediction_id is not",
            ),
        ] {
            let error = read(json!({"feedback": [label]})).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
