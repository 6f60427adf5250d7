//! A graph of models, from its inputs to its outputs.

use tidegate_serving::{VersionPlan, compile_graph};

use super::FAILED;
use crate::output::tensor;

/// The lines about a version that is a graph: label and value.
pub(super) fn lines(name: &str, plan: &VersionPlan) -> Vec<(&'static str, String)> {
    let mut lines = vec![("model", format!("{name}, version {}", plan.number))];
    if !plan.manifest.description.is_empty() {
        lines.push(("", plan.manifest.description.clone()));
    }
    let (graph, signature) = match compile_graph(plan) {
        Ok(Some(compiled)) => compiled,
        Ok(None) => return lines,
        Err(problem) => {
            lines.push(("graph", format!("{FAILED}{problem}")));
            return lines;
        }
    };
    let inputs = signature.inputs.iter();
    lines.extend(inputs.map(|spec| ("input", tensor(spec))));
    lines.extend(graph.lines().into_iter().map(|step| ("graph", step)));
    let outputs = signature.outputs.iter();
    lines.extend(outputs.map(|spec| ("output", tensor(spec))));
    let asked = match graph.has_rows() {
        true => "for each row",
        false => "for each request",
    };
    lines.push(("conditions", asked.to_owned()));
    if !graph.unused().is_empty() {
        lines.push(("unused", graph.unused().join(", ")));
    }
    lines
}
