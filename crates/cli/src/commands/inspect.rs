//! `tidegate inspect`.

mod graph;
mod pipeline;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use tidegate_core::{EngineChoice, RemoteSpec, Signature};
use tidegate_engines::{ArtifactSummary, EngineStatus, Engines, LoadError, ONNX_RUNTIME};
use tidegate_serving::{VersionPlan, compile_graph, scan};

use crate::engines;
use crate::output::{bytes, print_line, print_text, tensor};

/// Show the inputs, outputs, operators and memory of a model
///
/// Exit status: 1 if anything of it failed, such as its load.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// An .onnx file, a bundle, a Triton model, or a folder of these
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

/// How a line about something that failed begins.
const FAILED: &str = "FAILED: ";

impl Inspect {
    pub(super) fn run(self) -> Result<ExitCode> {
        let engines = engines::discover_silently(None);
        let mut has_failed = false;
        for (name, plans) in scan(&self.path)? {
            for plan in plans {
                let mut lines = lines(&name, &plan, &engines)?;
                lines.extend(pipeline::lines(&plan, &engines));
                lines.extend(origin(&plan));
                for (label, value) in lines {
                    has_failed |= value.starts_with(FAILED);
                    print_line!("{label:<12}{value}");
                }
                print_text("\n");
            }
        }
        Ok(match has_failed {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        })
    }
}

/// The lines about a version: label and value.
fn lines(name: &str, plan: &VersionPlan, engines: &Engines) -> Result<Vec<(&'static str, String)>> {
    if let Some(remote) = &plan.manifest.remote {
        return Ok(describe_remote(name, plan, remote, engines));
    }
    if plan.is_graph() {
        return Ok(graph::lines(name, plan));
    }
    let summary = Engines::summarize(&plan.artifact)?;
    Ok(describe(name, plan, &summary, engines))
}

/// What a version was trained on, and why, as far as its bundle says.
fn origin(plan: &VersionPlan) -> Vec<(&'static str, String)> {
    let lineage = &plan.manifest.lineage;
    let dataset = match lineage.dataset_version.as_str() {
        "" => lineage.dataset.clone(),
        version => format!("{}@{version}", lineage.dataset),
    };
    let lines = vec![
        ("data set", dataset),
        ("data digest", lineage.dataset_digest.clone()),
        ("trigger", lineage.trigger.clone()),
    ];
    let has_value = |(_, value): &(&str, String)| !value.is_empty();
    lines.into_iter().filter(has_value).collect()
}

/// Of a version that other servers run, they have all there is to know.
fn describe_remote(
    name: &str,
    plan: &VersionPlan,
    remote: &RemoteSpec,
    engines: &Engines,
) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("model", format!("{name}, version {}", plan.number)),
        ("engine", engine(plan, engines)),
        ("servers", remote.endpoints.join(", ")),
    ];
    match load(plan, engines) {
        Err(problem) => lines.push(("load", format!("{FAILED}{problem}"))),
        Ok(signature) => {
            let inputs = signature.inputs.iter().map(|spec| ("input", tensor(spec)));
            lines.extend(inputs);
            let outputs = signature.outputs.iter();
            lines.extend(outputs.map(|spec| ("output", tensor(spec))));
        }
    }
    lines
}

/// The lines about a version with a file of its own.
fn describe(
    name: &str,
    plan: &VersionPlan,
    summary: &ArtifactSummary,
    engines: &Engines,
) -> Vec<(&'static str, String)> {
    let mut lines = vec![("model", format!("{name}, version {}", plan.number))];
    if !plan.manifest.description.is_empty() {
        lines.push(("", plan.manifest.description.clone()));
    }
    let size = bytes(summary.file_bytes);
    lines.push(("artifact", format!("{} ({size})", plan.artifact.display())));
    if !summary.producer.is_empty() {
        lines.push(("made by", summary.producer.clone()));
    }
    lines.push(("engine", engine(plan, engines)));
    let loaded = needs_load(summary).then(|| load(plan, engines));
    match &loaded {
        Some(Ok(signature)) => lines.extend(describe_signature(signature, summary)),
        _ => lines.extend(signature(summary)),
    }
    if let Some(Err(problem)) = &loaded {
        lines.push(("load", format!("{FAILED}{problem}")));
    }
    lines.push(("opsets", opsets(summary)));
    lines.push(("operators", operators(summary)));
    lines.push(("weights", bytes(summary.weight_bytes)));
    let memory = bytes(summary.memory_estimate_bytes());
    lines.push(("memory", format!("about {memory} per instance")));
    lines
}

fn engine(plan: &VersionPlan, engines: &Engines) -> String {
    let choice = &plan.manifest.engine;
    let engine = match engines.select(&plan.artifact, choice) {
        Ok(engine) => engine,
        Err(LoadError::Unavailable { engine, reason }) => {
            return format!("{engine}, which was not found: {reason}");
        }
        Err(error) => return error.to_string(),
    };
    let name = engine.name();
    match engine.status() {
        EngineStatus::Loaded { library, version } => format!("{name} {version} ({library})"),
        EngineStatus::BuiltIn if *choice == EngineChoice::Auto && engines.lacks(ONNX_RUNTIME) => {
            format!("{name}, because ONNX Runtime was not found")
        }
        EngineStatus::BuiltIn | EngineStatus::Missing { .. } => name.to_owned(),
    }
}

fn signature(summary: &ArtifactSummary) -> Vec<(&'static str, String)> {
    match &summary.signature {
        Ok(signature) => describe_signature(signature, summary),
        Err(problem) => vec![("signature", problem.clone())],
    }
}

/// Whether the file alone does not tell: it has sequences or maps, which the reader of files does
/// not know, or operators of classical models, which engines have for some types only. Such models
/// are small.
fn needs_load(summary: &ArtifactSummary) -> bool {
    let has_classical = summary
        .opsets
        .iter()
        .any(|(domain, _)| domain == "ai.onnx.ml");
    summary.signature.is_err() || has_classical
}

/// What the engine that would serve it says of the inputs and outputs; of a graph, what it declares.
fn load(plan: &VersionPlan, engines: &Engines) -> Result<Signature, LoadError> {
    if let Ok(Some((_, signature))) = compile_graph(plan) {
        return Ok(signature);
    }
    let manifest = &plan.manifest;
    let options = &manifest.engine_options;
    let loaded = engines.load(&plan.artifact, &manifest.engine, options)?;
    Ok(loaded.signature().clone())
}

fn describe_signature(
    signature: &Signature,
    summary: &ArtifactSummary,
) -> Vec<(&'static str, String)> {
    let inputs = signature.inputs.iter().map(|spec| ("input", tensor(spec)));
    let outputs = signature
        .outputs
        .iter()
        .map(|spec| ("output", tensor(spec)));
    let batch_axis = match summary.batch_axis_is_dynamic() {
        true => "dynamic",
        false => "fixed: requests are not batched",
    };
    inputs
        .chain(outputs)
        .chain([("batch axis", batch_axis.to_owned())])
        .collect()
}

fn opsets(summary: &ArtifactSummary) -> String {
    let opsets: Vec<String> = summary
        .opsets
        .iter()
        .map(|(domain, version)| format!("{domain} {version}"))
        .collect();
    opsets.join(", ")
}

/// The operators with their counts, most frequent first.
fn operators(summary: &ArtifactSummary) -> String {
    let mut operators: Vec<(&String, &usize)> = summary.operators.iter().collect();
    operators.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let operators: Vec<String> = operators
        .into_iter()
        .map(|(name, count)| format!("{name} x{count}"))
        .collect();
    operators.join(", ")
}
