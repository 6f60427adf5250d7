//! `tidegate registry list`.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};
use tidegate_registry::{Registry, VersionRecord};

use super::args::List;
use crate::output::{bytes, print_json, print_table, timestamp};

const HEADER: [&str; 7] = [
    "VERSION", "STATE", "SIZE", "PUSHED", "BY", "ALIASES", "DIGEST",
];

/// The aliases of each version, by model and number.
type AliasesByVersion = BTreeMap<(String, i64), Vec<String>>;

/// Lists models, or the versions of one.
pub(super) async fn list(registry: &Registry, args: &List) -> Result<()> {
    let model = args.model.as_deref();
    let versions = registry.versions(model).await?;
    if let Some(model) = model.filter(|_| versions.is_empty()) {
        // Fails with the reason that there are none.
        registry.resolve(&model.parse()?).await?;
    }
    let mut aliases = AliasesByVersion::new();
    for alias in registry.aliases(model).await? {
        let version = (alias.model, alias.version);
        aliases.entry(version).or_default().push(alias.name);
    }
    if args.json {
        let objects: Vec<Value> = versions
            .iter()
            .map(|version| object(version, aliases_of(&aliases, version)))
            .collect();
        print_json(&objects)?;
        return Ok(());
    }
    let mut rows = vec![HEADER.map(str::to_owned)];
    rows.extend(
        versions
            .iter()
            .map(|version| row(version, aliases_of(&aliases, version))),
    );
    print_table(&rows);
    Ok(())
}

fn aliases_of<'a>(aliases: &'a AliasesByVersion, version: &VersionRecord) -> &'a [String] {
    let key = (version.model.to_string(), version.number);
    aliases.get(&key).map_or(&[], Vec::as_slice)
}

fn object(version: &VersionRecord, aliases: &[String]) -> Value {
    json!({
        "model": version.model,
        "version": version.number,
        "digest": version.digest.to_string(),
        "state": version.state,
        "bytes": version.bytes,
        "pushed_at": timestamp(version.pushed_ms),
        "pushed_by": version.pushed_by,
        "aliases": aliases,
        "description": version.manifest.description,
    })
}

fn row(version: &VersionRecord, aliases: &[String]) -> [String; 7] {
    [
        version.name(),
        version.state.name().to_owned(),
        bytes(version.bytes.unsigned_abs()),
        timestamp(version.pushed_ms),
        version.pushed_by.clone(),
        aliases.join(", "),
        version.digest.to_string(),
    ]
}
