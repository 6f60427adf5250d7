//! Running what is missing of a job.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::plan::PlannedUnit;
use super::{Job, JobSpec, Progress};
use crate::error::{BatchError, Result};
use crate::input::{BadRow, InputFile};
use crate::output::{InputRecord, Manifest, SCHEMA, UnitRecord, UnitWriter};
use crate::scorer::{Outcome, Scorer, request_rows};

/// How a job runs. None of this changes its output.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// How many units are worked on at the same time.
    pub threads: usize,
    /// The most rows without predictions; more stop the job. `None` for any number.
    pub max_errors: Option<u64>,
}

/// A finished job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOutcome {
    /// What it has made.
    pub manifest: Manifest,
    /// The units that were missing when this run began.
    pub units_run: usize,
}

/// What is written before the first unit.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobFile {
    pub(super) spec: JobSpec,
    /// The rows of all inputs.
    pub(super) rows: u64,
    pub(super) units: usize,
}

/// What the threads of a run share.
struct Shared<'j> {
    job: &'j Job,
    options: RunOptions,
    progress: &'j Progress,
    /// The numbers of the units that are missing.
    missing: &'j [usize],
    next: AtomicUsize,
    has_failed: AtomicBool,
    failure: Mutex<Option<BatchError>>,
    tails: Mutex<()>,
}

impl Job {
    /// Runs what is missing, checks that every row is accounted for, and makes the output visible.
    /// Blocks.
    ///
    /// # Errors
    /// Why the job has stopped. What it has finished stays, and another run goes on from there.
    pub fn run(&self, options: RunOptions, progress: &Progress) -> Result<JobOutcome> {
        let _lock = self.folder.lock()?;
        let records = self.begin()?;
        let finished: Vec<&UnitRecord> = records.iter().flatten().collect();
        let rows_before = finished.iter().map(|record| record.range.rows).sum();
        let bad_before = finished
            .iter()
            .map(|record| record.quarantined_rows())
            .sum();
        progress.begin(self.rows(), rows_before, bad_before);
        let missing: Vec<usize> = (0..records.len())
            .filter(|number| records[*number].is_none())
            .collect();
        self.run_units(&missing, options, progress)?;
        let manifest = self.reconciled()?;
        match self.folder.manifest()? {
            None => self.folder.publish(&manifest)?,
            Some(earlier) if earlier == manifest => {}
            Some(_) => {
                let problem = "has a manifest of other content; remove the folder, and run the job \
                               again";
                return Err(BatchError::output(self.folder.root(), problem));
            }
        }
        Ok(JobOutcome {
            manifest,
            units_run: missing.len(),
        })
    }

    /// Writes down what the job is, or finds that it is the one that was begun here. The records of the
    /// units that are done.
    fn begin(&self) -> Result<Vec<Option<UnitRecord>>> {
        let root = self.folder.root();
        let Some(begun) = self.folder.job::<JobFile>()? else {
            self.folder.begin(&JobFile {
                spec: self.spec.clone(),
                rows: self.rows(),
                units: self.units.len(),
            })?;
            return self.finished_units();
        };
        if let Some(difference) = begun.spec.difference(&self.spec) {
            let problem = format!(
                "holds another job: {difference}; choose another folder, or go on with \
                 `tidegate batch resume`"
            );
            return Err(BatchError::output(root, problem));
        }
        let records = self.finished_units()?;
        if (begun.rows, begun.units) != (self.rows(), self.units.len()) {
            let problem = format!(
                "was begun over {} rows, and the input has {} now: files were added, removed or \
                 changed; choose another folder",
                begun.rows,
                self.rows()
            );
            return Err(BatchError::output(root, problem));
        }
        Ok(records)
    }

    /// The records of all units that are done.
    fn finished_units(&self) -> Result<Vec<Option<UnitRecord>>> {
        let mut records = Vec::with_capacity(self.units.len());
        for (number, unit) in self.units.iter().enumerate() {
            let record = self.folder.unit(number)?;
            if record.as_ref().is_some_and(|record| record.key != unit.key) {
                let place = self.place(unit);
                let problem = format!(
                    "unit {number} was made of other content than {place} has now: the input was \
                     changed since the job began; choose another folder"
                );
                return Err(BatchError::output(self.folder.root(), problem));
            }
            records.push(record);
        }
        Ok(records)
    }

    fn run_units(&self, missing: &[usize], options: RunOptions, progress: &Progress) -> Result<()> {
        let shared = Shared {
            job: self,
            options,
            progress,
            missing,
            next: AtomicUsize::new(0),
            has_failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            tails: Mutex::new(()),
        };
        let threads = options.threads.clamp(1, missing.len().max(1));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| shared.work());
            }
        });
        match shared.failure.into_inner() {
            None => Ok(()),
            Some(failure) => Err(failure),
        }
    }

    /// The manifest, if every row of every input is scored or has a reason why not.
    fn reconciled(&self) -> Result<Manifest> {
        let root = self.folder.root();
        let mut units = Vec::with_capacity(self.units.len());
        for (number, record) in self.finished_units()?.into_iter().enumerate() {
            let missing =
                || BatchError::output(root, format!("the files of unit {number} are gone"));
            units.push(record.ok_or_else(missing)?);
        }
        let scored_rows = units.iter().map(UnitRecord::scored_rows).sum();
        let quarantined_rows = units.iter().map(UnitRecord::quarantined_rows).sum();
        let unbalanced = units.iter().position(|unit| !unit.is_balanced());
        if unbalanced.is_some() || scored_rows + quarantined_rows != self.rows() {
            let problem = format!(
                "{} rows were read, {scored_rows} are scored and {quarantined_rows} in quarantine: \
                 the output is not complete",
                self.rows()
            );
            return Err(BatchError::output(root, problem));
        }
        Ok(Manifest {
            schema: SCHEMA,
            version: self.spec.version.clone(),
            digest: self.spec.digest.clone(),
            rows: self.rows(),
            scored_rows,
            quarantined_rows,
            inputs: self.files.iter().map(input_record).collect(),
            units,
        })
    }
}

fn input_record(file: &InputFile) -> InputRecord {
    InputRecord {
        path: file.path.to_string_lossy().into_owned(),
        identity: file.identity.clone(),
        rows: file.rows(),
    }
}

impl Shared<'_> {
    /// Takes one unit after the other until there is none, or somebody has failed.
    fn work(&self) {
        let outcome = Scorer::new(&self.job.version, &self.tails).and_then(|scorer| {
            while let Some(number) = self.missing.get(self.next.fetch_add(1, Ordering::Relaxed)) {
                self.run_unit(*number, &scorer)?;
            }
            Ok(())
        });
        if let Err(error) = outcome {
            self.has_failed.store(true, Ordering::Relaxed);
            let mut failure = self.failure.lock();
            // The others have only stopped because of it.
            if failure.is_none() || matches!(*failure, Some(BatchError::Stopped)) {
                *failure = Some(error);
            }
        }
    }

    fn run_unit(&self, number: usize, scorer: &Scorer<'_>) -> Result<()> {
        let job = self.job;
        let unit = &job.units[number];
        let (file, binding) = (&job.files[unit.input], &job.bindings[unit.input]);
        let name = file.path.to_string_lossy();
        let mut writer = UnitWriter::new(
            &job.folder,
            &job.schema,
            [&job.spec.version, &job.spec.digest],
            &name,
            &file.partition,
            number,
        );
        let place = job.place(unit);
        let mut reader = file.read(&unit.range, &binding.projection, request_rows(&job.version))?;
        let mut rows = 0;
        while let Some(batch) = reader.next_rows()? {
            self.check_stop()?;
            let read = (batch.rows.len() + batch.bad.len()) as u64;
            rows += read;
            let Outcome { scored, bad } = scorer.score(binding, batch, &place)?;
            for part in scored {
                writer.write_scores(part)?;
            }
            writer.write_bad(&bad)?;
            self.count(read, &bad, &name)?;
        }
        self.finish_unit(number, unit, rows, writer)
    }

    fn finish_unit(
        &self,
        number: usize,
        unit: &PlannedUnit,
        rows: u64,
        writer: UnitWriter<'_>,
    ) -> Result<()> {
        let place = self.job.place(unit);
        if rows != unit.range.rows {
            let problem = format!(
                "{place}: there are {rows} rows instead of {}",
                unit.range.rows
            );
            return Err(BatchError::Request(problem));
        }
        let (scores, quarantine) = writer.finish()?;
        let record = UnitRecord {
            key: unit.key.clone(),
            input: unit.input,
            range: unit.range,
            scores,
            quarantine,
        };
        if !record.is_balanced() {
            let (scored, bad) = (record.scored_rows(), record.quarantined_rows());
            let problem =
                format!("{rows} rows were read, {scored} are scored and {bad} in quarantine");
            return Err(BatchError::Version { place, problem });
        }
        self.job.folder.commit(number, &record)
    }

    fn check_stop(&self) -> Result<()> {
        match self.progress.is_stopped() || self.has_failed.load(Ordering::Relaxed) {
            true => Err(BatchError::Stopped),
            false => Ok(()),
        }
    }

    fn count(&self, rows: u64, bad: &[BadRow], file: &str) -> Result<()> {
        let all_bad = self.progress.add(rows, bad.len() as u64);
        match (self.options.max_errors, bad.first()) {
            (Some(max), Some(first)) if all_bad > max => Err(BatchError::TooManyBadRows {
                bad: all_bad,
                max,
                first: format!("{file}, row {}: {}", first.row, first.reason),
            }),
            _ => Ok(()),
        }
    }
}
