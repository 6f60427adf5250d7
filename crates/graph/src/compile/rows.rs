//! The proof that every output has a value for every row.

use tidegate_core::GraphMerge;

use super::plans::Plans;
use crate::GraphError;
use crate::coverage::Coverage;
use crate::graph::{Action, Graph, Merge};

/// Proves that every output has a value, whichever way conditions turn out.
pub(super) fn check(graph: &Graph, plans: &Plans, order: &[usize]) -> Result<(), GraphError> {
    let mut tensors = vec![Coverage::default(); graph.tensors.len()];
    let mut asked = vec![Coverage::default(); graph.conditions.len()];
    for place in order {
        let plan = &plans.plans[*place];
        let reads = plan.reads.iter().map(|tensor| tensors[*tensor]);
        let all = reads.fold(Coverage::default(), Coverage::and);
        match plan.action {
            Action::Decide(condition) => {
                let parent = graph.conditions[condition].parent();
                let parent = parent.map(|parent| asked[parent].when(parent, false));
                asked[condition] = all.and(parent.unwrap_or_default());
            }
            Action::Run(at) => {
                let node = &graph.nodes[at];
                let gate = node
                    .gate
                    .map(|gate| asked[gate.condition].when(gate.condition, gate.holds));
                let own = all.and(gate.unwrap_or_default());
                if own.is_none() {
                    let problem = format!(
                        "node \"{}\" never runs: it takes tensors of branches that exclude each other",
                        node.name
                    );
                    return Err(GraphError::new(problem));
                }
                node.outputs
                    .iter()
                    .for_each(|(_, tensor)| tensors[*tensor] = own);
            }
            Action::Merge(at) => {
                let merge = &graph.merges[at];
                tensors[merge.tensor] = merged_coverage(graph, merge, &tensors, all)?;
            }
        }
    }
    let mut outputs = graph.output_tensors.iter();
    match outputs.find(|tensor| !tensors[**tensor].is_all()) {
        None => Ok(()),
        Some(tensor) => Err(GraphError::new(format!(
            "output \"{}\" has no value where conditions do not hold: merge it with the tensor of a \
             node that has else_of, or with one that is always there",
            graph.tensors[*tensor]
        ))),
    }
}

fn merged_coverage(
    graph: &Graph,
    merge: &Merge,
    tensors: &[Coverage],
    all: Coverage,
) -> Result<Coverage, GraphError> {
    let name = &graph.tensors[merge.tensor];
    if merge.kind == GraphMerge::First {
        let parts: Vec<Coverage> = merge.of.iter().map(|tensor| tensors[*tensor]).collect();
        return Coverage::any_of(&parts).ok_or_else(|| {
            GraphError::new(format!(
                "merge \"{name}\" may find no value: its tensors are not the two sides of a condition, \
                 and none of them is always there"
            ))
        });
    }
    match all.is_none() {
        true => Err(GraphError::new(format!(
            "merge \"{name}\" is never made: it takes tensors of branches that exclude each other"
        ))),
        false => Ok(all),
    }
}
