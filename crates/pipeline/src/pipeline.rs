//! A compiled pipeline, and one run of it.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_core::{FieldType, Tensor};

use crate::answer::{Answer, ResponseField, ResponseType};
use crate::field::Fields;
use crate::lookup::Lookup;
use crate::named_tensors::NamedTensors;
use crate::partial::{BadRows, PartialRows};
use crate::program::{Kind, Memory, Program};
use crate::records::{self, RecordForm, Records};
use crate::tensors::{EngineInput, EngineOutput};
use crate::violations::{FieldViolations, Flagged};
use crate::{Column, PipelineError, Reason, RowError, Table};

/// The steps of a version, checked against its model. See the crate's documentation.
#[derive(Debug)]
pub struct Pipeline {
    pub(crate) fields: Fields,
    /// The fields, and behind them the features that are looked up; `None` if there are none of these.
    pub(crate) complete: Option<Fields>,
    pub(crate) lookups: Vec<Lookup>,
    pub(crate) before: Program,
    pub(crate) inputs: Vec<EngineInput>,
    pub(crate) outputs: Vec<EngineOutput>,
    /// Whether a step or the answer uses each output.
    pub(crate) wanted: Vec<bool>,
    pub(crate) after: Program,
    pub(crate) response: Vec<ResponseField>,
    /// Columns that a run makes.
    pub(crate) columns: usize,
    /// What a run needs besides columns.
    pub(crate) memory: Memory,
    /// Whether the content of fields tells what a step takes.
    pub(crate) is_sized_by_content: bool,
    pub(crate) unused: Vec<String>,
    pub(crate) violations: Arc<FieldViolations>,
    pub(crate) named_tensors: NamedTensors,
}

/// One run: the columns that the steps have made so far.
#[derive(Debug)]
pub struct Run {
    pub(crate) registers: Vec<Column>,
    pub(crate) rows: usize,
    pub(crate) form: RecordForm,
    pub(crate) flagged: Vec<Flagged>,
    pub(crate) partial: Option<PartialRows>,
    inputs: Vec<(String, Tensor)>,
}

impl Run {
    /// The inputs of the engine, by name. They are handed over once.
    pub fn take_inputs(&mut self) -> Vec<(String, Tensor)> {
        std::mem::take(&mut self.inputs)
    }

    /// The rows of the request.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The numbers of its rows in the request, where some were taken out.
    pub fn kept_rows(&self) -> Option<&[usize]> {
        self.partial.as_ref().map(|partial| partial.kept.as_slice())
    }

    /// What writing its answer takes at most, beside outputs of the model, in bytes.
    pub fn answer_bytes(&self) -> usize {
        let rows = self.partial.as_ref().map_or(0, |partial| {
            partial.total + partial.failed.len() * FAILED_ROW_BYTES
        });
        self.bytes().saturating_add(rows.saturating_mul(NULL_BYTES))
    }

    /// What its columns take, in bytes.
    pub fn bytes(&self) -> usize {
        self.registers.iter().map(Column::bytes).sum()
    }
}

/// What the steps before the engine have made.
struct Made {
    registers: Vec<Column>,
    inputs: Vec<(String, Tensor)>,
}

pub(crate) fn first_problem(partial: &PartialRows) -> PipelineError {
    match partial.failed.values().next() {
        Some(error) => PipelineError::Row(error.clone()),
        None => PipelineError::Form("the request has no rows".to_owned()),
    }
}

/// What a row that fails alone takes: its message, most of the time.
const FAILED_ROW_BYTES: usize = 512;
/// `null` with its comma.
const NULL_BYTES: usize = 5;

/// What a text takes, besides its characters.
const TEXT_BYTES: usize = 8;

impl Pipeline {
    /// Reads the records of a body.
    ///
    /// # Errors
    /// [`PipelineError`] names the row and the field, where there is one.
    pub fn read(&self, body: &[u8]) -> Result<Records, PipelineError> {
        self.read_with(body, BadRows::FailRequest)
    }

    /// As [`Pipeline::read`]; bad rows may fail alone.
    ///
    /// # Errors
    /// As [`Pipeline::read`] has them.
    pub fn read_with(&self, body: &[u8], bad_rows: BadRows) -> Result<Records, PipelineError> {
        let read = records::read(body, &self.fields, &self.violations, bad_rows);
        self.counted(read)
    }

    /// Reads the records of a body of KServe v1: its `instances`. Other members are skipped.
    ///
    /// # Errors
    /// As [`Pipeline::read`] has them.
    pub fn read_v1(&self, body: &[u8], bad_rows: BadRows) -> Result<Records, PipelineError> {
        let read = records::read_v1(body, &self.fields, &self.violations, bad_rows);
        self.counted(read)
    }

    /// Reads records of CSV: a header with the names of fields, and a line for each row.
    ///
    /// # Errors
    /// As [`Pipeline::read`] has them.
    pub fn read_csv(&self, body: &[u8], bad_rows: BadRows) -> Result<Records, PipelineError> {
        let read = records::read_csv(body, &self.fields, &self.violations, bad_rows);
        self.counted(read)
    }

    pub(crate) fn counted(
        &self,
        read: Result<Records, PipelineError>,
    ) -> Result<Records, PipelineError> {
        if let Err(PipelineError::Row(error)) = &read
            && error.reason == Reason::Unknown
        {
            // All others were counted where they were found.
            self.violations.count_error(error);
        }
        read
    }

    /// What reading a body and running its records takes at most, in bytes.
    pub fn bytes_at_most(&self, body: &[u8], bad_rows: BadRows) -> usize {
        self.bytes_of_rows(records::rows_at_most(body), body.len(), bad_rows)
    }

    /// The same for a body that is CSV.
    pub fn csv_bytes_at_most(&self, body: &[u8], bad_rows: BadRows) -> usize {
        self.bytes_of_rows(records::csv_rows_at_most(body), body.len(), bad_rows)
    }

    pub(crate) fn bytes_of_rows(&self, rows: usize, body: usize, bad_rows: BadRows) -> usize {
        let columns = self.columns.saturating_mul(size_of::<f64>() + TEXT_BYTES);
        let message = match bad_rows {
            BadRows::FailRequest => 0,
            BadRows::FailAlone => FAILED_ROW_BYTES,
        };
        rows.saturating_mul(
            columns
                .saturating_add(self.memory.row)
                .saturating_add(message),
        )
        .saturating_add(self.memory.scratch)
        .saturating_add(body.saturating_mul(self.memory.copies + 1))
    }

    /// Takes rows that were read as columns: one for each field, in their order; `None` where there is
    /// none, whose values are missing. Texts are read as the cells of CSV are.
    ///
    /// # Errors
    /// As [`Pipeline::read`] has them.
    pub fn read_columns(
        &self,
        rows: usize,
        columns: Vec<Option<Column>>,
        bad_rows: BadRows,
    ) -> Result<Records, PipelineError> {
        records::read_columns(rows, columns, &self.fields, &self.violations, bad_rows)
    }

    /// The only field of type `bytes`, if there is exactly one: a body that is a file can be its
    /// value.
    pub fn file_field(&self) -> Option<&str> {
        let mut files = self.fields.iter().filter(|field| field.kind == Kind::Bytes);
        let only = files.next().filter(|_| files.next().is_none());
        only.map(|field| &*field.name)
    }

    /// Whether a value of this name comes as it is: a file.
    pub fn takes_file(&self, name: &str) -> bool {
        let mut files = self.fields.iter().filter(|field| field.kind == Kind::Bytes);
        files.any(|field| *field.name == *name)
    }

    /// Reads one record whose values came by themselves, each with the name of its field: files, and
    /// everything else as text.
    ///
    /// # Errors
    /// As [`Pipeline::read`] has them.
    pub fn read_parts(
        &self,
        parts: &[(String, Bytes)],
        bad_rows: BadRows,
    ) -> Result<Records, PipelineError> {
        let read = records::read_parts(parts, &self.fields, &self.violations, bad_rows);
        self.counted(read)
    }

    /// What reading such a record and running it takes at most, in bytes.
    pub fn bytes_of_parts_at_most(&self, bytes: usize, bad_rows: BadRows) -> usize {
        self.bytes_of_rows(1, bytes, bad_rows)
    }

    /// Whether what a run takes depends on what is in the fields, besides: then
    /// [`Pipeline::content_bytes`] tells, once they are read.
    pub fn has_sized_content(&self) -> bool {
        self.is_sized_by_content
    }

    /// What running records takes besides [`Pipeline::bytes_at_most`], in bytes: that of files that
    /// are decoded, and of texts while they are tokenized.
    pub fn content_bytes(&self, records: &Records) -> usize {
        let table = &records.table;
        self.before.bytes(&table.columns, table.rows)
    }

    /// Runs the steps before the engine on all rows.
    ///
    /// # Errors
    /// [`PipelineError::Row`] for a value that a step cannot take.
    pub fn before(&self, records: Records) -> Result<Run, PipelineError> {
        self.check_features(&records)?;
        let mut partial = records.partial;
        let (rows, made) = match &mut partial {
            None => (records.table.rows, self.steps_before(records.table)?),
            Some(partial) => {
                let made = self.steps_before_good_rows(&records.table, partial)?;
                (partial.kept.len(), made)
            }
        };
        Ok(Run {
            registers: made.registers,
            rows,
            form: records.form,
            flagged: records.flagged,
            partial,
            inputs: made.inputs,
        })
    }

    /// The steps count on a column for each feature.
    fn check_features(&self, records: &Records) -> Result<(), PipelineError> {
        let complete = self.complete.as_ref().map_or(0, Fields::len);
        if records.table.columns.len() >= complete {
            return Ok(());
        }
        let problem = "the pipeline has lookups, and the features were not looked up";
        Err(PipelineError::Form(problem.to_owned()))
    }

    fn steps_before(&self, table: Table) -> Result<Made, RowError> {
        let rows = table.rows;
        let mut registers = table.columns;
        let mut inputs = Vec::with_capacity(self.inputs.len());
        let made = self.before.run(&mut registers, rows);
        let made = made.and_then(|()| {
            for input in &self.inputs {
                inputs.push((input.name.clone(), input.tensor(&registers, rows)?));
            }
            Ok(())
        });
        made.inspect_err(|error| self.violations.count_error(error))?;
        Ok(Made { registers, inputs })
    }

    /// Takes out the rows that a step cannot take: first one after the other, and if there are many,
    /// each is tried alone.
    fn steps_before_good_rows(
        &self,
        table: &Table,
        partial: &mut PartialRows,
    ) -> Result<Made, PipelineError> {
        const MAX_TRIES: usize = 3;
        let mut rows: Vec<usize> = (0..table.rows).collect();
        for _ in 0..MAX_TRIES {
            if rows.is_empty() {
                return Err(first_problem(partial));
            }
            match self.steps_before(table.select(&rows)) {
                Ok(made) => return Ok(made),
                Err(error) => {
                    rows.remove(error.row);
                    partial.fail(error);
                }
            }
        }
        let (mut good, mut kept) = (Vec::new(), Vec::new());
        for (row, of_request) in rows.into_iter().zip(std::mem::take(&mut partial.kept)) {
            match self.steps_before(table.select(&[row])) {
                Ok(_) => {
                    good.push(row);
                    kept.push(of_request);
                }
                Err(error) => {
                    let row = of_request;
                    partial.failed.insert(row, RowError { row, ..error });
                }
            }
        }
        partial.kept = kept;
        let rows = good;
        if rows.is_empty() {
            return Err(first_problem(partial));
        }
        Ok(self.steps_before(table.select(&rows))?)
    }

    /// The places, in the signature, of the outputs that it takes.
    pub fn outputs(&self) -> impl Iterator<Item = usize> + '_ {
        let wanted = self.wanted.iter().enumerate();
        wanted
            .filter(|(_, is_wanted)| **is_wanted)
            .map(|(at, _)| at)
    }

    /// The fields of a run with their values, those that were looked up included. Rows that were taken
    /// out are not in them.
    pub fn field_columns(&self, run: &Run) -> Vec<(String, Column)> {
        let fields = self.complete.as_ref().unwrap_or(&self.fields);
        let columns = fields.iter().zip(&run.registers);
        columns
            .map(|(field, column)| (field.name.to_string(), column.clone()))
            .collect()
    }

    /// Runs the steps after the engine. `outputs` has the place of each in the signature.
    ///
    /// # Errors
    /// [`PipelineError::Output`] if an output is not as the signature says, or if a step cannot take
    /// a value of it.
    pub fn after(
        &self,
        run: Run,
        outputs: &[(usize, Tensor)],
    ) -> Result<Answer<'_>, PipelineError> {
        let mut registers = run.registers;
        for (at, output) in self.outputs.iter().enumerate() {
            let given = outputs.iter().find(|(place, _)| *place == at);
            registers.push(match given {
                Some((_, tensor)) if self.wanted[at] => output.column(tensor, run.rows)?,
                None if self.wanted[at] => {
                    let problem = format!("the model gave no output \"{}\"", output.name);
                    return Err(PipelineError::Output(problem));
                }
                // No step reads it.
                _ => Column::Numbers(Vec::new()),
            });
        }
        let made = self.after.run(&mut registers, run.rows);
        made.map_err(|error| PipelineError::Output(error.to_string()))?;
        Ok(Answer {
            fields: &self.response,
            registers,
            rows: run.rows,
            form: run.form,
            flagged: run.flagged,
            partial: run.partial,
        })
    }

    /// The names of the fields that a request has.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| &*field.name)
    }

    /// Each field that a request has, with its type and whether its values may be missing.
    pub fn field_types(&self) -> impl Iterator<Item = (&str, FieldType, bool)> {
        let fields = self.fields.iter();
        fields.map(|field| (&*field.name, field.kind.field_type(), field.is_optional))
    }

    /// Each field that an answer has, with what its values are.
    pub fn response_types(&self) -> impl Iterator<Item = (&str, ResponseType)> {
        let fields = self.response.iter();
        fields.map(|field| (field.name.as_str(), field.response_type()))
    }

    /// The names of the fields that an answer has.
    pub fn response(&self) -> impl Iterator<Item = &str> {
        self.response.iter().map(|field| field.name.as_str())
    }

    /// Each input of the model, with what it takes: columns, or a tensor.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, String)> {
        let inputs = self.inputs.iter();
        inputs.map(|input| (input.name.as_str(), input.describe()))
    }

    /// Fields and columns that nothing uses.
    pub fn unused(&self) -> &[String] {
        &self.unused
    }

    /// How often values broke the rules of their fields.
    pub fn violations(&self) -> &Arc<FieldViolations> {
        &self.violations
    }

    /// Counts on from the counts of an earlier load, if that had the same fields.
    pub fn continue_violations(&mut self, earlier: &Arc<FieldViolations>) {
        if self.violations.has_names_of(earlier) {
            self.violations = earlier.clone();
        }
    }
}
