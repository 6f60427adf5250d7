//! What changes between two policies, in words.

use super::share::Share;
use super::split::Split;
use super::written::Fallback;
use super::{Experiment, Rule, Shadow, TrafficPolicy};

/// The changes from one policy to the next, one in a line; empty if there are none.
///
/// ```
/// use tidegate_delivery::policy::{TrafficPolicy, diff};
///
/// let before: TrafficPolicy = toml::from_str("versions = [{ version = 7 }]")?;
/// let after = "versions = [{ version = 7, weight = '95%' }, { version = 8, weight = '5%' }]";
/// let after: TrafficPolicy = toml::from_str(after)?;
/// assert_eq!(
///     diff(&before, &after),
///     ["version 7: 100% -> 95%", "version 8: added with 5%", "5% of the requests move"],
/// );
/// # Ok::<(), toml::de::Error>(())
/// ```
pub fn diff(before: &TrafficPolicy, after: &TrafficPolicy) -> Vec<String> {
    let mut changes = Vec::new();
    if before.sticky != after.sticky {
        let name = |policy: &TrafficPolicy| match &policy.sticky {
            None => "none".to_owned(),
            Some(attribute) => attribute.to_string(),
        };
        let (old, new) = (name(before), name(after));
        changes.push(format!(
            "sticky key: {old} -> {new}; every key is assigned anew"
        ));
    }
    diff_split("", &before.split, &after.split, &mut changes);
    diff_rules(&before.rules, &after.rules, &mut changes);
    diff_experiments(&before.experiments, &after.experiments, &mut changes);
    if before.cascade != after.cascade {
        let name = |policy: &TrafficPolicy| match &policy.cascade {
            None => "none".to_owned(),
            Some(cascade) => cascade.to_string(),
        };
        let (old, new) = (name(before), name(after));
        changes.push(format!("cascade: {old} -> {new}"));
    }
    diff_shadows(&before.shadows, &after.shadows, &mut changes);
    if before.fallbacks != after.fallbacks {
        let (old, new) = (fallback_names(before), fallback_names(after));
        changes.push(format!("fallbacks: {old} -> {new}"));
    }
    changes
}

/// `place` stands before each line: empty, or the rule.
fn diff_split(place: &str, before: &Split, after: &Split, changes: &mut Vec<String>) {
    let has = |split: &Split, version| split.versions().iter().any(|one| one.version == version);
    for old in before.versions() {
        let (version, weight) = (&old.version, old.weight);
        if !has(after, version.clone()) {
            changes.push(format!("{place}version {version}: removed, had {weight}"));
        } else if after.weight_of(version) != weight {
            let next = after.weight_of(version);
            changes.push(format!("{place}version {version}: {weight} -> {next}"));
        }
    }
    for new in after.versions() {
        if !has(before, new.version.clone()) {
            changes.push(format!(
                "{place}version {}: added with {}",
                new.version, new.weight
            ));
        }
    }
    let moved = before.moved_share(after);
    if moved > Share::NONE {
        changes.push(format!("{place}{moved} of the requests move"));
    }
}

fn diff_rules(before: &[Rule], after: &[Rule], changes: &mut Vec<String>) {
    let find = |rules: &[Rule], name: &str| rules.iter().position(|rule| rule.name == name);
    for old in before {
        if find(after, &old.name).is_none() {
            changes.push(format!("rule {:?}: removed", old.name));
        }
    }
    for (position, new) in after.iter().enumerate() {
        let place = format!("rule {:?}: ", new.name);
        let Some(old_position) = find(before, &new.name) else {
            let (when, split) = (conditions(new), split_in_words(&new.split));
            let at = position + 1;
            changes.push(format!("{place}added at position {at}: if {when}, {split}"));
            continue;
        };
        let old = &before[old_position];
        if conditions(old) != conditions(new) {
            changes.push(format!(
                "{place}if {} -> if {}",
                conditions(old),
                conditions(new)
            ));
        }
        diff_split(&place, &old.split, &new.split, changes);
    }
    let kept = |rules: &[Rule], others: &[Rule]| -> Vec<String> {
        let names = rules.iter().map(|rule| rule.name.clone());
        names.filter(|name| find(others, name).is_some()).collect()
    };
    let order = kept(after, before);
    if kept(before, after) != order {
        changes.push(format!("rules: new order {}", order.join(", ")));
    }
}

fn conditions(rule: &Rule) -> String {
    let when: Vec<String> = rule.when.iter().map(ToString::to_string).collect();
    when.join(" and ")
}

fn split_in_words(split: &Split) -> String {
    let versions = split.versions().iter();
    let words: Vec<String> = versions
        .map(|one| format!("version {} with {}", one.version, one.weight))
        .collect();
    words.join(", ")
}

fn diff_experiments(before: &[Experiment], after: &[Experiment], changes: &mut Vec<String>) {
    for old in before {
        if after.iter().all(|new| new.name != old.name) {
            changes.push(format!("experiment {:?}: removed", old.name));
        }
    }
    for new in after {
        let words = experiment_in_words(new);
        match before.iter().find(|old| old.name == new.name) {
            None => changes.push(format!("experiment {:?}: added: {words}", new.name)),
            Some(old) if old != new => {
                let old = experiment_in_words(old);
                changes.push(format!("experiment {:?}: {old} -> {words}", new.name));
            }
            Some(_) => {}
        }
    }
}

fn experiment_in_words(experiment: &Experiment) -> String {
    let arms = split_in_words(&experiment.arms);
    let (users, unit) = (experiment.users, &experiment.unit);
    format!("{users} of the users by {unit}: {arms}")
}

fn diff_shadows(before: &[Shadow], after: &[Shadow], changes: &mut Vec<String>) {
    for old in before {
        let version = &old.version;
        match after.iter().find(|shadow| shadow.version == *version) {
            None => changes.push(format!("shadow of version {version}: removed")),
            Some(new) if new.share != old.share => {
                changes.push(format!(
                    "shadow of version {version}: {} -> {}",
                    old.share, new.share
                ));
            }
            Some(_) => {}
        }
    }
    for new in after {
        if !before.iter().any(|shadow| shadow.version == new.version) {
            changes.push(format!(
                "shadow of version {}: added with {}",
                new.version, new.share
            ));
        }
    }
}

fn fallback_names(policy: &TrafficPolicy) -> String {
    if policy.fallbacks.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<String> = policy.fallbacks.iter().map(fallback_name).collect();
    names.join(", ")
}

fn fallback_name(fallback: &Fallback) -> String {
    match (
        &fallback.version,
        &fallback.endpoint,
        fallback.cached_max_age_ms,
    ) {
        (Some(version), ..) => format!("version {version}"),
        (_, Some(endpoint), _) => format!("endpoint {endpoint}"),
        (.., age_ms) => format!("an answer of up to {} ms ago", age_ms.unwrap_or_default()),
    }
}
