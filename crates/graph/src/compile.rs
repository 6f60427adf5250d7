//! From a manifest to a graph: names are resolved, steps are ordered, and rows are accounted for.

mod names;
mod plans;
mod rows;

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::{GraphSpec, Signature};

use self::names::{Maker, Names};
use self::plans::{Plan, Plans};
use crate::GraphError;
use crate::graph::{Action, Graph, MAX_MERGES, MAX_NODES, Step};

impl Graph {
    /// The graph of a manifest. With `has_rows`, axis 0 of inputs and outputs counts rows, and
    /// conditions are asked for each of them.
    ///
    /// # Errors
    /// What is wrong, with the names of the node and the tensor.
    pub fn compile(
        spec: &GraphSpec,
        signature: &Signature,
        has_rows: bool,
    ) -> Result<Self, GraphError> {
        check_sizes(spec)?;
        let names = Names::of(spec, signature)?;
        let mut graph = Self {
            inputs: signature.inputs.clone(),
            outputs: signature.outputs.clone(),
            output_tensors: names.outputs(signature)?,
            conditions: names.conditions()?,
            nodes: Vec::new(),
            merges: Vec::new(),
            steps: Vec::new(),
            readers: Vec::new(),
            tensors: Vec::new(),
            unused: Vec::new(),
            has_rows,
        };
        for node in &spec.nodes {
            graph.nodes.push(names.node(node)?);
        }
        for merge in &spec.merges {
            graph.merges.push(names.merge(merge)?);
        }
        graph.tensors = names.tensors;
        let plans = Plans::of(&graph, &names.makers);
        let order = plans.order(&graph)?;
        plans.check_depth(&order)?;
        rows::check(&graph, &plans, &order)?;
        graph.set_steps(plans, &order, &names.makers);
        Ok(graph)
    }

    /// Keeps the steps that outputs need, and only those nodes.
    fn set_steps(&mut self, plans: Plans, order: &[usize], makers: &[Maker]) {
        let needed = plans.needed(&self.output_tensors, makers);
        let mut places: Vec<Option<usize>> = vec![None; plans.plans.len()];
        let kept = order.iter().filter(|plan| needed.contains(plan));
        for (at, plan) in kept.enumerate() {
            places[*plan] = Some(at);
        }
        let mut plans: Vec<Option<Plan>> = plans.plans.into_iter().map(Some).collect();
        for plan in order {
            let Some(plan) = plans[*plan].take() else {
                continue;
            };
            if places[plan.place].is_none() {
                self.unused.extend(self.name_of(plan.action));
                continue;
            }
            let (at, after) = (self.steps.len(), plan.after);
            for earlier in after.iter().filter_map(|earlier| places[*earlier]) {
                self.steps[earlier].dependents.push(at);
            }
            self.steps.push(Step {
                action: plan.action,
                reads: plan.reads,
                waits_for: after.len(),
                dependents: Vec::new(),
            });
        }
        self.unused.sort();
        self.drop_unused_nodes();
        self.readers = vec![0; self.tensors.len()];
        for tensor in self.steps.iter().flat_map(|step| &step.reads) {
            self.readers[*tensor] += 1;
        }
    }

    fn drop_unused_nodes(&mut self) {
        let runs: BTreeSet<usize> = self.steps.iter().filter_map(|step| step.node()).collect();
        let mut places = BTreeMap::new();
        let nodes = std::mem::take(&mut self.nodes);
        for (at, node) in nodes.into_iter().enumerate() {
            if runs.contains(&at) {
                places.insert(at, self.nodes.len());
                self.nodes.push(node);
            }
        }
        for step in &mut self.steps {
            if let Action::Run(node) = &mut step.action {
                *node = places[node];
            }
        }
    }

    /// What people know a step by; conditions go with their nodes.
    pub(crate) fn name_of(&self, action: Action) -> Option<String> {
        match action {
            Action::Decide(_) => None,
            Action::Run(node) => Some(format!("node \"{}\"", self.nodes[node].name)),
            Action::Merge(merge) => {
                let tensor = self.merges[merge].tensor;
                Some(format!("merge \"{}\"", self.tensors[tensor]))
            }
        }
    }
}

impl Step {
    fn node(&self) -> Option<usize> {
        match self.action {
            Action::Run(node) => Some(node),
            _ => None,
        }
    }
}

fn check_sizes(spec: &GraphSpec) -> Result<(), GraphError> {
    let (nodes, merges) = (spec.nodes.len(), spec.merges.len());
    if nodes == 0 {
        return Err(GraphError::new("it has no nodes: add [[graph.nodes]]"));
    }
    for (count, most, what) in [(nodes, MAX_NODES, "nodes"), (merges, MAX_MERGES, "merges")] {
        if count > most {
            let problem = format!("it has {count} {what}, at most are {most}");
            return Err(GraphError::new(problem));
        }
    }
    Ok(())
}
