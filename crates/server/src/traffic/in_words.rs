//! What a change of a policy means, in words.

use tidegate_delivery::policy::{TrafficPolicy, diff};

/// The changes from one policy to the next, one in a line; without a policy, the default version
/// answers.
pub(super) fn changes(
    before: Option<&TrafficPolicy>,
    after: Option<&TrafficPolicy>,
) -> Vec<String> {
    match (before, after) {
        (None, None) => Vec::new(),
        (Some(before), Some(after)) => diff(before, after),
        (Some(_), None) => vec!["policy removed: the default version answers".to_owned()],
        (None, Some(after)) => added(after),
    }
}

fn added(policy: &TrafficPolicy) -> Vec<String> {
    let mut lines = vec!["policy added: until now the default version answers".to_owned()];
    if let Some(sticky) = policy.sticky() {
        lines.push(format!("sticky key: {sticky}"));
    }
    for weighted in policy.split().versions() {
        lines.push(format!(
            "version {}: added with {}",
            weighted.version, weighted.weight
        ));
    }
    for rule in policy.rules() {
        lines.push(format!("rule {:?}: added", rule.name));
    }
    for experiment in policy.experiments() {
        lines.push(format!("experiment {:?}: added", experiment.name));
    }
    if let Some(cascade) = policy.cascade() {
        lines.push(format!("cascade: {cascade}"));
    }
    for shadow in policy.shadows() {
        lines.push(format!(
            "shadow of version {}: added with {}",
            shadow.version, shadow.share
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_comes_or_goes_is_told() {
        let policy: TrafficPolicy = serde_json::from_value(serde_json::json!({
            "versions": [{"version": 7, "weight": "90%"}, {"version": 8, "weight": "10%"}],
        }))
        .unwrap();
        assert!(changes(None, None).is_empty());
        assert!(changes(Some(&policy), Some(&policy)).is_empty());
        assert_eq!(changes(None, Some(&policy)).len(), 3);
        assert_eq!(
            changes(Some(&policy), None),
            ["policy removed: the default version answers"]
        );
    }
}
