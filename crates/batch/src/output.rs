//! The output folder: files of units, the records that they are done, and the manifest of the whole.
//!
//! ```text
//! scores/
//! ├── dt=2026-11-01/part-00000.parquet      predictions
//! ├── _tidegate/
//! │   ├── job.json                          what the job is asked for; made first
//! │   ├── lock                              held by the process that writes
//! │   ├── tmp/                              files that are not finished
//! │   ├── quarantine/part-00000.parquet     rows without predictions, with the reason
//! │   ├── units/00000.json                  a unit is done: its key, its files, its counts
//! │   └── manifest.json                     the job is done: readers trust this alone
//! ```
//!
//! Every file is written under another name, made durable, and only then named or linked. Nothing in
//! it depends on time, chance, or the number of threads.

mod folder;
mod manifest;
mod unit_writer;

pub(crate) use self::folder::OutputFolder;
pub(crate) use self::manifest::SCHEMA;
pub use self::manifest::{InputRecord, Manifest, OutputFile, UnitRecord};
pub(crate) use self::unit_writer::{UnitWriter, output_schema};
