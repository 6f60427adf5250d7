//! What can be wrong with a graph, and with a run of it.

use thiserror::Error;

/// A graph that cannot be served. The message names the node and the tensor.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct GraphError(pub(crate) String);

impl GraphError {
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

/// Why a request of a graph has no answer.
#[derive(Debug, Error)]
pub enum RunError<E> {
    /// A node failed.
    #[error("{error}")]
    Node {
        /// Its place among the nodes of the graph.
        node: usize,
        /// Why.
        error: E,
    },
    /// The tensors between the nodes may not take so much memory.
    #[error("{0}")]
    Memory(E),
    /// What the nodes gave does not fit the graph; the message names the node or the tensor.
    #[error("{0}")]
    Unfit(String),
}
