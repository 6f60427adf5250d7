//! The checks of a graph of models.

use std::path::Path;

use tidegate_core::Signature;
use tidegate_engines::Engines;
use tidegate_graph::{Graph, Node};

use super::{CheckReport, folder};
use crate::version::{compile_graph, compile_pipeline};
use crate::{VersionPlan, source};

/// Checks a graph, and its types against those of its models that lie beside it. The models have checks
/// of their own; a server that loads the graph checks it against the models that it serves.
pub(super) fn check(mut report: CheckReport, plan: &VersionPlan) -> CheckReport {
    let compiled = report.run("graph", || compiled(plan));
    let Some((graph, signature)) = compiled else {
        return report;
    };
    if plan.manifest.pipeline.is_some() {
        report.run("pipeline", || {
            compile_pipeline(plan, &signature).map(|_| ())
        });
    }
    if !graph.unused().is_empty() {
        let unused = graph.unused().join(", ");
        report.run("unused", || {
            Err::<(), _>(format!("no output needs {unused}"))
        });
    }
    let folder = folder(plan);
    let beside = folder.parent().unwrap_or(Path::new("."));
    let mut signatures = Vec::with_capacity(graph.nodes().len());
    for node in graph.nodes() {
        signatures.push(signature_beside(beside, node));
    }
    if signatures.iter().all(Option::is_none) {
        report.skip("nodes", "no model of the graph lies beside it");
    } else {
        let signatures: Vec<Option<&Signature>> = signatures.iter().map(Option::as_ref).collect();
        report.run("nodes", || {
            graph.check(&signatures).map_err(|error| error.to_string())
        });
    }
    if !plan.manifest.golden.is_empty() || !plan.manifest.warmup.is_empty() {
        report.skip(
            "samples",
            "samples of graphs are not run: its models need a server",
        );
    }
    report
}

fn compiled(plan: &VersionPlan) -> Result<(Graph, Signature), String> {
    compile_graph(plan)?.ok_or_else(|| "there is none".to_owned())
}

/// The signature of the model of a node in a folder of models, as far as its file tells.
fn signature_beside(folder: &Path, node: &Node) -> Option<Signature> {
    let model = node.model();
    let places = [folder.join(model), folder.join(format!("{model}.onnx"))];
    let found = places
        .iter()
        .filter_map(|place| source::find(place).ok())
        .flatten();
    let mut named = found.filter(|found| found.name == model);
    let plans = named.next()?.versions.ok()?;
    let wanted = |plan: &&VersionPlan| {
        node.version()
            .is_none_or(|version| version == plan.number.to_string())
    };
    let plan = plans.iter().rfind(wanted)?;
    match compile_graph(plan) {
        Ok(Some((_, signature))) => Some(signature),
        Ok(None) if !plan.is_remote() => Engines::summarize(&plan.artifact).ok()?.signature.ok(),
        _ => None,
    }
}
