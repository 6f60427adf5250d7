//! `tidegate registry show`.

use anyhow::Result;
use serde_json::{Value, json};
use tidegate_registry::{Registry, Verdict, VersionRecord, VersionState, differing_keys};

use super::args::VersionArg;
use crate::output::{bytes, print_json, print_line, timestamp};
use crate::registry_access::resolve;

/// Shows the details of a version.
pub(super) async fn show(registry: &Registry, args: &VersionArg) -> Result<()> {
    let version = resolve(registry, &args.version).await?;
    let (files, signature) = match registry.inspect(&version).await {
        Ok((files, verdict)) => (files, describe_verdict(verdict)),
        // A version that is refused, say for its signature, is still shown: why it is refused is
        // what people want to know here.
        Err(error) => (Vec::new(), format!("{error} [{}]", error.code.name())),
    };
    // What is signed is the file, not the copy of it in the database.
    let (version, manifest_note) = match registry.verified_manifest(&version).await {
        Ok(manifest) => {
            let differing = differing_keys(&version.manifest, &manifest);
            let note = if differing.is_empty() {
                "read from the version's model.toml, verified".to_owned()
            } else {
                let keys = differing.join(", ");
                format!("read from the version's model.toml; the database differs in: {keys}")
            };
            (
                VersionRecord {
                    manifest,
                    ..version
                },
                note,
            )
        }
        Err(error) => (
            version,
            format!("not verified: {error} [{}]", error.code.name()),
        ),
    };
    let aliases: Vec<String> = registry
        .aliases(Some(&version.model))
        .await?
        .into_iter()
        .filter(|alias| alias.version == version.number)
        .map(|alias| alias.name)
        .collect();
    if args.json {
        let page = json!({
            "model": version.model,
            "version": version.number,
            "digest": version.digest.to_string(),
            "state": version.state,
            "reason": version.reason,
            "bytes": version.bytes,
            "aliases": aliases,
            "pushed_at": timestamp(version.pushed_ms),
            "pushed_by": version.pushed_by,
            "signed": signature,
            "files": files,
            "manifest": version.manifest,
            "manifest_verified": manifest_note,
        });
        print_json(&page)?;
        return Ok(());
    }
    print_line!("{} {}", version.name(), version.digest);
    print_line("", &version.manifest.description);
    print_line("state", &describe_state(&version));
    print_line("aliases", &aliases.join(", "));
    print_line("signature", &signature);
    let pushed = timestamp(version.pushed_ms);
    print_line("pushed", &format!("{pushed} by {}", version.pushed_by));
    print_line("manifest", &manifest_note);
    print_manifest(&version);
    for file in files {
        let size = bytes(file.bytes.unsigned_abs());
        let line = format!("{}  {size}  sha256:{}", file.path, file.digest);
        print_line("file", &line);
    }
    Ok(())
}

/// Prints a value with its label; nothing if there is no value.
fn print_line(label: &str, value: &str) {
    if !value.is_empty() {
        print_line!("{label:<14}{value}");
    }
}

fn describe_verdict(verdict: Verdict) -> String {
    match verdict {
        Verdict::Signed(key) => format!("by key {key}"),
        Verdict::Unsigned(why) => why,
        Verdict::Unchecked => "not checked: registry.require_signature is never".to_owned(),
    }
}

fn describe_state(version: &VersionRecord) -> String {
    match version.state {
        VersionState::Deprecated => format!("deprecated: {}", version.reason),
        state => state.name().to_owned(),
    }
}

fn print_manifest(version: &VersionRecord) {
    let manifest = &version.manifest;
    let lineage = &manifest.lineage;
    print_line("author", &lineage.author);
    print_line("trained", &lineage.trained_at);
    print_line("commit", &lineage.commit);
    print_line("training run", &lineage.training_run);
    let dataset = format!("{} {}", lineage.dataset, lineage.dataset_version);
    print_line("data set", dataset.trim());
    print_line("data digest", &lineage.dataset_digest);
    print_line("trigger", &lineage.trigger);
    print_line("parents", &lineage.parents.join(", "));
    let metrics: Vec<String> = lineage
        .metrics
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    print_line("metrics", &metrics.join(", "));
    print_line("licence", &manifest.license);
    let tags: Vec<String> = manifest
        .tags
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    print_line("tags", &tags.join(", "));
    print_line("engine", manifest.engine.name());
    let signature = &manifest.signature;
    for (side, tensors) in [("input", &signature.inputs), ("output", &signature.outputs)] {
        for tensor in tensors {
            let fields = serde_json::to_value(tensor).unwrap_or_default();
            print_line(side, &describe_tensor(&fields));
        }
    }
}

/// The fields of a declared input or output that are set, in one line.
fn describe_tensor(tensor: &Value) -> String {
    let Value::Object(fields) = tensor else {
        return String::new();
    };
    let parts: Vec<String> = fields
        .iter()
        .filter(|(_, value)| is_set(value))
        .map(|(key, value)| describe_field(key, value))
        .collect();
    parts.join(" ")
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        _ => true,
    }
}

fn describe_field(key: &str, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(columns) if key == "columns" => {
            let names: Vec<&str> = columns
                .iter()
                .filter_map(|column| column["name"].as_str())
                .collect();
            format!("columns {}", names.join(", "))
        }
        other => other.to_string(),
    }
}
