//! Scoring of tables: files in, predictions in Parquet out, exactly once.
//!
//! In: files of Parquet, CSV, JSON lines or Arrow, and a version that is loaded in this process. Out: a
//! folder with a file of predictions for each unit of work, a table of the rows that have none, and a
//! manifest. Rows pass the same pipeline of requests as those of an endpoint ([`tidegate_serving`]), so
//! they get the same predictions. This crate must never depend on a wire format or a port.
//!
//! ```text
//!  inputs ─► find ─► survey ─► units ─┬─► read ─► bind ─► score ─► write ─► commit ─┐
//!                                     ├─► …      (a thread for each unit)           ├─► reconcile ─► manifest
//!                                     └─► …                                         ┘
//! ```
//!
//! - A **unit** is a range of rows of one file ([`UnitRange`]). Its key is a hash of all that its
//!   output depends on. Its output is one file, whose name is the unit's number.
//! - A unit is **committed** by a record that appears as a whole, after its files are durable. A run
//!   does the units that have none; so a job that was killed goes on where it was.
//! - Nothing in the output depends on time, on the number of threads or on what was killed.
//!
//! Begin at [`Job::plan`] and [`Job::run`].
//!
//! ```
//! use std::sync::Arc;
//!
//! use tidegate_batch::{Job, JobSpec, Progress, RunOptions, ScoringVersion};
//! use tidegate_core::EngineChoice;
//! use tidegate_engines::Engines;
//! use tidegate_serving::{MetricRegistry, Models, Serving};
//!
//! # let digits = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/models/digits");
//! let folder = tempfile::tempdir()?;
//! let input = folder.path().join("images.jsonl");
//! let pixels = vec!["0"; 64].join(",");
//! std::fs::write(&input, format!("{{\"id\": 7, \"image\": [{pixels}]}}\n"))?;
//!
//! let engines = Engines::discover(None, EngineChoice::from("portable"));
//! let models = Models::new(vec![digits.into()], engines, &MetricRegistry::new());
//! models.load_all();
//! let version = models.version("digits", None)?;
//! let serving = Arc::new(Serving::new(models));
//! let version = ScoringVersion::new(serving, version, "sha256:…".to_owned())?;
//!
//! let input = input.to_string_lossy().into_owned();
//! let spec = JobSpec::new("digits".to_owned(), vec![input]);
//! let job = Job::plan(version, spec, folder.path().join("scores"))?;
//! let options = RunOptions { threads: 1, max_errors: None };
//! let outcome = job.run(options, &Progress::default())?;
//! assert_eq!(outcome.manifest.scored_rows, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod binding;
mod error;
mod input;
mod job;
mod output;
mod predictions;
mod scorer;
mod version;

pub use error::{BatchError, Result};
pub use input::{FileIdentity, Format, Part, UnitRange};
pub use job::{
    Explanation, Job, JobOutcome, JobSpec, JobStatus, Keep, Progress, RunOptions, SampleRun,
};
pub use output::{InputRecord, Manifest, OutputFile, UnitRecord};
pub use version::ScoringVersion;
