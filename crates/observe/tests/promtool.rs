//! The rules, read and evaluated by Prometheus's own promtool.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::fs;
use std::path::Path;

use tidegate_observe::{RuleFile, RuleOptions, rules};

#[test]
fn prometheus_reads_the_rules() {
    let folder = support::folder("rules");
    let file = folder.join("rules.yaml");
    fs::write(&file, support::generated().to_yaml().unwrap()).unwrap();
    let printed = support::promtool(&["check", "rules"], &file);
    // Of each objective: its target, 3 for each of 7 windows, 4 alerts. What is left of the budget:
    // 3 for each 30 days, 1 for 3 days, none for a month. 14 general alerts.
    assert!(printed.contains("SUCCESS: 126 rules found"), "{printed}");

    let general = folder.join("general.yaml");
    fs::write(
        &general,
        rules(&[], &RuleOptions::default()).to_yaml().unwrap(),
    )
    .unwrap();
    let printed = support::promtool(&["check", "rules"], &general);
    assert!(printed.contains("SUCCESS: 14 rules found"), "{printed}");
}

/// Each file of `tests/promtool/` is a set of cases computed by hand. It names the groups of rules
/// that it is about, for promtool takes its time.
#[test]
fn rules_give_what_was_computed_by_hand() {
    let folder = support::folder("cases");
    for group in support::generated().groups {
        let file = folder.join(format!("{}.rules.yaml", group.name));
        fs::write(
            file,
            RuleFile {
                groups: vec![group],
            }
            .to_yaml()
            .unwrap(),
        )
        .unwrap();
    }
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promtool");
    let cases = fs::read_dir(cases)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let cases: Vec<_> = cases
        .filter(|case| {
            case.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    assert!(cases.len() >= 5, "{cases:?}");
    for case in cases {
        let copy = folder.join(case.file_name().unwrap());
        fs::copy(&case, &copy).unwrap();
        support::promtool(&["test", "rules"], &copy);
    }
}
