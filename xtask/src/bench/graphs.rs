//! What a graph of models adds to the runs of its nodes.

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::Effort;
use super::contestant::baseline;
use super::report::Section;
use super::rounds::middle;
use crate::root;

/// A model that gives its input: all that is measured is what is around it.
const NODE: &str = "crates/engines/tests/data/identity_fp64.onnx";

/// What `tidegate-bench graph` prints.
#[derive(Deserialize)]
struct Figures {
    nodes: usize,
    node_us: f64,
    graph_us: f64,
    added_us: f64,
}

/// Measures a graph of five nodes, three of them side by side, on one thread.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let columns = [
        "nodes",
        "µs of a node",
        "µs of the graph",
        "µs that the graph adds",
    ];
    let mut section = Section::new("Graphs", &columns);
    let mut rounds = Vec::with_capacity(effort.rounds);
    for _ in 0..effort.rounds {
        rounds.push(measure(effort.seconds)?);
    }
    section.row(vec![
        rounds[0].nodes.into(),
        middle(&rounds, |figures| figures.node_us).into(),
        middle(&rounds, |figures| figures.graph_us).into(),
        middle(&rounds, |figures| figures.added_us).into(),
    ]);
    Ok(section)
}

fn measure(seconds: u64) -> Result<Figures> {
    let mut command = baseline(&["graph", "--seconds", &seconds.to_string()])?;
    command.arg("--node").arg(root().join(NODE));
    let output = command.output()?;
    let problem = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{problem}");
    Ok(serde_json::from_slice(&output.stdout)?)
}
