//! The tensors of a graph by name, and what makes them.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::{GraphMerge, GraphMergeSpec, GraphNodeSpec, GraphSpec, Signature};

use crate::GraphError;
use crate::condition::Condition;
use crate::graph::{Gate, Merge, Node};

/// The longest name of a node or tensor, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// What makes a tensor.
#[derive(Clone, Copy, Debug)]
pub(super) enum Maker {
    Request,
    Node(usize),
    Merge(usize),
}

/// The tensors of a graph, each made once.
pub(super) struct Names<'a> {
    spec: &'a GraphSpec,
    pub(super) tensors: Vec<String>,
    pub(super) makers: Vec<Maker>,
    places: BTreeMap<&'a str, usize>,
}

impl<'a> Names<'a> {
    pub(super) fn of(spec: &'a GraphSpec, signature: &'a Signature) -> Result<Self, GraphError> {
        let mut names = Self {
            spec,
            tensors: Vec::new(),
            makers: Vec::new(),
            places: BTreeMap::new(),
        };
        for input in &signature.inputs {
            names.add(&input.name, Maker::Request)?;
        }
        let mut nodes = BTreeSet::new();
        for (at, node) in spec.nodes.iter().enumerate() {
            if !nodes.insert(&node.name) {
                let problem = format!("two nodes are named \"{}\"", node.name);
                return Err(GraphError::new(problem));
            }
            check_name("a node", &node.name)?;
            for tensor in node.outputs.values() {
                names.add(tensor, Maker::Node(at))?;
            }
        }
        for (at, merge) in spec.merges.iter().enumerate() {
            names.add(&merge.tensor, Maker::Merge(at))?;
        }
        Ok(names)
    }

    fn add(&mut self, tensor: &'a str, maker: Maker) -> Result<(), GraphError> {
        check_name("a tensor", tensor)?;
        if let Some(other) = self.places.insert(tensor, self.tensors.len()) {
            let (one, other) = (self.maker_text(self.makers[other]), self.maker_text(maker));
            let problem = format!("tensor \"{tensor}\" is made twice: by {one} and by {other}");
            return Err(GraphError::new(problem));
        }
        self.tensors.push(tensor.to_owned());
        self.makers.push(maker);
        Ok(())
    }

    fn maker_text(&self, maker: Maker) -> String {
        match maker {
            Maker::Request => "the inputs of the graph".to_owned(),
            Maker::Node(node) => format!("node \"{}\"", self.spec.nodes[node].name),
            Maker::Merge(_) => "a merge".to_owned(),
        }
    }

    fn place(&self, tensor: &str, who: &str) -> Result<usize, GraphError> {
        let known = self.places.get(tensor).copied();
        known.ok_or_else(|| {
            let problem = format!("{who} takes tensor \"{tensor}\", which nothing makes");
            GraphError::new(problem)
        })
    }

    pub(super) fn outputs(&self, signature: &Signature) -> Result<Vec<usize>, GraphError> {
        let outputs = signature.outputs.iter();
        let places = outputs.map(|output| self.place(&output.name, "the answer of the graph"));
        places.collect()
    }

    pub(super) fn node(&self, spec: &GraphNodeSpec) -> Result<Node, GraphError> {
        let who = format!("node \"{}\"", spec.name);
        if spec.outputs.is_empty() {
            return Err(GraphError::new(format!("{who} makes no tensor")));
        }
        let mut inputs = Vec::with_capacity(spec.inputs.len());
        for (input, tensor) in &spec.inputs {
            let place = self.place(tensor, &format!("{who}, input \"{input}\","))?;
            inputs.push((input.clone(), place));
        }
        let outputs = spec.outputs.iter();
        let outputs =
            outputs.map(|(output, tensor)| (output.clone(), self.places[tensor.as_str()]));
        Ok(Node {
            name: spec.name.clone(),
            model: spec.model.clone(),
            version: spec.version.clone(),
            inputs,
            outputs: outputs.collect(),
            gate: self.gate(spec)?,
        })
    }

    fn gate(&self, spec: &GraphNodeSpec) -> Result<Option<Gate>, GraphError> {
        if spec.when.is_some() {
            let condition = self.condition_of(&spec.name);
            return Ok(condition.map(|condition| Gate {
                condition,
                holds: true,
            }));
        }
        let Some(other) = &spec.else_of else {
            return Ok(None);
        };
        let condition = self.else_condition(&spec.name, other)?;
        Ok(Some(Gate {
            condition,
            holds: false,
        }))
    }

    /// The place of the condition of a node among all conditions.
    fn condition_of(&self, node: &str) -> Option<usize> {
        let conditional = self.spec.nodes.iter().filter(|node| node.when.is_some());
        conditional.into_iter().position(|other| other.name == node)
    }

    fn else_condition(&self, node: &str, other: &str) -> Result<usize, GraphError> {
        self.condition_of(other).ok_or_else(|| {
            let problem =
                format!("node \"{node}\" is the else of \"{other}\", which is no node with a when");
            GraphError::new(problem)
        })
    }

    pub(super) fn conditions(&self) -> Result<Vec<Condition>, GraphError> {
        let mut conditions = Vec::new();
        for node in &self.spec.nodes {
            let Some(text) = &node.when else { continue };
            let who = format!("node \"{}\", when {text:?}", node.name);
            let variables = tidegate_expression::variables(text);
            let variables =
                variables.map_err(|error| GraphError::new(format!("{who}: {error}")))?;
            if variables.is_empty() {
                return Err(GraphError::new(format!("{who}: it names no tensor")));
            }
            let mut places = Vec::with_capacity(variables.len());
            for variable in variables {
                let place = self.place(&variable, &who)?;
                places.push((variable, place));
            }
            let parent = match &node.else_of {
                Some(other) if *other == node.name => {
                    return Err(GraphError::new(format!("{who}: it is the else of itself")));
                }
                Some(other) => Some(self.else_condition(&node.name, other)?),
                None => None,
            };
            conditions.push(Condition::new(
                node.name.clone(),
                text.clone(),
                places,
                parent,
            ));
        }
        Ok(conditions)
    }

    pub(super) fn merge(&self, spec: &GraphMergeSpec) -> Result<Merge, GraphError> {
        let who = format!("merge \"{}\"", spec.tensor);
        let of: Result<Vec<usize>, _> = spec.of.iter().map(|from| self.place(from, &who)).collect();
        let of = of?;
        let is_single = spec.merge == GraphMerge::RowMax;
        if of.is_empty() || (is_single && of.len() != 1) {
            let wanted = if is_single {
                "one tensor"
            } else {
                "at least one tensor"
            };
            let problem = format!("{who} is made of {}, it needs {wanted}", of.len());
            return Err(GraphError::new(problem));
        }
        Ok(Merge {
            tensor: self.places[spec.tensor.as_str()],
            kind: spec.merge,
            weights: weights(spec, &who)?,
            of,
        })
    }
}

fn check_name(what: &str, name: &str) -> Result<(), GraphError> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        let bytes = name.len();
        let problem =
            format!("the name of {what} has {bytes} bytes, it needs 1 to {MAX_NAME_BYTES}");
        return Err(GraphError::new(problem));
    }
    Ok(())
}

/// The weights of a mean, so that they add up to 1.
fn weights(spec: &GraphMergeSpec, who: &str) -> Result<Vec<f64>, GraphError> {
    if spec.merge != GraphMerge::Mean {
        let problem = format!("{who} has weights, which only a mean has");
        return match spec.weights.is_empty() {
            true => Ok(Vec::new()),
            false => Err(GraphError::new(problem)),
        };
    }
    if spec.weights.is_empty() {
        return Ok(vec![1.0 / spec.of.len() as f64; spec.of.len()]);
    }
    let sum: f64 = spec.weights.iter().sum();
    let is_weight = |weight: &f64| weight.is_finite() && *weight >= 0.0;
    if spec.weights.len() != spec.of.len() || !spec.weights.iter().all(is_weight) || sum <= 0.0 {
        let problem = format!(
            "{who} needs a weight for each of its {} tensors, from 0 on and not all 0",
            spec.of.len()
        );
        return Err(GraphError::new(problem));
    }
    Ok(spec.weights.iter().map(|weight| weight / sum).collect())
}
