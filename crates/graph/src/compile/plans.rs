//! The steps of a graph, and an order in which they can be done.

use std::collections::BTreeSet;

use super::names::Maker;
use crate::GraphError;
use crate::graph::{Action, Graph, MAX_DEPTH};

/// A step before it has a place in the order.
pub(super) struct Plan {
    pub(super) place: usize,
    pub(super) action: Action,
    pub(super) reads: Vec<usize>,
    /// The plans that come before, each once.
    pub(super) after: BTreeSet<usize>,
}

/// All plans: those of conditions, of nodes, and of merges.
pub(super) struct Plans {
    pub(super) plans: Vec<Plan>,
    conditions: usize,
    nodes: usize,
}

impl Plans {
    pub(super) fn of(graph: &Graph, makers: &[Maker]) -> Self {
        let mut plans = Self {
            plans: Vec::new(),
            conditions: graph.conditions.len(),
            nodes: graph.nodes.len(),
        };
        for (at, condition) in graph.conditions.iter().enumerate() {
            let reads = condition.variables().map(|(_, tensor)| tensor).collect();
            plans.add(Action::Decide(at), reads, condition.parent(), makers);
        }
        for (at, node) in graph.nodes.iter().enumerate() {
            let reads = node.inputs.iter().map(|(_, tensor)| *tensor).collect();
            let gate = node.gate.map(|gate| gate.condition);
            plans.add(Action::Run(at), reads, gate, makers);
        }
        for (at, merge) in graph.merges.iter().enumerate() {
            plans.add(Action::Merge(at), merge.of.clone(), None, makers);
        }
        plans
    }

    fn add(
        &mut self,
        action: Action,
        mut reads: Vec<usize>,
        condition: Option<usize>,
        makers: &[Maker],
    ) {
        reads.sort_unstable();
        reads.dedup();
        let makers = reads
            .iter()
            .filter_map(|tensor| self.place_of(makers[*tensor]));
        // Conditions come first among the plans.
        let after = makers.chain(condition).collect();
        let place = self.plans.len();
        self.plans.push(Plan {
            place,
            action,
            reads,
            after,
        });
    }

    /// The plan that makes a tensor; `None` if the request gives it.
    fn place_of(&self, maker: Maker) -> Option<usize> {
        match maker {
            Maker::Request => None,
            Maker::Node(node) => Some(self.conditions + node),
            Maker::Merge(merge) => Some(self.conditions + self.nodes + merge),
        }
    }

    /// The plans, each behind those that it comes after.
    pub(super) fn order(&self, graph: &Graph) -> Result<Vec<usize>, GraphError> {
        let mut order = Vec::with_capacity(self.plans.len());
        let mut is_placed = vec![false; self.plans.len()];
        while order.len() < self.plans.len() {
            let is_ready = |plan: &&Plan| {
                !is_placed[plan.place] && plan.after.iter().all(|earlier| is_placed[*earlier])
            };
            let Some(next) = self.plans.iter().find(is_ready) else {
                return Err(self.cycle(graph, &is_placed));
            };
            is_placed[next.place] = true;
            order.push(next.place);
        }
        Ok(order)
    }

    #[cold]
    fn cycle(&self, graph: &Graph, is_placed: &[bool]) -> GraphError {
        let first = is_placed.iter().position(|is_placed| !is_placed);
        let mut path = vec![first.unwrap_or_default()];
        loop {
            let last = &self.plans[path[path.len() - 1]];
            let Some(next) = last.after.iter().find(|earlier| !is_placed[**earlier]) else {
                return GraphError::new("it has a cycle");
            };
            if let Some(start) = path.iter().position(|plan| plan == next) {
                path.push(*next);
                let names = path[start..].iter().rev();
                let names: Vec<String> = names
                    .filter_map(|plan| graph.name_of(self.plans[*plan].action))
                    .collect();
                return GraphError::new(format!("it has a cycle: {}", names.join(" -> ")));
            }
            path.push(*next);
        }
    }

    /// The plans without which an output would be missing.
    pub(super) fn needed(&self, outputs: &[usize], makers: &[Maker]) -> BTreeSet<usize> {
        let outputs = outputs.iter().map(|tensor| makers[*tensor]);
        let mut open: Vec<usize> = outputs.filter_map(|maker| self.place_of(maker)).collect();
        let mut needed = BTreeSet::new();
        while let Some(plan) = open.pop() {
            if needed.insert(plan) {
                open.extend(&self.plans[plan].after);
            }
        }
        needed
    }

    /// Bounds how many nodes run one after the other.
    pub(super) fn check_depth(&self, order: &[usize]) -> Result<(), GraphError> {
        let mut depths = vec![0; self.plans.len()];
        for place in order {
            let plan = &self.plans[*place];
            let before = plan.after.iter().map(|earlier| depths[*earlier]).max();
            let own = usize::from(matches!(plan.action, Action::Run(_)));
            depths[*place] = before.unwrap_or(0) + own;
        }
        match depths.into_iter().max() {
            Some(depth) if depth > MAX_DEPTH => {
                let problem =
                    format!("{depth} nodes run one after the other, at most are {MAX_DEPTH}");
                Err(GraphError::new(problem))
            }
            _ => Ok(()),
        }
    }
}
