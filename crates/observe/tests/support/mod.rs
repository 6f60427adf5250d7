//! What the tests of this crate share: promtool, and the objectives of its test cases.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use tidegate_observe::{Objective, RuleFile, RuleOptions, Slo, rules};

/// What Prometheus itself records.
const PROMETHEUS: [&str; 2] = ["up", "ALERTS"];

#[derive(Deserialize)]
struct Objectives {
    slo: Vec<Objective>,
}

/// The objectives of the test cases.
pub(crate) fn slos() -> Vec<Slo> {
    let file: Objectives = toml::from_str(include_str!("../promtool/objectives.toml")).unwrap();
    Objective::parse_all(&file.slo).unwrap()
}

/// Their rules, with runbooks at a short address and a memory limit of 1 GB.
pub(crate) fn generated() -> RuleFile {
    let options = RuleOptions {
        runbook_base: "https://runbooks.example/".to_owned(),
        memory_limit_bytes: Some(1_000_000_000),
        ..RuleOptions::default()
    };
    rules(&slos(), &options)
}

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The metrics of `docs/reference/metrics.md`.
pub(crate) fn reference() -> Vec<String> {
    let page = std::fs::read_to_string(root().join("docs/reference/metrics.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let names: Vec<String> = rows
        .map(|row| row.split('`').next().unwrap().to_owned())
        .collect();
    assert!(names.len() > 20, "{names:?}");
    names
}

/// Every name that a query may use: the reference's, its histograms' parts, what our rules record,
/// Prometheus's own.
pub(crate) fn known_metrics() -> BTreeSet<String> {
    let page = std::fs::read_to_string(root().join("docs/reference/metrics.md")).unwrap();
    let mut known: BTreeSet<String> = PROMETHEUS.map(str::to_owned).into();
    for name in reference() {
        if page.contains(&format!("| `{name}` | histogram |")) {
            known.extend(["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")));
        } else {
            known.insert(name);
        }
    }
    known.extend(generated().recorded().into_iter().map(str::to_owned));
    known
}

/// An empty folder of this name.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs promtool, which must be content; says what it printed.
pub(crate) fn promtool(arguments: &[&str], file: &Path) -> String {
    let output = Command::new("promtool").args(arguments).arg(file).output();
    let output = output.unwrap_or_else(|error| {
        panic!("promtool cannot be run ({error}): it belongs to Prometheus; on Debian, `apt-get install prometheus`")
    });
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(
        output.status.success(),
        "promtool {} {}:\n{printed}",
        arguments.join(" "),
        file.display()
    );
    printed
}
