//! How far a job has come, by what is in its output folder.

use std::path::PathBuf;

use super::JobSpec;
use super::run::JobFile;
use crate::error::{BatchError, Result};
use crate::output::{Manifest, OutputFolder};

/// How far a job has come.
#[derive(Clone, Debug)]
pub struct JobStatus {
    /// What it was asked for.
    pub spec: JobSpec,
    /// The rows of all inputs.
    pub rows: u64,
    /// All units.
    pub units: usize,
    /// Those that are done.
    pub units_done: usize,
    /// Rows of these with predictions.
    pub scored_rows: u64,
    /// Rows of these without.
    pub quarantined_rows: u64,
    /// What it has made, once it is done.
    pub manifest: Option<Manifest>,
}

impl JobStatus {
    /// Reads the status of the job in an output folder. Blocks.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn read(output: PathBuf) -> Result<Self> {
        let folder = OutputFolder::new(output);
        let Some(job) = folder.job::<JobFile>()? else {
            return Err(BatchError::output(
                folder.root(),
                "holds no job of `tidegate batch run`",
            ));
        };
        let mut status = Self {
            spec: job.spec,
            rows: job.rows,
            units: job.units,
            units_done: 0,
            scored_rows: 0,
            quarantined_rows: 0,
            manifest: folder.manifest()?,
        };
        for number in folder.recorded_units()? {
            let Some(record) = folder.unit(number)? else {
                continue;
            };
            status.units_done += 1;
            status.scored_rows += record.scored_rows();
            status.quarantined_rows += record.quarantined_rows();
        }
        Ok(status)
    }
}
