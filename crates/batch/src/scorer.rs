//! Rows in, predictions out: through the pipeline of requests, as those of an endpoint.

use std::time::{Duration, Instant};

use arrow_array::{Array, ArrayRef, UInt64Array};
use arrow_select::take::take;
use parking_lot::Mutex;
use tidegate_core::Tensor;
use tidegate_pipeline::PipelineError;
use tidegate_serving::{ErrorCode, InProcess, InferError, InferRequest, InferResponse};
use tokio::runtime::Runtime;

use crate::binding::{BoundInputs, FieldBinding, FileBinding, TensorBinding};
use crate::error::{BatchError, Result};
use crate::input::{BadRow, RowBatch};
use crate::predictions;
use crate::version::ScoringVersion;

/// So many runs of the largest batch are one request: enough to keep every instance busy, and few
/// enough that its columns stay in the caches of a processor.
const RUNS_IN_REQUEST: usize = 32;
/// The most rows of a request.
const MAX_REQUEST_ROWS: usize = 8192;
/// A queue that is full is full for some runs.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(2);
/// Longer than any run; a version's own default is for clients that wait.
const TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// How many rows are read and scored at a time.
pub(crate) fn request_rows(version: &ScoringVersion) -> usize {
    let max = version.max_batch_rows().map_or(1, |rows| rows.get());
    max.saturating_mul(RUNS_IN_REQUEST)
        .clamp(1, MAX_REQUEST_ROWS.max(max))
}

/// Scores rows on one thread. All threads of a job share the version.
pub(crate) struct Scorer<'j> {
    version: &'j ScoringVersion,
    /// Held by a request that does not fill its last batch. Two of them could share a run, and some
    /// kernels round otherwise in a batch of another size: then the output would depend on chance.
    tails: &'j Mutex<()>,
    runtime: Runtime,
}

/// Rows with their predictions.
#[derive(Debug, Default)]
pub(crate) struct ScoredRows {
    /// The numbers of the rows in their file.
    pub(crate) rows: Vec<u64>,
    /// The kept columns, and after them the predictions; none if no row has any.
    pub(crate) columns: Vec<ArrayRef>,
}

/// What has become of some rows.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// In the order of their rows.
    pub(crate) scored: Vec<ScoredRows>,
    /// In the order of their rows.
    pub(crate) bad: Vec<BadRow>,
}

/// Why rows could not be scored together.
enum Failure {
    /// A row among them has the reason.
    Rows(String),
    Job(String),
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::Row(error) => {
                Self::Rows(format!("field \"{}\" {}", error.field, error.problem))
            }
            PipelineError::Json(problem)
            | PipelineError::Form(problem)
            | PipelineError::Datatype(problem)
            | PipelineError::Shape(problem) => Self::Rows(problem),
            PipelineError::Output(problem) => Self::Job(problem),
        }
    }
}

impl From<InferError> for Failure {
    fn from(error: InferError) -> Self {
        match error.code.http_status() {
            400 | 413 | 422 => Self::Rows(error.to_string()),
            _ => Self::Job(format!("{} [{}]", error, error.code.name())),
        }
    }
}

impl<'j> Scorer<'j> {
    pub(crate) fn new(version: &'j ScoringVersion, tails: &'j Mutex<()>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        Ok(Self {
            version,
            tails,
            runtime: runtime.map_err(|error| {
                BatchError::Request(format!("a runtime cannot be made: {error}"))
            })?,
        })
    }

    /// Scores the rows of a batch. `place` names them for messages.
    pub(crate) fn score(
        &self,
        binding: &FileBinding,
        batch: RowBatch,
        place: &str,
    ) -> Result<Outcome> {
        let mut outcome = Outcome {
            scored: Vec::new(),
            bad: batch.bad.clone(),
        };
        let step = match self.version.max_batch_rows() {
            Some(_) => batch.rows.len(),
            // Rows that cannot share a run are requests of their own.
            None => 1,
        };
        for first in (0..batch.rows.len()).step_by(step.max(1)) {
            let rows = step.min(batch.rows.len() - first);
            let part = batch.slice(first, rows);
            self.score_part(binding, part, &mut outcome)
                .map_err(|problem| BatchError::Version {
                    place: place.to_owned(),
                    problem,
                })?;
        }
        outcome.bad.sort_by_key(|bad| bad.row);
        Ok(outcome)
    }

    /// Scores rows; if one of them fails all, halves of them, down to that row.
    fn score_part(
        &self,
        binding: &FileBinding,
        batch: RowBatch,
        outcome: &mut Outcome,
    ) -> std::result::Result<(), String> {
        let rows = batch.rows.len();
        let scored = match &binding.inputs {
            BoundInputs::Fields(fields) => self.score_records(fields, &batch, outcome),
            BoundInputs::Tensors(tensors) => {
                self.score_tensors(tensors, &batch, &binding.projection.bound, outcome)
            }
        };
        match scored {
            Ok(()) => Ok(()),
            Err(Failure::Job(problem)) => Err(problem),
            Err(Failure::Rows(reason)) if rows <= 1 => {
                let row = batch.rows.first().copied().unwrap_or_default();
                outcome.bad.push(BadRow { row, reason });
                Ok(())
            }
            Err(Failure::Rows(_)) => {
                let half = rows / 2;
                self.score_part(binding, batch.slice(0, half), outcome)?;
                self.score_part(binding, batch.slice(half, rows - half), outcome)
            }
        }
    }

    fn score_records(
        &self,
        fields: &FieldBinding,
        batch: &RowBatch,
        outcome: &mut Outcome,
    ) -> std::result::Result<(), Failure> {
        let version = self.version.version();
        let pipeline = version.pipeline();
        let pipeline = pipeline.ok_or_else(|| Failure::Job("it has no pipeline".to_owned()))?;
        let mut run = pipeline.before(fields.records(pipeline, batch)?)?;
        let request = InferRequest {
            inputs: run.take_inputs(),
            outputs: version.pipeline_outputs(),
            ..InferRequest::default()
        };
        let response = self.answer(request, run.rows())?;
        let outputs: Vec<(usize, Tensor)> = response
            .outputs
            .into_iter()
            .map(|output| (output.index, output.tensor))
            .collect();
        let answer = pipeline.after(run, &outputs)?;
        let predictions = predictions::of_answer(version, &answer).map_err(Failure::Job)?;
        for error in answer.failed() {
            outcome.bad.push(BadRow {
                row: batch.rows[error.row],
                reason: format!("field \"{}\" {}", error.field, error.problem),
            });
        }
        let answered = answer
            .answered_rows()
            .filter(|rows| rows.len() != batch.rows.len());
        let answered = answered.map(<[usize]>::to_vec);
        outcome.push(batch, answered.as_deref(), predictions)
    }

    fn score_tensors(
        &self,
        tensors: &TensorBinding,
        batch: &RowBatch,
        names: &[String],
        outcome: &mut Outcome,
    ) -> std::result::Result<(), Failure> {
        let inputs = match tensors.tensors(batch, names) {
            Ok(inputs) => inputs,
            Err(bad) => {
                let good: Vec<usize> = (0..batch.rows.len())
                    .filter(|place| !bad.contains_key(place))
                    .collect();
                outcome
                    .bad
                    .extend(bad.into_iter().map(|(place, reason)| BadRow {
                        row: batch.rows[place],
                        reason,
                    }));
                if good.is_empty() {
                    return Ok(());
                }
                let good = batch.select(&good).map_err(Failure::Job)?;
                return self.score_tensors(tensors, &good, names, outcome);
            }
        };
        let request = InferRequest {
            inputs,
            ..InferRequest::default()
        };
        let rows = batch.rows.len();
        let response = self.answer(request, rows)?;
        let mut predictions = Vec::new();
        for output in &response.outputs {
            let spec = &self.version.version().signature().outputs[output.index];
            let column = tidegate_columns::of_tensor(spec, &output.tensor, rows);
            predictions.push(column.map_err(Failure::Job)?);
        }
        outcome.push(batch, None, predictions)
    }

    /// Answers a request as a server does.
    fn answer(
        &self,
        request: InferRequest,
        rows: usize,
    ) -> std::result::Result<InferResponse, InferError> {
        let fills_batches = match self.version.max_batch_rows() {
            Some(max) => rows.is_multiple_of(max.get()),
            None => true,
        };
        let _tail = (!fills_batches).then(|| self.tails.lock());
        loop {
            let request = InferRequest {
                deadline: Some(Instant::now() + TIMEOUT),
                // Tensors share their memory.
                ..request.clone()
            };
            let exchange = InProcess::new(self.version.target(), request);
            let answer = self
                .runtime
                .block_on(self.version.serving().answer(exchange));
            match answer {
                Err(error) if error.code == ErrorCode::QueueFull => {
                    std::thread::sleep(QUEUE_FULL_PAUSE);
                }
                answer => return answer,
            }
        }
    }
}

impl Outcome {
    /// Adds scored rows: all of a batch, or those at some places.
    fn push(
        &mut self,
        batch: &RowBatch,
        places: Option<&[usize]>,
        predictions: Vec<ArrayRef>,
    ) -> std::result::Result<(), Failure> {
        let selected;
        let batch = match places {
            None => batch,
            Some(places) => {
                selected = batch.select(places).map_err(Failure::Job)?;
                &selected
            }
        };
        let columns: Vec<ArrayRef> = batch.kept.iter().cloned().chain(predictions).collect();
        if let Some(column) = columns
            .iter()
            .find(|column| column.len() != batch.rows.len())
        {
            let (found, wanted) = (column.len(), batch.rows.len());
            return Err(Failure::Job(format!(
                "{wanted} rows got {found} predictions"
            )));
        }
        self.scored.push(ScoredRows {
            rows: batch.rows.clone(),
            columns,
        });
        Ok(())
    }
}

impl RowBatch {
    /// Some rows in a row, without those that could not be read.
    fn slice(&self, first: usize, rows: usize) -> Self {
        Self {
            rows: self.rows[first..first + rows].to_vec(),
            bound: sliced(&self.bound, first, rows),
            kept: sliced(&self.kept, first, rows),
            bad: Vec::new(),
        }
    }

    /// The rows at some places.
    fn select(&self, places: &[usize]) -> std::result::Result<Self, String> {
        let indices = UInt64Array::from_iter_values(places.iter().map(|place| *place as u64));
        Ok(Self {
            rows: places.iter().map(|place| self.rows[*place]).collect(),
            bound: taken(&self.bound, &indices)?,
            kept: taken(&self.kept, &indices)?,
            bad: Vec::new(),
        })
    }
}

fn sliced(columns: &[ArrayRef], first: usize, rows: usize) -> Vec<ArrayRef> {
    let columns = columns.iter();
    columns.map(|column| column.slice(first, rows)).collect()
}

fn taken(
    columns: &[ArrayRef],
    indices: &UInt64Array,
) -> std::result::Result<Vec<ArrayRef>, String> {
    let mut selected = Vec::with_capacity(columns.len());
    for column in columns {
        selected.push(take(column, indices, None).map_err(|error| error.to_string())?);
    }
    Ok(selected)
}
