//! A graph that was compiled.

use tidegate_core::{GraphMerge, TensorSpec};

use crate::condition::Condition;

/// Most nodes of one graph.
pub const MAX_NODES: usize = 64;
/// Most merges of one graph.
pub const MAX_MERGES: usize = 64;
/// Most nodes that run one after the other.
pub const MAX_DEPTH: usize = 32;

/// A graph of models: names are resolved, there is no cycle, and every output has a value for every row.
#[derive(Debug)]
pub struct Graph {
    /// The tensors that requests give; they are the first tensors of the graph.
    pub(crate) inputs: Vec<TensorSpec>,
    pub(crate) outputs: Vec<TensorSpec>,
    /// The place of each output among the tensors.
    pub(crate) output_tensors: Vec<usize>,
    /// The names of all tensors.
    pub(crate) tensors: Vec<String>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) merges: Vec<Merge>,
    /// In an order in which they could run one after the other.
    pub(crate) steps: Vec<Step>,
    /// How many steps read each tensor.
    pub(crate) readers: Vec<usize>,
    /// Whether axis 0 of inputs and outputs counts rows, which conditions tell apart.
    pub(crate) has_rows: bool,
    pub(crate) unused: Vec<String>,
}

/// One run of a model.
#[derive(Debug)]
pub struct Node {
    pub(crate) name: String,
    pub(crate) model: String,
    pub(crate) version: Option<String>,
    /// Inputs of the model, each with the place of its tensor.
    pub(crate) inputs: Vec<(String, usize)>,
    /// Outputs of the model, each with the place of the tensor that it becomes.
    pub(crate) outputs: Vec<(String, usize)>,
    pub(crate) gate: Option<Gate>,
}

/// The side of a condition on whose rows a node runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate {
    pub(crate) condition: usize,
    pub(crate) holds: bool,
}

/// A tensor that is made of others.
#[derive(Debug)]
pub(crate) struct Merge {
    pub(crate) tensor: usize,
    pub(crate) kind: GraphMerge,
    pub(crate) of: Vec<usize>,
    /// As many as tensors, with a sum of 1; for a mean.
    pub(crate) weights: Vec<f64>,
}

/// Something to do once what it depends on is done.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) action: Action,
    /// The tensors that it reads.
    pub(crate) reads: Vec<usize>,
    /// How many steps it waits for.
    pub(crate) waits_for: usize,
    /// The steps that wait for it.
    pub(crate) dependents: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Finds the rows for which a condition holds.
    Decide(usize),
    Run(usize),
    Merge(usize),
}

impl Graph {
    /// The nodes that an answer needs, in the order of the manifest.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The nodes and merges that no output needs: they never run.
    pub fn unused(&self) -> &[String] {
        &self.unused
    }

    /// Whether conditions are asked for each row, and not for each request.
    pub fn has_rows(&self) -> bool {
        self.has_rows
    }

    /// What happens, step by step, for people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            match step.action {
                Action::Decide(_) => {}
                Action::Run(node) => lines.push(self.node_line(&self.nodes[node])),
                Action::Merge(merge) => lines.push(self.merge_line(&self.merges[merge])),
            }
        }
        lines
    }

    fn node_line(&self, node: &Node) -> String {
        let inputs: Vec<&str> = node.inputs.iter().map(|(_, at)| self.tensor(*at)).collect();
        let outputs: Vec<&str> = node
            .outputs
            .iter()
            .map(|(_, at)| self.tensor(*at))
            .collect();
        let (inputs, outputs) = (inputs.join(", "), outputs.join(", "));
        let condition = node
            .gate
            .map_or_else(String::new, |gate| self.gate_text(gate));
        format!(
            "{inputs} -> {} ({}) -> {outputs}{condition}",
            node.name,
            node.model_text()
        )
    }

    fn gate_text(&self, gate: Gate) -> String {
        let condition = &self.conditions[gate.condition];
        match gate.holds {
            true => format!(", when {}", condition.text()),
            false => format!(", else of {}", condition.node()),
        }
    }

    fn merge_line(&self, merge: &Merge) -> String {
        let of: Vec<&str> = merge.of.iter().map(|at| self.tensor(*at)).collect();
        let (of, kind) = (of.join(", "), merge.kind.name());
        format!("{of} -> {kind} -> {}", self.tensor(merge.tensor))
    }

    pub(crate) fn tensor(&self, at: usize) -> &str {
        &self.tensors[at]
    }
}

impl Node {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model that it runs.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The number or alias of its version, if it does not follow the model's endpoint.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The inputs of the model that it gives, in the order in which they are run.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(|(input, _)| input.as_str())
    }

    /// The outputs of the model that it needs, in the order in which they are given back.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.outputs.iter().map(|(output, _)| output.as_str())
    }

    /// Whether it runs on a part of the rows only.
    pub fn is_conditional(&self) -> bool {
        self.gate.is_some()
    }

    /// The model, with the version if it has one of its own: `fraud:3`.
    pub fn model_text(&self) -> String {
        match &self.version {
            None => self.model.clone(),
            Some(version) => format!("{}:{version}", self.model),
        }
    }
}
