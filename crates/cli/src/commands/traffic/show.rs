//! Policies and their changes as text.

use tidegate_delivery::policy::Split;

use super::bodies::{Change, EndpointPolicy, ShadowFigures, Update};
use crate::output::{print_line, print_table, timestamp};

/// Disagreements that are shown of each shadow.
const SHOWN: usize = 3;

pub(super) fn policy(endpoint: &EndpointPolicy) {
    print_line!("{}", title(endpoint));
    if let Some(waiting) = &endpoint.waiting {
        print_line!("not in force yet: {waiting}");
    }
    let policy = &endpoint.policy;
    if let Some(sticky) = policy.sticky() {
        print_line!("sticky key: {sticky}");
    }
    let header = ["REQUESTS", "VERSION", "WEIGHT"];
    let mut rows = vec![header.map(str::to_owned)];
    for rule in policy.rules() {
        let when: Vec<String> = rule.when.iter().map(ToString::to_string).collect();
        let when = format!("{}: {}", rule.name, when.join(" and "));
        add_split(&when, &rule.split, &mut rows);
    }
    let rest = if policy.rules().is_empty() {
        "all"
    } else {
        "all others"
    };
    add_split(rest, policy.split(), &mut rows);
    for shadow in policy.shadows() {
        let (version, share) = (shadow.version.to_string(), shadow.share.to_string());
        rows.push(["copies for a shadow".to_owned(), version, share]);
    }
    print_table(&rows);
}

fn title(endpoint: &EndpointPolicy) -> String {
    let EndpointPolicy {
        endpoint: name,
        source,
        revision,
        ..
    } = endpoint;
    let (Some(at), Some(by)) = (endpoint.changed_ms, &endpoint.changed_by) else {
        return format!("{name}: of the {source}, revision {revision}");
    };
    let when = timestamp(at);
    match &endpoint.comment {
        Some(comment) => format!("{name}: revision {revision}, set {when} by {by}: {comment}"),
        None => format!("{name}: revision {revision}, set {when} by {by}"),
    }
}

fn add_split(requests: &str, split: &Split, rows: &mut Vec<[String; 3]>) {
    for (at, weighted) in split.versions().iter().enumerate() {
        let requests = if at == 0 { requests } else { "" };
        rows.push([
            requests.to_owned(),
            weighted.version.to_string(),
            weighted.weight.to_string(),
        ]);
    }
}

pub(super) fn update(endpoint: &str, update: &Update) {
    let Update {
        revision, changes, ..
    } = update;
    if changes.is_empty() {
        print_line!("{endpoint} is at revision {revision}: nothing changes");
        return;
    }
    for change in changes {
        print_line!("{change}");
    }
    match &update.waiting {
        None => print_line!("{endpoint} is at revision {revision}, in force"),
        Some(why) => print_line!("{endpoint} is at revision {revision}, not in force yet: {why}"),
    }
}

pub(super) fn history(changes: Vec<Change>) {
    if changes.is_empty() {
        print_line!("the traffic policy was never changed");
        return;
    }
    let header = ["REVISION", "WHEN", "WHO", "ACTION", "CHANGES", "COMMENT"];
    let mut rows = vec![header.map(str::to_owned)];
    for change in changes {
        rows.push([
            change.revision.to_string(),
            timestamp(change.at_ms),
            change.actor,
            change.action,
            change.changes.join("; "),
            change.comment,
        ]);
    }
    print_table(&rows);
}

pub(super) fn shadows(shadows: Vec<ShadowFigures>) {
    if shadows.is_empty() {
        print_line!("the traffic policy has no shadows");
        return;
    }
    let header = [
        "VERSION",
        "SHARE",
        "COMPARED",
        "AGREED",
        "FAILED",
        "DROPPED",
        "SKIPPED",
        "MEAN MS",
        "LAST ERROR",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    for shadow in &shadows {
        rows.push([
            shadow.version.clone(),
            shadow.share.clone(),
            shadow.compared.to_string(),
            shadow.agreed.to_string(),
            shadow.failed.to_string(),
            shadow.dropped.to_string(),
            shadow.skipped.to_string(),
            shadow
                .mean_ms
                .map_or_else(|| "-".to_owned(), |mean| format!("{mean:.2}")),
            shadow.last_error.clone().unwrap_or_default(),
        ]);
    }
    print_table(&rows);
    for shadow in &shadows {
        for pair in shadow.worst.iter().take(SHOWN) {
            let distance = pair
                .distance
                .map_or_else(|| "not comparable".to_owned(), |by| format!("{by} apart"));
            print_line!(
                "version {}, output {}: {distance}; clients got {:?}, the shadow gave {:?}",
                shadow.version,
                pair.output,
                pair.primary,
                pair.shadow
            );
        }
    }
}
