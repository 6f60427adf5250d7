//! Captured predictions on the disk: Parquet files in hourly partitions.
//!
//! In: tables of predictions of one endpoint and version. Out: files that appear as a whole or not at
//! all, and later their rows again, hour by hour. Whoever writes has redacted the values before; this
//! crate knows nothing of requests, models or the network.
//!
//! ```text
//! ROOT/endpoint=fraud/version=7/dt=2026-11-27/hour=09/0199....parquet
//! ```
//!
//! - [`CaptureFolder`]: the partitions, what they take, and their end by age and size.
//! - [`CaptureWriter`]: collects rows in bounded memory, and writes them.
//! - [`CaptureReader`]: the rows of one partition, with some of their columns.
//!
//! ```
//! use std::sync::Arc;
//! use arrow_array::{ArrayRef, Int64Array, RecordBatch};
//! use tidegate_capture::{CaptureFolder, CaptureWriter, Hour, PartitionKey};
//!
//! let place = tempfile::tempdir()?;
//! let folder = CaptureFolder::new(place.path());
//! let mut writer = CaptureWriter::new(folder.clone(), 1 << 20);
//! let key = PartitionKey {
//!     endpoint: "fraud".into(),
//!     version: "7".into(),
//!     hour: Hour::of_ms(1_795_770_000_000),
//! };
//! let values: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
//! writer.add(key.clone(), RecordBatch::try_from_iter([("amount", values)])?);
//! assert_eq!(writer.flush().rows, [("fraud".to_owned(), 3)]);
//! let rows: usize = folder.read(&key, None)?.map(|batch| batch.unwrap().num_rows()).sum();
//! assert_eq!(rows, 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod erase;
mod erasures;
mod error;
mod folder;
mod hour;
mod partition;
mod reader;
mod writer;

pub use erase::{Subject, SubjectRows};
pub use erasures::{Erasure, ErasureCount};
pub use error::CaptureError;
pub use folder::{CaptureFolder, FolderLock, Removed};
pub use hour::Hour;
pub use partition::{Partition, PartitionKey};
pub use reader::CaptureReader;
pub use writer::{CaptureWriter, Written};
