//! The plan of a job: which rows are which unit, and what each becomes.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, SchemaRef};
use serde::Serialize;

use super::{JobSpec, Keep};
use crate::binding::FileBinding;
use crate::error::{BatchError, Result};
use crate::input::{Columns, FileIdentity, InputFile, UnitRange, find, sha256};
use crate::output::{OutputFolder, SCHEMA, output_schema};
use crate::predictions;
use crate::version::ScoringVersion;

/// A planned job: all inputs were looked at, and no row was scored.
pub struct Job {
    pub(super) version: ScoringVersion,
    pub(super) spec: JobSpec,
    pub(super) folder: OutputFolder,
    pub(super) files: Vec<InputFile>,
    /// Of each file.
    pub(super) bindings: Vec<FileBinding>,
    pub(super) schema: SchemaRef,
    pub(super) units: Vec<PlannedUnit>,
}

/// Some rows of one file, whose output is a file of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedUnit {
    pub(super) input: usize,
    pub(super) range: UnitRange,
    pub(super) key: String,
}

/// Everything that the output of a unit depends on.
#[derive(Serialize)]
struct UnitKey<'a> {
    schema: u32,
    path: &'a str,
    partition: &'a str,
    identity: &'a FileIdentity,
    range: &'a UnitRange,
    version: &'a str,
    digest: &'a str,
    engine: &'a str,
    columns: &'a [String],
    output: &'a str,
}

impl Job {
    /// Looks at all inputs and binds their columns. Blocks.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn plan(version: ScoringVersion, mut spec: JobSpec, output: PathBuf) -> Result<Self> {
        spec.version = version.name();
        spec.digest = version.digest().to_owned();
        if spec.unit_rows == 0 {
            return Err(BatchError::Request(
                "a unit has at least one row (--unit-rows)".to_owned(),
            ));
        }
        let mut files = Vec::new();
        for found in find(&spec.inputs, spec.format)? {
            // What a job has written is no input of it when it goes on.
            if found.path.starts_with(&output) {
                continue;
            }
            files.push(InputFile::survey(found, spec.format, spec.unit_rows)?);
        }
        let names = kept_names(&spec.keep, &files)?;
        let kept = kept_fields(&names, &files)?;
        let schema = output_schema(&kept, &predictions::fields(version.version()))?;
        let mut bindings = Vec::new();
        for file in &files {
            bindings.push(FileBinding::new(
                &version,
                file,
                &spec.columns,
                names.clone(),
            )?);
        }
        let mut job = Self {
            version,
            spec,
            folder: OutputFolder::new(output),
            files,
            bindings,
            schema,
            units: Vec::new(),
        };
        job.units = job.planned_units();
        Ok(job)
    }

    /// What it is asked for.
    pub fn spec(&self) -> &JobSpec {
        &self.spec
    }

    /// The number of units.
    pub fn units(&self) -> usize {
        self.units.len()
    }

    /// The rows of all inputs.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(InputFile::rows).sum()
    }

    fn planned_units(&self) -> Vec<PlannedUnit> {
        let fields = self.schema.fields().iter();
        let fields: Vec<String> = fields
            .map(|field| format!("{} {}", field.name(), field.data_type()))
            .collect();
        let output = fields.join(", ");
        let mut units = Vec::new();
        for (input, file) in self.files.iter().enumerate() {
            for range in &file.ranges {
                units.push(PlannedUnit {
                    input,
                    range: *range,
                    key: self.unit_key(file, range, &output),
                });
            }
        }
        units
    }

    fn unit_key(&self, file: &InputFile, range: &UnitRange, output: &str) -> String {
        let key = UnitKey {
            schema: SCHEMA,
            path: &file.path.to_string_lossy(),
            partition: &file.partition,
            identity: &file.identity,
            range,
            version: &self.spec.version,
            digest: &self.spec.digest,
            engine: self.version.version().engine(),
            columns: &self.spec.columns,
            output,
        };
        sha256(&serde_json::to_vec(&key).expect("a vector takes all text"))
    }

    /// A unit, for messages: its file and rows.
    pub(super) fn place(&self, unit: &PlannedUnit) -> String {
        let file = self.files[unit.input].path.display();
        let (first, rows) = (unit.range.first_row, unit.range.rows);
        format!("{file}, rows {first} to {}", first + rows.saturating_sub(1))
    }
}

fn kept_names(keep: &Keep, files: &[InputFile]) -> Result<Vec<String>> {
    let Keep::Columns(names) = keep else {
        return match files.first().map(|file| &file.columns) {
            None => Ok(Vec::new()),
            Some(Columns::Typed(schema)) => Ok(schema
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect()),
            Some(Columns::Named(names)) => Ok(names.to_vec()),
            Some(Columns::Open) => {
                let problem = "lines of JSON do not say which columns there are: --keep must name \
                               those to keep";
                Err(BatchError::Request(problem.to_owned()))
            }
        };
    };
    Ok(names.clone())
}

/// The kept columns as they are written. They must have one type in all files.
fn kept_fields(names: &[String], files: &[InputFile]) -> Result<Vec<FieldRef>> {
    let mut fields = Vec::with_capacity(names.len());
    for name in names {
        let mut first: Option<(DataType, &InputFile)> = None;
        for file in files {
            let found = kept_type(name, file)?;
            match &first {
                None => first = Some((found, file)),
                Some((wanted, other)) if *wanted != found => {
                    let other = other.path.display();
                    let problem = format!(
                        "column \"{name}\", which is kept, is {found}, and {wanted} in {other}"
                    );
                    return Err(BatchError::input(&file.path, problem));
                }
                Some(_) => {}
            }
        }
        let data_type = first.map_or(DataType::Null, |(data_type, _)| data_type);
        fields.push(Arc::new(Field::new(name, data_type, true)) as FieldRef);
    }
    Ok(fields)
}

fn kept_type(name: &str, file: &InputFile) -> Result<DataType> {
    let place = file
        .columns
        .find(name)
        .map_err(|problem| BatchError::input(&file.path, problem))?;
    match (&file.columns, place) {
        (_, None) => {
            let listed = file.columns.listed();
            let problem = format!("has no column \"{name}\" to keep (--keep); it has {listed}");
            Err(BatchError::input(&file.path, problem))
        }
        (Columns::Typed(schema), Some(place)) => Ok(schema.field(place).data_type().clone()),
        // These formats have no types: a text is written as it was.
        (Columns::Named(_) | Columns::Open, Some(_)) => Ok(DataType::Utf8),
    }
}
