//! Graphs of models: which models run on which tensors of a request, in which order, on which rows.
//!
//! In: the section `[graph]` of a manifest and the signature of the whole. Out: a [`Graph`] whose names
//! are resolved and which has no cycle, the check of its types against the signatures of its nodes, and
//! its run: independent nodes at the same time, each as soon as its inputs exist. Who runs a node, and
//! where, is the caller's: this crate does no I/O and knows neither engines nor queues.
//!
//! ```
//! use tidegate_core::{Shape, Signature, Tensor};
//! use tidegate_graph::{Graph, NodeRunner};
//!
//! /// Runs every model as `y = x + 1`.
//! struct PlusOne;
//!
//! impl NodeRunner for PlusOne {
//!     type Error = String;
//!
//!     async fn run(&self, _: usize, inputs: Vec<Tensor>, _: usize) -> Result<Vec<Tensor>, String> {
//!         let values = inputs[0].to_vec::<f32>().ok_or("no floats")?;
//!         let more = values.iter().map(|value| value + 1.0).collect();
//!         Ok(vec![Tensor::from_vec(inputs[0].shape().clone(), more).map_err(|e| e.to_string())?])
//!     }
//!
//!     fn hold(&self, _: usize) -> Result<(), String> {
//!         Ok(())
//!     }
//! }
//!
//! let manifest: tidegate_core::Manifest = toml::from_str(r#"
//!     [[signature.inputs]]
//!     name = "x"
//!     datatype = "FP32"
//!     shape = [-1]
//!     [[signature.outputs]]
//!     name = "y"
//!     datatype = "FP32"
//!     shape = [-1]
//!     [[graph.nodes]]
//!     name = "a"
//!     model = "plus_one"
//!     inputs = { x = "x" }
//!     outputs = { y = "y" }
//! "#)?;
//! let signature = tidegate_graph::declared(&manifest.signature)?;
//! let graph = Graph::compile(&manifest.graph.unwrap_or_default(), &signature, true)?;
//! let x = Tensor::from_vec(Shape::new(&[2])?, vec![1f32, 2.0])?;
//! let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! let outputs = runtime.block_on(graph.run(vec![x], 2, &PlusOne)).map_err(|e| e.to_string())?;
//! assert_eq!(outputs[0].to_vec::<f32>(), Some(vec![2.0, 3.0]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compile;
mod condition;
mod coverage;
mod declared;
mod error;
mod graph;
mod merge;
mod rows;
mod run;
mod types;

pub use self::declared::declared;
pub use self::error::{GraphError, RunError};
pub use self::graph::{Graph, MAX_DEPTH, MAX_MERGES, MAX_NODES, Node};
pub use self::run::NodeRunner;

#[cfg(test)]
mod tests;
