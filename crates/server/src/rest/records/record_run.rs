//! Records on their way through a pipeline: the steps before the model, and those after it.

use std::sync::Arc;
use std::time::Instant;

use tidegate_core::Tensor;
use tidegate_pipeline::{BadRows, Pipeline, RecordForm, Records, Run};
use tidegate_serving::{
    AnsweredBy, ErrorCode, InferError, InferResponse, MemoryReservation, OutputTensor, Received,
    RequestFields, RequestedOutput, Version,
};

use super::RecordBody;
use crate::codec::{INLINE_BYTES, encoded_bytes, run_codec};
use crate::features::Features;
use crate::named_fields::places;

/// Records, and what has become of them.
#[derive(Default)]
pub(crate) struct RecordRun {
    bad_rows: BadRows,
    /// The pipeline that has read them last, and what its steps before the model have made.
    run: Option<(Arc<Pipeline>, Run)>,
}

/// What the lookups of a request need besides its records.
struct RequestLookups<'a> {
    features: &'a Features,
    deadline: Option<Instant>,
    /// Whether the records are read on the thread of their connection.
    is_small: bool,
}

/// The body of an answer.
pub(crate) struct EncodedRecords {
    pub(crate) bytes: Vec<u8>,
    pub(crate) content_type: &'static str,
}

/// The members of an answer besides its predictions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerStyle {
    /// The model and the version.
    Named,
    /// None: KServe v1.
    Plain,
}

impl RecordRun {
    pub(crate) fn new(bad_rows: BadRows) -> Self {
        Self {
            bad_rows,
            run: None,
        }
    }

    /// Whether a pipeline has read the records.
    pub(crate) fn has_begun(&self) -> bool {
        self.run.is_some()
    }

    /// Reads records, and makes the inputs of the model. Not again if the same pipeline has.
    pub(crate) async fn before(
        &mut self,
        pipeline: &Arc<Pipeline>,
        body: &RecordBody,
        received: &mut Received,
        version: &Arc<Version>,
        features: &Features,
    ) -> Result<(), InferError> {
        if let Some((earlier, _)) = &self.run
            // A fallback to a version with the same steps finds them done.
            && Arc::ptr_eq(earlier, pipeline)
        {
            return Ok(());
        }
        let memory = &mut received.memory;
        // Before the body is read: a short one can have very many rows of missing values.
        let bad_rows = self.bad_rows;
        let bytes = body.bytes_at_most(pipeline, bad_rows);
        memory.grow(bytes, ErrorCode::BodyTooLarge)?;
        let is_small = bytes <= INLINE_BYTES && !pipeline.has_sized_content();
        let mut run = if !pipeline.lookups().is_empty() {
            // Boxed: few pipelines look features up, and every request would have room for it.
            let lookups = RequestLookups {
                features,
                deadline: received.request.deadline,
                is_small,
            };
            Box::pin(self.before_with_features(pipeline, body, version, memory, lookups)).await?
        } else if is_small {
            let records = body.read(pipeline, version, bad_rows)?;
            pipeline.before(records)?
        } else {
            self.before_on_a_worker(pipeline, body, version, memory)
                .await?
        };
        received.request.inputs = run.take_inputs();
        if let Some(prediction) = &received.request.prediction {
            prediction.set_fields(|| RequestFields {
                columns: pipeline.field_columns(&run),
                rows: run.kept_rows().map(<[usize]>::to_vec),
            });
        }
        received.request.outputs = version.pipeline_outputs();
        self.run = Some((pipeline.clone(), run));
        Ok(())
    }

    async fn before_on_a_worker(
        &self,
        pipeline: &Arc<Pipeline>,
        body: &RecordBody,
        version: &Arc<Version>,
        memory: &mut MemoryReservation,
    ) -> Result<Run, InferError> {
        let (bad_rows, body) = (self.bad_rows, body.clone());
        let (reader, version) = (pipeline.clone(), version.clone());
        if !pipeline.has_sized_content() {
            let work = move || -> Result<Run, InferError> {
                Ok(reader.before(body.read(&reader, &version, bad_rows)?)?)
            };
            return run_codec(memory, work).await?;
        }
        let work = move || body.read(&reader, &version, bad_rows);
        let records = run_codec(memory, work).await??;
        steps_on_a_worker(pipeline, records, memory).await
    }

    /// As [`RecordRun::before`], with a wait for feature stores between reading and the steps.
    async fn before_with_features(
        &self,
        pipeline: &Arc<Pipeline>,
        body: &RecordBody,
        version: &Arc<Version>,
        memory: &mut MemoryReservation,
        lookups: RequestLookups<'_>,
    ) -> Result<Run, InferError> {
        let bad_rows = self.bad_rows;
        let mut records = if lookups.is_small {
            body.read(pipeline, version, bad_rows)?
        } else {
            let (body, reader, version) = (body.clone(), pipeline.clone(), version.clone());
            run_codec(memory, move || body.read(&reader, &version, bad_rows)).await??
        };
        let deadline = lookups.deadline;
        let features = lookups.features;
        features
            .look_up(pipeline, &mut records, deadline, memory)
            .await?;
        match lookups.is_small {
            true => Ok(pipeline.before(records)?),
            false => steps_on_a_worker(pipeline, records, memory).await,
        }
    }

    /// Runs the steps after the model, and writes the answer.
    pub(crate) async fn after(
        &mut self,
        response: InferResponse,
        style: AnswerStyle,
        max_bytes: usize,
        memory: &mut MemoryReservation,
    ) -> Result<EncodedRecords, InferError> {
        let (pipeline, run) = self.run.take().ok_or_else(not_loaded)?;
        // The columns of the request live on: steps after the model can use them.
        let outputs = encoded_bytes(&response, |_| false);
        let bytes = run.answer_bytes().saturating_add(outputs);
        memory.grow(bytes, ErrorCode::AnswerTooLarge)?;
        let body = if bytes <= INLINE_BYTES {
            encode(&pipeline, response, run, style, max_bytes)?
        } else {
            let encode = move || encode(&pipeline, response, run, style, max_bytes);
            run_codec(memory, encode).await??
        };
        memory.resize(body.bytes.len(), ErrorCode::AnswerTooLarge)?;
        Ok(body)
    }

    /// Runs the steps after the model; the outputs that are asked for are fields of the answer.
    pub(crate) async fn after_as_tensors(
        &mut self,
        mut response: InferResponse,
        wanted: Vec<RequestedOutput>,
    ) -> Result<InferResponse, InferError> {
        let (pipeline, run) = self.run.take().ok_or_else(not_loaded)?;
        let mut memory = std::mem::take(&mut response.memory);
        let outputs = encoded_bytes(&response, |_| true);
        let bytes = run.answer_bytes().saturating_add(outputs);
        memory.grow(bytes, ErrorCode::AnswerTooLarge)?;
        let mut response = if bytes <= INLINE_BYTES {
            as_tensors(&pipeline, response, run, &wanted)?
        } else {
            let work = move || as_tensors(&pipeline, response, run, &wanted);
            run_codec(&mut memory, work).await??
        };
        let outputs = response.outputs.iter();
        let bytes = outputs.map(|output| output.tensor.byte_len()).sum();
        memory.resize(bytes, ErrorCode::AnswerTooLarge)?;
        response.memory = memory;
        Ok(response)
    }
}

async fn steps_on_a_worker(
    pipeline: &Arc<Pipeline>,
    records: Records,
    memory: &mut MemoryReservation,
) -> Result<Run, InferError> {
    // What files take while they are decoded, and texts while they are tokenized: given back at once.
    let bytes = match pipeline.has_sized_content() {
        true => pipeline.content_bytes(&records),
        false => 0,
    };
    memory.grow(bytes, ErrorCode::BodyTooLarge)?;
    let runner = pipeline.clone();
    let run = run_codec(memory, move || runner.before(records)).await??;
    memory.shrink_to(memory.bytes().saturating_sub(bytes));
    Ok(run)
}

fn encode(
    pipeline: &Pipeline,
    response: InferResponse,
    run: Run,
    style: AnswerStyle,
    max_bytes: usize,
) -> Result<EncodedRecords, InferError> {
    let version = &response.version;
    let outputs = by_place(response.outputs);
    let answer = pipeline.after(run, &outputs)?;
    let mut json = Vec::with_capacity(256);
    if answer.form() == RecordForm::Csv {
        answer.encode(&mut json);
        return within(json, "text/csv; charset=utf-8", max_bytes);
    }
    json.push(b'{');
    if style == AnswerStyle::Named {
        json.extend_from_slice(b"\"model_name\":");
        push_text(&mut json, version.model());
        json.extend_from_slice(b",\"model_version\":");
        push_text(&mut json, version.number());
        json.push(b',');
        if let Some(prediction) = &response.prediction {
            json.extend_from_slice(b"\"prediction_id\":");
            push_text(&mut json, &prediction.id().to_string());
            json.push(b',');
        }
    }
    json.extend_from_slice(b"\"predictions\":");
    answer.encode(&mut json);
    if !answer.flagged().is_empty() {
        json.extend_from_slice(b",\"flagged\":");
        answer.encode_flagged(&mut json);
    }
    if answer.failed().next().is_some() {
        json.extend_from_slice(b",\"errors\":");
        answer.encode_failed(&mut json);
    }
    json.push(b'}');
    within(json, "application/json", max_bytes)
}

/// An answer whose outputs are fields.
fn as_tensors(
    pipeline: &Pipeline,
    response: InferResponse,
    run: Run,
    wanted: &[RequestedOutput],
) -> Result<InferResponse, InferError> {
    let outputs = by_place(response.outputs);
    let answer = pipeline.after(run, &outputs)?;
    let signature = pipeline.tensor_signature();
    let mut outputs = Vec::new();
    for index in places(wanted, signature)? {
        let tensor = pipeline.answer_tensor(&answer, index)?;
        outputs.push(OutputTensor { index, tensor });
    }
    Ok(InferResponse {
        version: AnsweredBy::Pipeline {
            by: Box::new(response.version),
            signature: signature.clone(),
        },
        outputs,
        ..response
    })
}

/// Outputs with their places in the signature.
fn by_place(outputs: Vec<OutputTensor>) -> Vec<(usize, Tensor)> {
    let outputs = outputs.into_iter();
    outputs
        .map(|output| (output.index, output.tensor))
        .collect()
}

/// An answer, if it is not too large.
fn within(
    bytes: Vec<u8>,
    content_type: &'static str,
    max_bytes: usize,
) -> Result<EncodedRecords, InferError> {
    if bytes.len() > max_bytes {
        let message = format!(
            "the answer has {} bytes, the maximum is {max_bytes} (server.max_answer_bytes)",
            bytes.len()
        );
        return Err(InferError::new(ErrorCode::AnswerTooLarge, message));
    }
    Ok(EncodedRecords {
        bytes,
        content_type,
    })
}

fn push_text(json: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(json, text).expect("a vector takes all text");
}

/// No version can read the records.
pub(crate) fn not_loaded() -> InferError {
    let message = "no version is loaded whose pipeline could read the records";
    InferError::new(ErrorCode::NotReady, message)
}
