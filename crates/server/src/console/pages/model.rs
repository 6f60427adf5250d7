//! The page of a model.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use tidegate_console::{Model, Tensor, VersionDetail};
use tidegate_core::{Column, DeclaredTensor, Lineage, Manifest, TensorSpec};
use tidegate_serving::{IndexEntry, Serving, Version};

use super::models::{newest_first, row};
use crate::console::Console;
use crate::console::answer::answer;
use crate::console::visitor::Visitor;
use crate::events::EventJournal;

const EVENTS: usize = 20;
/// Most columns of a tensor that are named.
const COLUMNS: usize = 40;

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    Path(name): Path<String>,
    visitor: Visitor,
) -> Response {
    answer(console, &visitor, move |console, now_ms| {
        Ok(model(&console.front_end.serving, &console.events, &name, now_ms)?.page())
    })
    .await
}

fn model(
    serving: &Serving,
    journal: &EventJournal,
    name: &str,
    now_ms: u64,
) -> Result<Model, String> {
    let mut entries: Vec<IndexEntry> = serving
        .known()
        .into_iter()
        .filter(|entry| entry.name == name)
        .collect();
    if entries.is_empty() {
        return Err(format!("There is no model {name}."));
    }
    entries.sort_by(newest_first);
    let answering = serving.models().version(name, None).ok();
    let details = entries
        .iter()
        .filter_map(|entry| detail(serving, entry, loaded(serving, name, &entry.version)));
    let details: Vec<VersionDetail> = details.collect();
    let shown = answering.as_deref();
    let (inputs, outputs) = shown.map(signature).unwrap_or_default();
    let versions = entries.into_iter().map(|entry| {
        let version = loaded(serving, name, &entry.version);
        row(entry, version.as_deref(), now_ms)
    });
    Ok(Model {
        name: name.to_owned(),
        description: shown
            .map(|version| version.plan().manifest.description.clone())
            .unwrap_or_default(),
        now_ms,
        versions: versions.collect(),
        shown: shown
            .map(|version| version.number().to_owned())
            .unwrap_or_default(),
        inputs,
        outputs,
        details,
        events: journal.newest(|event| event.model == name, EVENTS),
    })
}

fn loaded(serving: &Serving, model: &str, number: &str) -> Option<Arc<Version>> {
    // Not `demand`: opening a page must not load a model.
    serving.models().version(model, Some(number)).ok()
}

/// The inputs and outputs of a version, as its engine has them and its manifest describes them.
fn signature(version: &Version) -> (Vec<Tensor>, Vec<Tensor>) {
    let signature = version.signature();
    let declared = &version.plan().manifest.signature;
    (
        tensors(&signature.inputs, &declared.inputs),
        tensors(&signature.outputs, &declared.outputs),
    )
}

fn tensors(specs: &[TensorSpec], declared: &[DeclaredTensor]) -> Vec<Tensor> {
    let is_only = specs.len() == 1;
    specs
        .iter()
        .map(|spec| tensor(spec, declared, is_only))
        .collect()
}

fn tensor(spec: &TensorSpec, declared: &[DeclaredTensor], is_only: bool) -> Tensor {
    let shape = match &spec.dims {
        None => "any".to_owned(),
        Some(_) => format!("{:?}", spec.wire_shape()),
    };
    let declared = declared
        .iter()
        // A manifest may leave out the name if there is only one tensor.
        .find(|declared| declared.name == spec.name || (is_only && declared.name.is_empty()));
    let mut notes = Vec::new();
    if spec.optional {
        notes.push("optional".to_owned());
    }
    if let Some(declared) = declared {
        notes.extend(
            Some(declared.description.clone()).filter(|description| !description.is_empty()),
        );
        notes.extend(Some(columns(&declared.columns)).filter(|columns| !columns.is_empty()));
    }
    Tensor {
        name: spec.name.clone(),
        datatype: spec.datatype.to_string(),
        shape,
        note: notes.join("; "),
    }
}

fn columns(columns: &[Column]) -> String {
    let mut text = columns
        .iter()
        .take(COLUMNS)
        .map(column_name)
        .collect::<Vec<_>>()
        .join(", ");
    if columns.len() > COLUMNS {
        text.push_str(&format!(" and {} more", columns.len() - COLUMNS));
    }
    text
}

fn column_name(column: &Column) -> String {
    match column.unit.as_str() {
        "" => column.name.clone(),
        unit => format!("{} ({unit})", column.name),
    }
}

type Facts = Vec<(&'static str, String)>;

/// The origin of a version and how it runs; `None` if nothing is known.
fn detail(
    serving: &Serving,
    entry: &IndexEntry,
    loaded: Option<Arc<Version>>,
) -> Option<VersionDetail> {
    let mut facts = Facts::new();
    let records = serving
        .fleet()
        .map(|fleet| fleet.version_records(&entry.name))
        .unwrap_or_default();
    let record = records
        .into_iter()
        .find(|record| record.number.to_string() == entry.version);
    if let Some(record) = &record {
        facts.push(("Digest", record.digest.to_string()));
        facts.push(("Pushed by", record.pushed_by.clone()));
        let pushed_ms = u64::try_from(record.pushed_ms).unwrap_or_default();
        facts.push(("Pushed", tidegate_observe::alerting::rfc3339(pushed_ms)));
        facts.push((
            "Registry",
            [record.state.name(), record.reason.as_str()]
                .join(" ")
                .trim_end()
                .to_owned(),
        ));
    }
    if let Some(version) = &loaded {
        // Of a version of the registry, the file is a copy in the cache.
        if record.is_none() {
            facts.push(("From", version.plan().artifact.display().to_string()));
        }
        facts.extend(scheduling_facts(version));
    }
    let manifest = loaded
        .as_ref()
        .map(|version| &version.plan().manifest)
        .or(record.as_ref().map(|record| &record.manifest));
    facts.extend(manifest.into_iter().flat_map(manifest_facts));
    facts.retain(|(_, value)| !value.is_empty());
    (!facts.is_empty()).then(|| VersionDetail {
        version: entry.version.clone(),
        facts,
    })
}

fn scheduling_facts(version: &Version) -> Facts {
    let scheduler = version.scheduler();
    let largest_batch = match scheduler.limits().batch_rows() {
        Some(rows) => format!("{rows} rows"),
        None => "requests run one by one".to_owned(),
    };
    vec![
        ("Instances", scheduler.instances().to_string()),
        ("Largest batch", largest_batch),
    ]
}

/// What the manifest of a bundle declares about its origin.
fn manifest_facts(manifest: &Manifest) -> Facts {
    let Lineage {
        author,
        trained_at,
        commit,
        training_run,
        dataset,
        dataset_version,
        dataset_digest,
        trigger,
        parents,
        metrics,
    } = &manifest.lineage;
    let tags = manifest
        .tags
        .iter()
        .map(|(name, value)| format!("{name}: {value}"));
    let metrics = metrics
        .iter()
        .map(|(name, value)| format!("{name} {value}"));
    vec![
        ("Author", author.clone()),
        ("Trained", trained_at.clone()),
        ("Commit", commit.clone()),
        ("Training run", training_run.clone()),
        (
            "Dataset",
            format!("{dataset} {dataset_version}").trim().to_owned(),
        ),
        ("Digest of the data", dataset_digest.clone()),
        ("Retraining trigger", trigger.clone()),
        ("Made from", parents.join(", ")),
        ("Evaluation", metrics.collect::<Vec<_>>().join(", ")),
        ("Licence", manifest.license.clone()),
        ("Tags", tags.collect::<Vec<_>>().join(", ")),
    ]
}
