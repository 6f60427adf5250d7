//! The steps before and after the engine: from the fields of a request to the inputs of a model, and
//! from its outputs to the fields of the answer.
//!
//! In: the section `[pipeline]` of a manifest, the files of the bundle that it names (what
//! transformers learned, vocabularies), and the signature of the model. They are checked against each other once, by
//! [`Pipeline::compile`]: names, types and widths agree from there on. Then [`Pipeline::read`] takes
//! records from JSON into a [`Table`] of columns, [`Pipeline::before`] runs whole batches of them to
//! tensors, and [`Pipeline::after`] runs the outputs of the engine to an answer.
//!
//! Results are those of scikit-learn: `tests/` compares with vectors that it made. This crate does no
//! I/O, and must depend on nothing but the core and the tokenizers of `tidegate-text`.
//!
//! ```
//! use tidegate_core::{DataType, Dim, PipelineSpec, Signature, Tensor, TensorSpec};
//! use tidegate_pipeline::{BundleFiles, Pipeline};
//!
//! let spec: PipelineSpec = toml::from_str(r#"
//!     fields = [
//!         { name = "amount", type = "number", min = 0 },
//!         { name = "country", type = "string" },
//!     ]
//!     before = [
//!         { step = "function", input = "amount", function = "log1p" },
//!         { step = "one_hot", input = "country", categories = ["DE", "FR"], unknown = "zeros" },
//!     ]
//!     inputs = [{ name = "x", columns = ["amount", "country"] }]
//!     after = [
//!         { step = "threshold", input = "score", output = "decision", otherwise = "approve",
//!           rules = [{ at_least = 0.8, decision = "review" }] },
//!     ]
//!     response = [{ name = "decision" }]
//! "#)?;
//! let tensor = |name: &str, dims| TensorSpec {
//!     name: name.to_owned(),
//!     datatype: DataType::Fp32,
//!     dims: Some(dims),
//!     optional: false,
//! };
//! let signature = Signature {
//!     inputs: vec![tensor("x", vec![Dim::Any, Dim::Fixed(3)])],
//!     outputs: vec![tensor("score", vec![Dim::Any])],
//! };
//! let pipeline = Pipeline::compile(&spec, &BundleFiles::new(), &signature)?;
//!
//! let body = br#"{"instances": [{"amount": 0, "country": "FR"}]}"#;
//! let records = pipeline.read(body)?;
//! let mut run = pipeline.before(records)?;
//! let inputs = run.take_inputs();
//! assert_eq!(inputs[0].1.as_slice::<f32>(), Some([0.0, 0.0, 1.0].as_slice()));
//!
//! // The engine runs, and gives a score.
//! let score = Tensor::from_vec(tidegate_core::Shape::new(&[1])?, vec![0.9f32])?;
//! let answer = pipeline.after(run, &[(0, score)])?;
//! let mut json = Vec::new();
//! answer.encode(&mut json);
//! assert_eq!(json, br#"[{"decision":"review"}]"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod compile;
mod error;
mod exporter;
mod field;
mod lookup;
mod named_tensors;
mod node;
mod ops;
mod partial;
mod pipeline;
mod program;
mod records;
mod state;
mod table;
mod tensors;
mod violations;

pub use answer::{Answer, ResponseType};
pub use compile::BundleFiles;
pub use error::{CompileError, PipelineError, Reason, RowError};
pub use exporter::SKLEARN_EXPORTER;
pub use lookup::{LookedUp, Lookup, LookupCounts};
pub use partial::BadRows;
pub use pipeline::{Pipeline, Run};
pub use records::{RecordForm, Records};
pub use table::{Column, Table, TextColumn};
pub use violations::{FieldViolations, Flagged};
