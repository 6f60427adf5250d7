//! From the names that requests and nodes of graphs have for versions to the versions themselves.

use std::sync::Arc;
use std::time::Instant;

use crate::models::MAX_GRAPH_DEPTH;
use crate::{ErrorCode, Fleet, InferError, Models, Version};

/// Finds versions among the models of folders and those of the registry; the first have precedence.
#[derive(Clone)]
pub(crate) struct VersionFinder {
    pub(crate) models: Arc<Models>,
    /// The models of the registry, if it is followed.
    pub(crate) fleet: Option<Arc<Fleet>>,
}

impl VersionFinder {
    /// The fleet, if the model is one of the registry's.
    pub(crate) fn fleet_of(&self, model: &str) -> Option<&Arc<Fleet>> {
        self.fleet.as_ref().filter(|fleet| fleet.manages(model))
    }

    /// A version of a model, loaded if it is not, and whether this had to wait for it.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownModel`], [`ErrorCode::UnknownVersion`], [`ErrorCode::NotReady`] with the
    /// reason, [`ErrorCode::QueueFull`] if too many wait, [`ErrorCode::DeadlineExceeded`].
    pub(crate) async fn demand(
        &self,
        name: &str,
        version: Option<&str>,
        deadline: Option<Instant>,
    ) -> Result<(Arc<Version>, bool), InferError> {
        match self.models.version(name, version) {
            Ok(version) => Ok((version, false)),
            Err(error) => match self.fleet_of(name) {
                // Boxed: requests that do not wait here need not carry the place for it.
                Some(fleet) => Box::pin(fleet.demand(name, version, deadline)).await,
                None => Err(error),
            },
        }
    }

    /// Whether a request would be answered, if necessary after its version is loaded. A graph answers
    /// if its nodes do.
    ///
    /// # Errors
    /// Why it would not.
    pub(crate) fn would_answer(&self, name: &str, version: Option<&str>) -> Result<(), InferError> {
        self.would_answer_within(name, version, MAX_GRAPH_DEPTH)
    }

    fn would_answer_within(
        &self,
        name: &str,
        version: Option<&str>,
        depth: usize,
    ) -> Result<(), InferError> {
        match self.fleet_of(name) {
            Some(fleet) => fleet.would_answer(name, version)?,
            None => self.models.version(name, version).map(|_| ())?,
        }
        let Ok(loaded) = self.models.version(name, version) else {
            return Ok(());
        };
        match loaded.graph() {
            Some(_) if depth == 0 => {
                let problem =
                    format!("graphs are nested deeper than {MAX_GRAPH_DEPTH} at \"{name}\"");
                Err(InferError::new(ErrorCode::GraphFailed, problem))
            }
            Some(graph) => {
                for node in graph.nodes() {
                    self.would_answer_within(node.model(), node.version(), depth - 1)
                        .map_err(|error| unavailable(node, &error))?;
                }
                let checked = self.models.check_graph(&loaded, graph);
                checked.map_err(|problem| InferError::new(ErrorCode::GraphFailed, problem))
            }
            None => Ok(()),
        }
    }
}

/// The error of a graph whose node cannot answer.
pub(crate) fn unavailable(node: &tidegate_graph::Node, error: &InferError) -> InferError {
    let message = format!("{}: {}", node_text(node), error.message);
    InferError::new(ErrorCode::GraphNodeUnavailable, message)
}

/// Why a node cannot be one: a request of a graph is in no sequence.
pub(crate) fn keeps_states(node: &tidegate_graph::Node) -> String {
    format!(
        "{} keeps states of sequences, which graphs have none of",
        node_text(node)
    )
}

/// A node in messages.
pub(crate) fn node_text(node: &tidegate_graph::Node) -> String {
    format!("node \"{}\" ({})", node.name(), node.model_text())
}
