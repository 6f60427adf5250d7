//! Records and columns of JSON, straight into a [`Table`].

mod columns;
mod csv_reader;
mod parts;
mod reader;
mod tensor_reader;
mod violations;

use jiter::{Jiter, JiterError, JiterErrorType};

pub(crate) use self::columns::read_columns;
pub(crate) use self::parts::read_parts;
use self::reader::Reader;
pub(crate) use self::reader::number_problem;
pub(crate) use self::tensor_reader::read_tensors;
pub(crate) use self::violations::Violations;
use crate::field::Fields;
use crate::partial::{BadRows, PartialRows};
use crate::violations::{FieldViolations, Flagged};
use crate::{PipelineError, Table};

/// The form of a request, which its answer has too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordForm {
    /// `{"instances": [{…}, …]}`: an object for each row.
    #[default]
    Instances,
    /// `{"columns": {…}}`: an array for each field.
    Columns,
    /// CSV: a header, and a line for each row.
    Csv,
}

/// The rows of a request.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// Their values.
    pub table: Table,
    /// How they were written.
    pub form: RecordForm,
    /// Values that broke a rule and are used nevertheless; the first of them, if there are many.
    pub flagged: Vec<Flagged>,
    /// The rows of the table, where some were taken out.
    pub(crate) partial: Option<PartialRows>,
}

/// Reads the body of a request.
pub(crate) fn read(
    body: &[u8],
    fields: &Fields,
    counts: &FieldViolations,
    bad_rows: BadRows,
) -> Result<Records, PipelineError> {
    let mut violations = Violations::new(counts, bad_rows);
    let (form, table) = Reader::new(body, fields, &mut violations).read()?;
    checked(form, table, fields, violations)
}

/// Reads the body of a request of KServe v1.
pub(crate) fn read_v1(
    body: &[u8],
    fields: &Fields,
    counts: &FieldViolations,
    bad_rows: BadRows,
) -> Result<Records, PipelineError> {
    let mut violations = Violations::new(counts, bad_rows);
    let table = Reader::new(body, fields, &mut violations).read_v1()?;
    checked(RecordForm::Instances, table, fields, violations)
}

/// Reads the body of a request that is CSV.
pub(crate) fn read_csv(
    body: &[u8],
    fields: &Fields,
    counts: &FieldViolations,
    bad_rows: BadRows,
) -> Result<Records, PipelineError> {
    let mut violations = Violations::new(counts, bad_rows);
    let table = csv_reader::read(body, fields, &mut violations)?;
    checked(RecordForm::Csv, table, fields, violations)
}

/// How many rows such a body can have at most.
pub(crate) fn csv_rows_at_most(body: &[u8]) -> usize {
    let ends = body.iter().filter(|byte| matches!(byte, b'\n' | b'\r'));
    ends.count() + 1
}

/// Holds the values against the rules of their fields.
fn checked(
    form: RecordForm,
    mut table: Table,
    fields: &Fields,
    mut violations: Violations<'_>,
) -> Result<Records, PipelineError> {
    if table.rows == 0 {
        let problem = "the request has no rows".to_owned();
        return Err(PipelineError::Form(problem));
    }
    for (place, (field, column)) in fields.iter().zip(&mut table.columns).enumerate() {
        field.check(place, column, &mut violations)?;
    }
    let (flagged, failed) = violations.into_parts();
    let partial = failed.map(|failed| PartialRows::new(table.rows, failed));
    if let Some(partial) = &partial
        && !partial.failed.is_empty()
    {
        table = table.select(&partial.kept);
    }
    Ok(Records {
        table,
        form,
        flagged,
        partial,
    })
}

/// How many rows a body can have at most, to reserve memory for them before it is read.
pub(crate) fn rows_at_most(body: &[u8]) -> usize {
    // The first key decides, as the reader takes no second one; or, in KServe v1, skips it. Then there
    // are no more instances than commas.
    let mut json = Jiter::new(body);
    let is_columns = matches!(json.next_object(), Ok(Some("columns")));
    let mark = if is_columns { b',' } else { b'{' };
    let marks = body.iter().filter(|byte| **byte == mark).count();
    marks + 1
}

/// An error of the JSON reader with its place.
pub(crate) fn malformed(body: &[u8], error: &JiterError) -> PipelineError {
    let position = jiter::LinePosition::find(body, error.index);
    let problem = format!("{} at {position}", error.error_type);
    match error.error_type {
        JiterErrorType::JsonError(_) => PipelineError::Json(problem),
        JiterErrorType::WrongType { .. } => PipelineError::Form(problem),
    }
}
