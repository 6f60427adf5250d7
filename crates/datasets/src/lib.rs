//! Data sets: captured predictions joined with their labels, as immutable files to train on.
//!
//! In: the folder of captured predictions, the labels of the database, and which rows are wanted. Out:
//! one Parquet file with a digest, a manifest that says what it was made from, and a row in the database.
//! The same rows and labels give the same bytes. This crate must never depend on the server.
//!
//! - [`DatasetQuery`]: which rows are wanted.
//! - [`Datasets`]: makes, lists, exports and deletes data sets.
//! - [`DatasetManifest`]: the columns and the lineage of one.
//! - [`LabelTarget`]: what the labels of a version are compared with.
//!
//! ```
//! use tidegate_datasets::DatasetReference;
//!
//! let reference: DatasetReference = "fraud@3".parse()?;
//! assert_eq!((reference.name.as_str(), reference.version), ("fraud", 3));
//! # Ok::<(), tidegate_datasets::DatasetError>(())
//! ```

mod build;
mod columns;
mod datasets;
mod diff;
mod error;
mod folder;
mod hashed_file;
mod label_target;
mod labels;
mod manifest;
mod reference;
mod writer;

pub use columns::{JOINED_COLUMNS, LabelKind};
pub use datasets::{Datasets, DatasetsContext};
pub use diff::{DatasetDiff, ValueChange};
pub use error::DatasetError;
pub use hashed_file::digest_of as sha256;
pub use label_target::{LabelTarget, truth};
pub use labels::{GivenLabel, label_of};
pub use manifest::{
    CapturedFile, DatasetColumn, DatasetLineage, DatasetManifest, DatasetQuery, DatasetRecord,
};
pub use reference::DatasetReference;
