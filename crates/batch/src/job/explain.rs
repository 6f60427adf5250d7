//! What a job would do.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Job;
use crate::error::Result;
use crate::scorer::{Scorer, request_rows};

/// How long a sample runs.
const SAMPLE_TIME: Duration = Duration::from_secs(1);

/// What a job would do.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The version, and what runs it.
    pub version: String,
    /// The digest of its content.
    pub digest: String,
    /// Most rows in a run.
    pub batch_rows: usize,
    /// Files, rows and units.
    pub files: usize,
    /// The rows of all inputs.
    pub rows: u64,
    /// The number of units.
    pub units: usize,
    /// Each input of the version, with the columns of the first file that it is bound to.
    pub binding: Vec<(String, String)>,
    /// The columns of the output, with their types.
    pub output: Vec<(String, String)>,
    /// What a sample of the first rows has shown; `None` if there are no rows.
    pub sample: Option<SampleRun>,
}

/// Rows that were scored by one thread and not written.
#[derive(Clone, Copy, Debug)]
pub struct SampleRun {
    /// How many.
    pub rows: u64,
    /// Those without predictions.
    pub bad: u64,
    /// How long they took.
    pub took: Duration,
}

impl SampleRun {
    /// How long a job of so many rows takes on some threads.
    pub fn expected(&self, rows: u64, threads: usize) -> Duration {
        let each = self.took.as_secs_f64() / self.rows.max(1) as f64;
        Duration::from_secs_f64(each * rows as f64 / threads.max(1) as f64)
    }
}

impl Job {
    /// What it would do, with an estimate of a sample. Nothing is written. Blocks.
    ///
    /// # Errors
    /// If the sample cannot be scored.
    pub fn explain(&self) -> Result<Explanation> {
        let version = self.version.version();
        let fields = self.schema.fields().iter();
        Ok(Explanation {
            version: format!("{} on {}", self.spec.version, version.engine()),
            digest: self.spec.digest.clone(),
            batch_rows: self.version.max_batch_rows().map_or(1, |rows| rows.get()),
            files: self.files.len(),
            rows: self.rows(),
            units: self.units.len(),
            binding: self
                .bindings
                .first()
                .map_or(Vec::new(), |binding| binding.describe()),
            output: fields
                .map(|field| (field.name().clone(), field.data_type().to_string()))
                .collect(),
            sample: self.sample()?,
        })
    }

    fn sample(&self) -> Result<Option<SampleRun>> {
        let Some(unit) = self.units.first() else {
            return Ok(None);
        };
        let (file, binding) = (&self.files[unit.input], &self.bindings[unit.input]);
        let tails = Mutex::new(());
        let scorer = Scorer::new(&self.version, &tails)?;
        let place = self.place(unit);
        let began = Instant::now();
        let (mut rows, mut bad) = (0, 0);
        let mut reader = file.read(
            &unit.range,
            &binding.projection,
            request_rows(&self.version),
        )?;
        while let Some(batch) = reader.next_rows()? {
            rows += (batch.rows.len() + batch.bad.len()) as u64;
            bad += scorer.score(binding, batch, &place)?.bad.len() as u64;
            if began.elapsed() > SAMPLE_TIME {
                break;
            }
        }
        Ok(Some(SampleRun {
            rows,
            bad,
            took: began.elapsed(),
        }))
    }
}
