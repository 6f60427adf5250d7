//! The message that asks for a new version.

use serde_json::{Value, json};
use tidegate_observe::alerting::rfc3339;
use tidegate_store::RetrainTrigger;

/// A trigger as it is sent, and as templates see it.
pub(super) fn message(trigger: &RetrainTrigger) -> Value {
    let reason: Value = serde_json::from_str(&trigger.reason).unwrap_or_default();
    let (name, version) = trigger.dataset.split_once('@').unwrap_or_default();
    json!({
        "format": 1,
        "event": "retrain",
        "trigger": trigger.id,
        "rule": trigger.rule,
        "endpoint": trigger.endpoint,
        "fired_at": rfc3339(u64::try_from(trigger.fired_ms).unwrap_or(0)),
        "message": reason["message"],
        "reason": reason,
        "dataset": {
            "reference": trigger.dataset,
            "name": name,
            "version": version.parse::<i64>().ok(),
            "digest": format!("sha256:{}", trigger.dataset_digest),
        },
        "approved_by": trigger.decided_by,
    })
}
