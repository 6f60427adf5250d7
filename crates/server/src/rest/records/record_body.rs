//! The bodies in which records come: JSON, CSV, a file, or a form.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::{HeaderMap, header};
use multer::{Constraints, Multipart, SizeLimit};
use tidegate_core::Tensor;
use tidegate_pipeline::{BadRows, Pipeline, Records};
use tidegate_serving::{ErrorCode, InferError, MemoryReservation, Version};

use crate::codec::{INLINE_BYTES, run_codec};

/// The most parts of a form.
const MAX_PARTS: usize = 4096;

/// What a parser of forms holds besides the body: its buffer, and the parts.
const FORM_COPIES: usize = 2;
/// Text becomes a value of JSON, and then JSON, which may take six bytes for one.
const TEXT_COPIES: usize = 8;

/// A body, as its content type says how to read it.
#[derive(Clone)]
pub(crate) enum RecordBody {
    /// `{"instances": …}` or `{"columns": …}`. What no client names is JSON, too: `curl -d` calls it a
    /// form.
    Json(Bytes),
    /// `{"instances": …}` of KServe v1, beside which there may be other members.
    V1(Bytes),
    /// A header with the names of fields, and a line for each row.
    Csv(Bytes),
    /// The value of a field: an image, a sound.
    File { content: Bytes, media_type: String },
    /// A tensor for each field, with its name.
    Tensors(Arc<[(String, Tensor)]>),
    /// The fields of one record, with their names.
    Form(Arc<[(String, Bytes)]>),
}

impl Default for RecordBody {
    fn default() -> Self {
        Self::Json(Bytes::new())
    }
}

impl RecordBody {
    /// A body, by the content type in its headers.
    pub(crate) async fn of(
        headers: &HeaderMap,
        body: Bytes,
        memory: &mut MemoryReservation,
    ) -> Result<Self, InferError> {
        let value = headers.get(header::CONTENT_TYPE);
        let value = value.and_then(|value| value.to_str().ok()).unwrap_or("");
        let media_type = value.split(';').next().unwrap_or("").trim();
        let media_type = media_type.to_ascii_lowercase();
        let is_file = media_type.starts_with("image/")
            || media_type.starts_with("audio/")
            || media_type == "application/octet-stream";
        if media_type == "multipart/form-data" {
            let boundary = multer::parse_boundary(value).map_err(|error| malformed(&error))?;
            return Ok(Self::Form(read_form(body, boundary, memory).await?));
        }
        if media_type == "text/csv" {
            return Ok(Self::Csv(body));
        }
        if is_file {
            return Ok(Self::File {
                content: body,
                media_type,
            });
        }
        Ok(Self::Json(body))
    }

    /// What reading it and running its records takes at most, in bytes.
    pub(crate) fn bytes_at_most(&self, pipeline: &Pipeline, bad_rows: BadRows) -> usize {
        let parts = match self {
            Self::Json(body) | Self::V1(body) => return pipeline.bytes_at_most(body, bad_rows),
            Self::Csv(body) => return pipeline.csv_bytes_at_most(body, bad_rows),
            Self::Tensors(inputs) => return pipeline.bytes_of_tensors_at_most(inputs, bad_rows),
            Self::File { content, .. } => content.len(),
            Self::Form(parts) => parts
                .iter()
                .map(|(name, content)| match pipeline.takes_file(name) {
                    true => content.len(),
                    false => TEXT_COPIES * content.len(),
                })
                .sum(),
        };
        pipeline.bytes_of_parts_at_most(parts, bad_rows)
    }

    /// Its records.
    pub(crate) fn read(
        &self,
        pipeline: &Pipeline,
        version: &Version,
        bad_rows: BadRows,
    ) -> Result<Records, InferError> {
        match self {
            Self::Json(body) => Ok(pipeline.read_with(body, bad_rows)?),
            Self::V1(body) => Ok(pipeline.read_v1(body, bad_rows)?),
            Self::Csv(body) => Ok(pipeline.read_csv(body, bad_rows)?),
            Self::Tensors(inputs) => Ok(pipeline.read_tensors(inputs, bad_rows)?),
            Self::Form(parts) => Ok(pipeline.read_parts(parts, bad_rows)?),
            Self::File {
                content,
                media_type,
            } => {
                let Some(field) = pipeline.file_field() else {
                    return Err(no_file_field(version, media_type));
                };
                let parts = [(field.to_owned(), content.clone())];
                Ok(pipeline.read_parts(&parts, bad_rows)?)
            }
        }
    }
}

/// Reads a form. Its parser copies the body into a buffer, and each part out of it.
async fn read_form(
    body: Bytes,
    boundary: String,
    memory: &mut MemoryReservation,
) -> Result<Arc<[(String, Bytes)]>, InferError> {
    memory.grow(FORM_COPIES * body.len(), ErrorCode::BodyTooLarge)?;
    if body.len() <= INLINE_BYTES {
        return Box::pin(parts(body, boundary)).await;
    }
    // The whole body is there: the parser never waits.
    let work = move || parts(body, boundary).now_or_never();
    run_codec(memory, work).await?.unwrap_or_else(|| {
        let message = "the parser of forms waited for a body that was complete";
        Err(InferError::new(ErrorCode::Internal, message))
    })
}

/// The parts of a form.
async fn parts(body: Bytes, boundary: String) -> Result<Arc<[(String, Bytes)]>, InferError> {
    // The body was limited as a whole when it was read.
    let limits = SizeLimit::new().whole_stream(u64::MAX);
    let body = stream::iter([Ok::<_, Infallible>(body)]);
    let constraints = Constraints::new().size_limit(limits);
    let mut form = Multipart::with_constraints(body, boundary, constraints);
    let mut parts = Vec::new();
    while let Some(part) = form.next_field().await.map_err(|error| malformed(&error))? {
        let Some(name) = part.name().map(str::to_owned) else {
            let message = "a part of the form has no name";
            return Err(InferError::new(ErrorCode::MalformedRequest, message));
        };
        if parts.len() == MAX_PARTS {
            let message = format!("the form has more than {MAX_PARTS} parts");
            return Err(InferError::new(ErrorCode::MalformedRequest, message));
        }
        let content = part.bytes().await.map_err(|error| malformed(&error))?;
        parts.push((name, content));
    }
    Ok(parts.into())
}

fn malformed(error: &multer::Error) -> InferError {
    let message = format!("the form cannot be read: {error}");
    InferError::new(ErrorCode::MalformedRequest, message)
}

fn no_file_field(version: &Version, media_type: &str) -> InferError {
    let (model, number) = (version.model(), version.number());
    let message = format!(
        "version {number} of \"{model}\" takes no body of type {media_type}: its pipeline has not \
         exactly one field of type \"bytes\"; send JSON, or multipart/form-data with a part for \
         each field"
    );
    InferError::new(ErrorCode::UnsupportedMediaType, message)
}
