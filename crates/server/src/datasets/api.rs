//! `/api/datasets`.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use tidegate_datasets::{DatasetQuery, DatasetRecord, DatasetReference};
use tidegate_gateway::Caller;
use tidegate_gateway::Permission::{ManagePredictions, ViewOperations, ViewPredictions};
use tidegate_serving::{ErrorCode, InferError};
use utoipa::{OpenApi, ToSchema};

use super::{ServerDatasets, infer_error};
use crate::blocking::run_blocking;
use crate::rest::{ApiError, ErrorBody, Path, body};
use crate::routes::Routes;

/// What is read of a file at once, in bytes.
const CHUNK_BYTES: usize = 256 << 10;

#[derive(OpenApi)]
#[openapi(paths(list, create, show, data, delete))]
struct Description;

pub(crate) fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

pub(super) fn routes(datasets: Arc<ServerDatasets>) -> Routes<()> {
    Routes::described_by(description())
        .get("/api/datasets", ViewOperations, list)
        .post("/api/datasets/{name}", ManagePredictions, create)
        .audited("dataset.create", "endpoint")
        .get("/api/datasets/{name}/{version}", ViewOperations, show)
        .get("/api/datasets/{name}/{version}/data", ViewPredictions, data)
        .delete("/api/datasets/{name}/{version}", ManagePredictions, delete)
        .audited("dataset.delete", "endpoint")
        .with_state(datasets)
}

/// A data set: its columns, its digest, and what it was made from.
#[derive(Serialize, ToSchema)]
pub(crate) struct DatasetAnswer {
    #[serde(flatten)]
    #[schema(value_type = Object)]
    record: DatasetRecord,
}

/// The data sets.
#[derive(Serialize, ToSchema)]
pub(crate) struct DatasetList {
    /// By name and version.
    datasets: Vec<DatasetAnswer>,
}

/// Which captured predictions of the endpoint become a data set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDatasetBody {
    /// Only what this version answered.
    #[serde(default)]
    version: Option<String>,
    /// The earliest time of a prediction, in milliseconds since 1970.
    from_ms: u64,
    /// The first time after the latest, in milliseconds since 1970.
    to_ms: u64,
    /// Only rows that have a label.
    #[serde(default)]
    labelled: bool,
}

/// A data set, and whether it is new.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedDataset {
    /// Otherwise there was one of the same content.
    created: bool,
    /// The data set.
    dataset: DatasetAnswer,
}

/// Every data set that was not deleted.
#[utoipa::path(get, path = "/api/datasets", tag = "quality",
    responses((status = 200, body = DatasetList), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn list(State(datasets): State<Arc<ServerDatasets>>) -> Result<Json<DatasetList>, ApiError> {
    let records = datasets.list().await?.into_iter();
    let datasets = records.map(|record| DatasetAnswer { record });
    Ok(Json(DatasetList {
        datasets: datasets.collect(),
    }))
}

/// Makes a data set of the captured predictions of an endpoint, joined with their labels.
#[utoipa::path(post, path = "/api/datasets/{name}", tag = "quality",
    params(("name" = String, Path)), request_body = NewDatasetBody,
    responses((status = 200, body = CreatedDataset), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 415, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn create(
    State(datasets): State<Arc<ServerDatasets>>,
    Path(endpoint): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CreatedDataset>, ApiError> {
    let wanted: NewDatasetBody = body::wanted(&headers, body, &datasets.server).await?;
    let query = DatasetQuery {
        endpoint,
        version: wanted.version,
        from_ms: wanted.from_ms,
        to_ms: wanted.to_ms,
        labelled: wanted.labelled,
    };
    let actor = caller.principal().to_string();
    // The route has a row of its own in the audit log.
    let (record, created) = datasets.create(query, &actor, false).await?;
    let dataset = DatasetAnswer { record };
    Ok(Json(CreatedDataset { created, dataset }))
}

/// One data set. Of a deleted one, what is known stays.
#[utoipa::path(get, path = "/api/datasets/{name}/{version}", tag = "quality",
    params(("name" = String, Path), ("version" = i64, Path)),
    responses((status = 200, body = DatasetAnswer), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn show(
    State(datasets): State<Arc<ServerDatasets>>,
    Path((name, version)): Path<(String, i64)>,
) -> Result<Json<DatasetAnswer>, ApiError> {
    let record = datasets.show(&DatasetReference { name, version }).await?;
    Ok(Json(DatasetAnswer { record }))
}

/// The Parquet file of a data set, once its content was found to be that of its digest.
#[utoipa::path(get, path = "/api/datasets/{name}/{version}/data", tag = "quality",
    params(("name" = String, Path), ("version" = i64, Path)),
    responses((status = 200, content_type = "application/vnd.apache.parquet", body = Vec<u8>),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
async fn data(
    State(datasets): State<Arc<ServerDatasets>>,
    Path((name, version)): Path<(String, i64)>,
) -> Result<Response, ApiError> {
    let record = datasets.show(&DatasetReference { name, version }).await?;
    let opened = datasets.open().await?.clone();
    let (bytes, digest) = (record.manifest.bytes, record.manifest.digest.clone());
    let file = run_blocking(move || opened.open(&record)).await?;
    let file = file.map_err(infer_error)?;
    let headers = [
        (
            header::CONTENT_TYPE,
            "application/vnd.apache.parquet".to_owned(),
        ),
        (header::CONTENT_LENGTH, bytes.to_string()),
        (header::ETAG, format!("\"{digest}\"")),
    ];
    Ok((
        headers,
        Body::from_stream(stream::try_unfold(file, next_chunk)),
    )
        .into_response())
}

async fn next_chunk(file: File) -> Result<Option<(Bytes, File)>, InferError> {
    let (file, chunk) = run_blocking(move || read_chunk(file)).await?;
    let chunk = chunk.map_err(|error| InferError::new(ErrorCode::Internal, error.to_string()))?;
    Ok((!chunk.is_empty()).then(|| (Bytes::from(chunk), file)))
}

fn read_chunk(mut file: File) -> (File, std::io::Result<Vec<u8>>) {
    let mut chunk = Vec::new();
    let read = (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut chunk);
    (file, read.map(|_| chunk))
}

/// Removes the file of a data set.
#[utoipa::path(delete, path = "/api/datasets/{name}/{version}", tag = "quality",
    params(("name" = String, Path), ("version" = i64, Path)),
    responses((status = 200, body = DatasetAnswer), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn delete(
    State(datasets): State<Arc<ServerDatasets>>,
    Path((name, version)): Path<(String, i64)>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<DatasetAnswer>, ApiError> {
    let reference = DatasetReference { name, version };
    let actor = caller.principal().to_string();
    let record = datasets.delete(&reference, &actor).await?;
    Ok(Json(DatasetAnswer { record }))
}
