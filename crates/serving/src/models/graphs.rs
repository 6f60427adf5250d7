//! Graphs held against the models that they run.

use std::path::Path;
use std::sync::Arc;

use tidegate_core::Signature;
use tidegate_graph::Graph;

use super::Models;
use crate::Version;
use crate::source::FoundModel;
use crate::version_finder::keeps_states;

/// How deep graphs may be nested in graphs.
pub(crate) const MAX_GRAPH_DEPTH: usize = 4;

/// What was found under each path.
type Found<'a> = Vec<(&'a Path, Vec<FoundModel>)>;

/// Takes the graphs out of what was found.
pub(super) fn apart(found: Found<'_>) -> (Found<'_>, Found<'_>) {
    let (mut graphs, mut others) = (Vec::new(), Vec::new());
    for (root, models) in found {
        let (of_graphs, rest) = models.into_iter().partition(is_graph);
        graphs.push((root, of_graphs));
        others.push((root, rest));
    }
    (graphs, others)
}

fn is_graph(model: &FoundModel) -> bool {
    model.versions.iter().flatten().any(|plan| plan.is_graph())
}

impl Models {
    /// A version that was loaded, if it is no graph, or one that fits the nodes that are loaded.
    pub(crate) fn fitting(&self, version: Version) -> Result<Version, String> {
        if let Some(graph) = version.graph() {
            self.check_graph(&version, graph)?;
        }
        Ok(version)
    }

    /// Those of these versions that are loaded, all at one moment.
    pub(crate) fn loaded_versions<'a>(
        &self,
        names: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Vec<Option<Arc<Version>>> {
        let loaded = self.loaded.load();
        names
            .map(|(model, version)| loaded.get(model)?.resolve(version).cloned())
            .collect()
    }

    /// The loads that answers of a graph depend on: those of its nodes and of the nodes of graphs among
    /// them.
    pub(crate) fn node_loads(&self, graph: &Graph) -> Vec<u64> {
        let mut loads = Vec::new();
        self.add_node_loads(graph, MAX_GRAPH_DEPTH, &mut loads);
        loads
    }

    fn add_node_loads(&self, graph: &Graph, depth: usize, loads: &mut Vec<u64>) {
        let nodes = graph.nodes().iter();
        let nodes = nodes.map(|node| (node.model(), node.version()));
        for version in self.loaded_versions(nodes) {
            loads.push(
                version
                    .as_ref()
                    .map_or(u64::MAX, |version| version.load_id()),
            );
            let inner = version.as_ref().and_then(|version| version.graph());
            if let Some(inner) = inner.filter(|_| depth > 0) {
                self.add_node_loads(inner, depth - 1, loads);
            }
        }
    }

    /// The graphs that are loaded, by model and version; of those that are served by name, if asked for.
    pub(crate) fn graphs(&self, named_only: bool) -> Vec<(String, String)> {
        let named = self.named.lock().clone();
        let mut graphs = Vec::new();
        for model in self.loaded.load().values() {
            for version in model.versions().filter(|version| version.graph().is_some()) {
                if !named_only || named.contains(model.name()) {
                    graphs.push((model.name().to_owned(), version.number().to_owned()));
                }
            }
        }
        graphs
    }

    /// Checks a graph against those of its nodes that are loaded: types, and that graphs do not run each
    /// other in a circle.
    ///
    /// # Errors
    /// What does not fit, with the name of the node.
    pub(crate) fn check_graph(&self, version: &Version, graph: &Graph) -> Result<(), String> {
        let mut path = vec![version.model().to_owned()];
        self.check_circle(graph, version, &mut path)?;
        let mut versions = Vec::with_capacity(graph.nodes().len());
        for node in graph.nodes() {
            let found = self.version(node.model(), node.version()).ok();
            if found.as_ref().is_some_and(|version| version.keeps_states()) {
                return Err(keeps_states(node));
            }
            versions.push(found);
        }
        let signatures: Vec<Option<&Signature>> = versions
            .iter()
            .map(|version| version.as_ref().map(|version| version.signature()))
            .collect();
        graph.check(&signatures).map_err(|error| error.to_string())
    }

    /// Follows the graphs among the nodes of a graph, and theirs. `path` has the models on the way.
    fn check_circle(
        &self,
        graph: &Graph,
        first: &Version,
        path: &mut Vec<String>,
    ) -> Result<(), String> {
        for node in graph.nodes() {
            path.push(node.model_text());
            // A graph may run another version of its own model, which a number names.
            let is_pinned = node
                .version()
                .is_some_and(|version| version != first.number());
            if node.model() == first.model() && !is_pinned {
                return Err(format!(
                    "graphs run each other in a circle: {}",
                    path.join(" -> ")
                ));
            }
            let loaded = self.version(node.model(), node.version()).ok();
            if let Some(inner) = loaded.as_ref().and_then(|version| version.graph()) {
                if path.len() > MAX_GRAPH_DEPTH {
                    let path = path.join(" -> ");
                    return Err(format!(
                        "graphs are nested deeper than {MAX_GRAPH_DEPTH}: {path}"
                    ));
                }
                self.check_circle(inner, first, path)?;
            }
            path.pop();
        }
        Ok(())
    }
}
