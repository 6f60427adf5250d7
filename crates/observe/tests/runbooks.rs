//! Every alert has a runbook, every runbook is that of an alert or of a situation in the list, and
//! what they tell people to look at exists.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use tidegate_observe::{RuleOptions, rules};

/// The runbooks by their name, but for the list of them.
fn runbooks() -> BTreeMap<String, String> {
    let folder = fs::read_dir(support::root().join("docs/runbooks")).unwrap();
    let files = folder.map(|entry| entry.unwrap().path());
    let named = files.map(|path| {
        (
            path.file_stem().unwrap().to_str().unwrap().to_owned(),
            fs::read_to_string(path).unwrap(),
        )
    });
    named.filter(|(name, _)| name != "README").collect()
}

/// The alerts with the names of their runbooks.
fn alerts() -> BTreeMap<String, String> {
    let generated = support::generated();
    let alerts = generated.runbooks().into_iter().map(|(alert, url)| {
        let name = url
            .strip_prefix("https://runbooks.example/")
            .unwrap()
            .strip_suffix(".md")
            .unwrap();
        (alert.to_owned(), name.to_owned())
    });
    alerts.collect()
}

#[test]
fn every_alert_has_its_runbook() {
    let (alerts, runbooks) = (alerts(), runbooks());
    assert_eq!(alerts.len(), 18);
    for (alert, name) in &alerts {
        let text = runbooks
            .get(name)
            .unwrap_or_else(|| panic!("{alert}: docs/runbooks/{name}.md is missing"));
        assert!(
            text.lines().nth(2).unwrap().contains(&format!("`{alert}`")),
            "{name} does not name {alert}"
        );
    }
    let situations = situations();
    let used: BTreeSet<&String> = alerts.values().chain(&situations).collect();
    assert_eq!(
        used,
        runbooks.keys().collect(),
        "a runbook without an alert or a situation"
    );
}

/// The runbooks of situations that no alert names, as the list has them.
fn situations() -> Vec<String> {
    let list = fs::read_to_string(support::root().join("docs/runbooks/README.md")).unwrap();
    let (_, situations) = list.split_once("| situation | page |").unwrap();
    let links = situations.split("](").skip(1);
    links
        .map(|rest| rest.split(".md)").next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_runbook_has_the_same_sections_and_begins_with_the_doctor() {
    for (name, text) in runbooks() {
        for section in ["## What it means", "## See", "## Do first", "## Prevent"] {
            assert!(
                text.contains(&format!("\n{section}\n")),
                "{name} has no section \"{section}\""
            );
        }
        let first = text.lines().find(|line| line.starts_with("$ ")).unwrap();
        assert!(
            first.starts_with("$ tidegate doctor --url $SERVER"),
            "{name} begins with {first}"
        );
    }
}

#[test]
fn the_list_names_every_alert() {
    let list = fs::read_to_string(support::root().join("docs/runbooks/README.md")).unwrap();
    for (alert, name) in alerts() {
        let row = list
            .lines()
            .find(|line| line.contains(&format!("`{alert}`")));
        let row = row.unwrap_or_else(|| panic!("{alert} is not in the list"));
        assert!(row.contains(&format!("({name}.md)")), "{row}");
    }
}

#[test]
fn addresses_are_in_the_repository_unless_told_otherwise() {
    let file = rules(&support::slos(), &RuleOptions::default());
    for url in file.runbooks().values() {
        let path = url
            .strip_prefix("https://github.com/tidegate/tidegate/blob/main/")
            .unwrap();
        assert!(support::root().join(path).is_file(), "{url}");
    }
}

#[test]
fn every_metric_of_a_runbook_exists() {
    let mut known = support::known_metrics();
    known.extend(support::reference());
    for (name, text) in runbooks() {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for word in words.filter(|word| {
            ["nv_", "tidegate_", "process_"]
                .iter()
                .any(|prefix| word.starts_with(prefix))
        }) {
            assert!(known.contains(word), "{name}: there is no {word}");
        }
    }
}

#[test]
fn every_link_leads_to_a_runbook_or_guide() {
    let runbooks = runbooks();
    for (name, text) in &runbooks {
        for link in text
            .split("](")
            .skip(1)
            .map(|rest| rest.split(')').next().unwrap())
        {
            let target = link.split('#').next().unwrap().strip_suffix(".md").unwrap();
            let is_guide = target.starts_with("../guides/")
                && support::root()
                    .join(format!("docs/runbooks/{target}.md"))
                    .exists();
            let is_known = is_guide || runbooks.contains_key(target);
            assert!(is_known, "{name} links to {link}");
        }
    }
}
