//! `tidegate registry list`, `diff`, `events`, `fetch`.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::json;
use tidegate_engines::Engines;
use tidegate_registry::{Change, Registry, VersionRecord, VersionState};

use super::args::{Diff, Events, List, One};
use super::{print_table, resolve, time};
use crate::inspect::bytes;

/// Lists models, or the versions of one.
pub(super) async fn list(registry: &Registry, args: &List) -> Result<()> {
    let model = args.model.as_deref();
    let (versions, aliases) = (
        registry.versions(model).await?,
        registry.aliases(model).await?,
    );
    if let Some(model) = model.filter(|_| versions.is_empty()) {
        registry.resolve(&model.parse()?).await?;
    }
    let mut names: BTreeMap<(&str, i64), Vec<&str>> = BTreeMap::new();
    for alias in &aliases {
        names
            .entry((&alias.model, alias.version))
            .or_default()
            .push(&alias.name);
    }
    let of = |version: &VersionRecord| {
        names
            .get(&(version.model.as_str(), version.number))
            .cloned()
            .unwrap_or_default()
    };
    if args.json {
        let rows = versions.iter().map(|version| {
            json!({
                "model": version.model, "version": version.number, "digest": version.digest.to_string(),
                "state": version.state, "bytes": version.bytes, "pushed_at": time(version.pushed_ms),
                "pushed_by": version.pushed_by, "aliases": of(version), "description": version.manifest.description,
            })
        });
        println!(
            "{}",
            serde_json::to_string_pretty(&rows.collect::<Vec<_>>())?
        );
        return Ok(());
    }
    let mut rows = vec![
        [
            "VERSION", "STATE", "SIZE", "PUSHED", "BY", "ALIASES", "DIGEST",
        ]
        .map(str::to_owned),
    ];
    rows.extend(versions.iter().map(|version| {
        [
            version.name(),
            version.state.name().to_owned(),
            bytes(version.bytes.unsigned_abs()),
            time(version.pushed_ms),
            version.pushed_by.clone(),
            of(version).join(", "),
            version.digest.to_string(),
        ]
    }));
    print_table(&rows);
    Ok(())
}

/// Shows what differs between two versions, with the operators of their graphs.
pub(super) async fn diff(registry: &Registry, args: &Diff) -> Result<()> {
    let (from, to) = (
        resolve(registry, &args.from).await?,
        resolve(registry, &args.to).await?,
    );
    let diff = registry.diff(&from, &to).await?;
    println!("{} {}", from.name(), from.digest);
    println!("{} {}", to.name(), to.digest);
    let artifact =
        |diff: &Change| diff.what == from.manifest.artifact || diff.what == to.manifest.artifact;
    let (mut signature, mut operators) = (diff.signature, Vec::new());
    if diff.files.iter().any(artifact) {
        let (one, two) = (
            artifact_facts(registry, &from).await?,
            artifact_facts(registry, &to).await?,
        );
        signature.extend(changes(&one.0, &two.0));
        operators = changes(&one.1, &two.1);
    }
    let parts = [
        ("signature", &signature),
        ("operators", &operators),
        ("files", &diff.files),
        ("lineage", &diff.lineage),
        ("manifest", &diff.manifest),
    ];
    for (part, changes) in parts {
        if changes.is_empty() {
            continue;
        }
        println!("\n{part}");
        for change in changes {
            match (&change.from, &change.to) {
                (Some(from), Some(to)) => println!("  ~ {}: {from} -> {to}", change.what),
                (Some(from), None) => println!("  - {}: {from}", change.what),
                (None, to) => {
                    println!("  + {}: {}", change.what, to.as_deref().unwrap_or_default())
                }
            }
        }
    }
    Ok(())
}

type Facts = BTreeMap<String, String>;

/// The inputs and outputs of an artifact, and its operators.
async fn artifact_facts(registry: &Registry, version: &VersionRecord) -> Result<(Facts, Facts)> {
    let cached = registry.fetch(version).await?;
    let summary = Engines::summarize(&cached.path().join(&version.manifest.artifact))?;
    let mut tensors = Facts::new();
    if let Ok(signature) = &summary.signature {
        for (side, specs) in [("input", &signature.inputs), ("output", &signature.outputs)] {
            for spec in specs {
                tensors.insert(
                    format!("{side} {}", spec.name),
                    format!("{} {:?}", spec.datatype, spec.wire_shape()),
                );
            }
        }
    }
    let operators = summary
        .operators
        .into_iter()
        .map(|(name, count)| (name, count.to_string()))
        .collect();
    Ok((tensors, operators))
}

fn changes(from: &Facts, to: &Facts) -> Vec<Change> {
    let all: std::collections::BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let change = |what: &String| Change {
        what: what.clone(),
        from: from.get(what).cloned(),
        to: to.get(what).cloned(),
    };
    all.into_iter()
        .map(change)
        .filter(|change| change.from != change.to)
        .collect()
}

/// Shows what happened.
pub(super) async fn events(registry: &Registry, args: &Events) -> Result<()> {
    let mut since = args.since;
    loop {
        let events = registry.events_since(since).await?;
        let Some(last) = events.last() else {
            return Ok(());
        };
        since = last.change;
        for event in events {
            let version = event
                .version
                .map_or(String::new(), |number| format!(":{number}"));
            let about = format!("{}{version}", event.model);
            println!(
                "{} {} {} {about} by {} {}",
                event.change,
                time(event.at_ms),
                event.kind,
                event.actor,
                event.detail
            );
        }
    }
}

/// Puts a version into the cache and prints its folder.
pub(super) async fn fetch(registry: &Registry, args: &One) -> Result<()> {
    let version = resolve(registry, &args.version).await?;
    let cached = registry.fetch(&version).await?;
    if args.json {
        let line = json!({"version": version.name(), "digest": version.digest.to_string(), "path": cached.path()});
        println!("{line}");
    } else {
        println!("{}", cached.path().display());
    }
    if version.state == VersionState::Deprecated {
        eprintln!("{} is deprecated: {}", version.name(), version.reason);
    }
    Ok(())
}
