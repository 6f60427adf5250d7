//! `tidegate registry show`.

use anyhow::Result;
use serde_json::{Value, json};
use tidegate_registry::{Registry, Verdict, VersionState};

use super::args::One;
use super::{resolve, time};
use crate::inspect::bytes;

/// Shows everything that is known of a version.
pub(super) async fn run(registry: &Registry, args: &One) -> Result<()> {
    let version = resolve(registry, &args.version).await?;
    let inspected = registry.inspect(&version).await;
    let (files, signed) = match inspected {
        Ok((files, Verdict::Signed(key))) => (files, format!("by key {key}")),
        Ok((files, Verdict::Unsigned(why))) => (files, why),
        Ok((files, Verdict::Unchecked)) => (
            files,
            "not checked: registry.require_signature is never".to_owned(),
        ),
        Err(error) => (Vec::new(), format!("{error} [{}]", error.code.name())),
    };
    let aliases = registry.aliases(Some(&version.model)).await?;
    let aliases: Vec<String> = aliases
        .into_iter()
        .filter(|alias| alias.version == version.number)
        .map(|alias| alias.name)
        .collect();
    if args.json {
        let page = json!({
            "model": version.model, "version": version.number, "digest": version.digest.to_string(),
            "state": version.state, "reason": version.reason, "bytes": version.bytes, "aliases": aliases,
            "pushed_at": time(version.pushed_ms), "pushed_by": version.pushed_by, "signed": signed, "files": files,
            "manifest": version.manifest,
        });
        println!("{}", serde_json::to_string_pretty(&page)?);
        return Ok(());
    }
    println!("{} {}", version.name(), version.digest);
    let line = |label: &str, value: &str| {
        if !value.is_empty() {
            println!("{label:<14}{value}");
        }
    };
    let manifest = &version.manifest;
    line("", &manifest.description);
    let state = if version.state == VersionState::Deprecated {
        format!("deprecated: {}", version.reason)
    } else {
        version.state.name().to_owned()
    };
    line("state", &state);
    line("aliases", &aliases.join(", "));
    line("signed", &signed);
    line(
        "pushed",
        &format!("{} by {}", time(version.pushed_ms), version.pushed_by),
    );
    let lineage = &manifest.lineage;
    line("author", &lineage.author);
    line("trained", &lineage.trained_at);
    line("commit", &lineage.commit);
    line("training run", &lineage.training_run);
    line(
        "data set",
        format!("{} {}", lineage.dataset, lineage.dataset_version).trim(),
    );
    line("parents", &lineage.parents.join(", "));
    let metrics = lineage
        .metrics
        .iter()
        .map(|(name, value)| format!("{name} {value}"));
    line("metrics", &metrics.collect::<Vec<_>>().join(", "));
    line("licence", &manifest.license);
    let tags = manifest
        .tags
        .iter()
        .map(|(key, value)| format!("{key}={value}"));
    line("tags", &tags.collect::<Vec<_>>().join(", "));
    line("engine", manifest.engine.name());
    for (side, tensors) in [
        ("input", &manifest.signature.inputs),
        ("output", &manifest.signature.outputs),
    ] {
        for tensor in tensors {
            let text = serde_json::to_value(tensor)
                .map(describe)
                .unwrap_or_default();
            line(side, &text);
        }
    }
    for file in files {
        line(
            "file",
            &format!(
                "{}  {}  sha256:{}",
                file.path,
                bytes(file.bytes.unsigned_abs()),
                file.digest
            ),
        );
    }
    Ok(())
}

/// What is set of a declared input or output, as one line.
fn describe(tensor: Value) -> String {
    let Value::Object(fields) = tensor else {
        return String::new();
    };
    let set = fields.iter().filter(|(_, value)| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        _ => true,
    });
    let part = |(key, value): (&String, &Value)| match value {
        Value::String(text) => text.clone(),
        Value::Array(columns) if key == "columns" => {
            let names: Vec<&str> = columns
                .iter()
                .filter_map(|column| column["name"].as_str())
                .collect();
            format!("columns {}", names.join(", "))
        }
        other => other.to_string(),
    };
    set.map(part).collect::<Vec<_>>().join(" ")
}
