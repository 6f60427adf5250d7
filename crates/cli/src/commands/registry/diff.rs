//! `tidegate registry diff`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use tidegate_core::Signature;
use tidegate_engines::Engines;
use tidegate_registry::{Change, Registry, VersionRecord};

use super::args::Diff;
use crate::output::{print_line, print_text};
use crate::registry_access::resolve;

/// Shows what differs between two versions, with the operators of their graphs.
pub(super) async fn diff(registry: &Registry, args: &Diff) -> Result<()> {
    let from = resolve(registry, &args.from).await?;
    let to = resolve(registry, &args.to).await?;
    let diff = registry.diff(&from, &to).await?;
    print_line!("{} {}", from.name(), from.digest);
    print_line!("{} {}", to.name(), to.digest);
    let artifacts = [&from.manifest.artifact, &to.manifest.artifact];
    let has_new_artifact = diff
        .files
        .iter()
        .any(|change| artifacts.contains(&&change.what));
    let (mut signature, mut operators) = (diff.signature, Vec::new());
    // Only then are both artifacts fetched and read.
    if has_new_artifact {
        let old = Artifact::read(registry, &from).await?;
        let new = Artifact::read(registry, &to).await?;
        signature.extend(changes(&old.tensors, &new.tensors));
        operators = changes(&old.operators, &new.operators);
    }
    print_changes("signature", &signature);
    print_changes("operators", &operators);
    print_changes("files", &diff.files);
    print_changes("lineage", &diff.lineage);
    print_changes("manifest", &diff.manifest);
    Ok(())
}

fn print_changes(part: &str, changes: &[Change]) {
    if changes.is_empty() {
        return;
    }
    print_text("\n");
    print_line!("{part}");
    for Change { what, from, to } in changes {
        match (from, to) {
            (Some(from), Some(to)) => print_line!("  ~ {what}: {from} -> {to}"),
            (Some(from), None) => print_line!("  - {what}: {from}"),
            (None, to) => print_line!("  + {what}: {}", to.as_deref().unwrap_or_default()),
        }
    }
}

/// Names with their values.
type Properties = BTreeMap<String, String>;

/// What an artifact declares about itself.
struct Artifact {
    /// Inputs and outputs, with data type and shape.
    tensors: Properties,
    /// Operators, with their counts.
    operators: Properties,
}

impl Artifact {
    async fn read(registry: &Registry, version: &VersionRecord) -> Result<Self> {
        let cached = registry.fetch(version).await?;
        let summary = Engines::summarize(&cached.path().join(&version.manifest.artifact))?;
        let operators = summary
            .operators
            .into_iter()
            .map(|(name, count)| (name, count.to_string()));
        Ok(Self {
            // An artifact whose signature cannot be read still has operators to compare.
            tensors: summary.signature.map(tensors).unwrap_or_default(),
            operators: operators.collect(),
        })
    }
}

fn tensors(signature: Signature) -> Properties {
    let inputs = signature.inputs.iter().map(|spec| ("input", spec));
    let outputs = signature.outputs.iter().map(|spec| ("output", spec));
    inputs
        .chain(outputs)
        .map(|(side, spec)| {
            let name = format!("{side} {}", spec.name);
            (name, format!("{} {:?}", spec.datatype, spec.wire_shape()))
        })
        .collect()
}

fn changes(from: &Properties, to: &Properties) -> Vec<Change> {
    let names: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    names
        .into_iter()
        .filter(|name| from.get(*name) != to.get(*name))
        .map(|name| Change {
            what: name.clone(),
            from: from.get(name).cloned(),
            to: to.get(name).cloned(),
        })
        .collect()
}
