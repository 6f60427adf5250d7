//! The statistics extension of the protocol.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tidegate_serving::{DurationFigures, InferError, Version};
use utoipa::ToSchema;

use super::answer::{ApiError, ErrorBody};
use super::path::Path;
use crate::front_end::FrontEnd;

/// Requests of models by outcome, since the models were loaded.
#[derive(Serialize, ToSchema)]
pub(crate) struct Statistics {
    model_stats: Vec<ModelStatistics>,
}

/// Requests of a version by outcome.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelStatistics {
    name: String,
    version: String,
    /// Unix time of the last answer, in milliseconds; 0 if none.
    last_inference: u64,
    /// Rows answered.
    inference_count: u64,
    /// Batches run.
    execution_count: u64,
    inference_stats: InferenceStatistics,
    batch_stats: Vec<BatchStatistics>,
}

/// Requests by outcome and stage.
#[derive(Serialize, ToSchema)]
pub(crate) struct InferenceStatistics {
    success: Duration,
    fail: Duration,
    queue: Duration,
    compute_input: Duration,
    compute_infer: Duration,
    compute_output: Duration,
    cache_hit: Duration,
    cache_miss: Duration,
}

/// Batches of one size.
#[derive(Serialize, ToSchema)]
pub(crate) struct BatchStatistics {
    batch_size: u64,
    compute_input: Duration,
    compute_infer: Duration,
    compute_output: Duration,
}

/// A number of events and their time together.
#[derive(Serialize, ToSchema)]
pub(crate) struct Duration {
    count: u64,
    /// Nanoseconds.
    ns: u64,
}

impl From<DurationFigures> for Duration {
    fn from(figures: DurationFigures) -> Self {
        Self {
            count: figures.count,
            ns: figures.ns,
        }
    }
}

/// Statistics of all loaded models.
#[utoipa::path(get, path = "/v2/models/stats", tag = "statistics", responses((status = 200, body = Statistics)))]
pub(crate) async fn all(State(front_end): State<Arc<FrontEnd>>) -> Json<Statistics> {
    let models = front_end.serving.models().all();
    let versions = models.iter().flat_map(|model| model.versions());
    Json(Statistics {
        model_stats: versions.map(|version| statistics(version)).collect(),
    })
}

/// Statistics of a model's versions.
#[utoipa::path(get, path = "/v2/models/{model}/stats", tag = "statistics", params(("model" = String, Path)),
    responses((status = 200, body = Statistics), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn model(
    State(front_end): State<Arc<FrontEnd>>,
    Path(model): Path<String>,
) -> Result<Json<Statistics>, ApiError> {
    let model = front_end.serving.model(&model)?;
    Ok(Json(Statistics {
        model_stats: model
            .versions()
            .map(|version| statistics(version))
            .collect(),
    }))
}

/// Statistics of a version.
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}/stats", tag = "statistics",
    params(("model" = String, Path), ("version" = String, Path)),
    responses((status = 200, body = Statistics), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn version(
    State(front_end): State<Arc<FrontEnd>>,
    Path((model, version)): Path<(String, String)>,
) -> Result<Json<Statistics>, ApiError> {
    let found: Result<_, InferError> = front_end.serving.version(&model, Some(&version));
    Ok(Json(Statistics {
        // The protocol has a list here, also for a single version.
        model_stats: vec![statistics(&*found?)],
    }))
}

fn statistics(version: &Version) -> ModelStatistics {
    let figures = version.figures();
    let batches = figures.batches.iter().map(|batch| BatchStatistics {
        batch_size: batch.batch_size,
        compute_input: batch.compute_input.into(),
        compute_infer: batch.compute_infer.into(),
        // Splitting is not timed by batch size; its count is that of the runs.
        compute_output: Duration {
            count: batch.compute_infer.count,
            ns: 0,
        },
    });
    ModelStatistics {
        name: version.model().to_owned(),
        version: version.number().to_owned(),
        last_inference: figures.last_inference_ms,
        inference_count: figures.inference_count,
        execution_count: figures.execution_count,
        batch_stats: batches.collect(),
        inference_stats: InferenceStatistics {
            success: figures.success.into(),
            fail: figures.fail.into(),
            queue: figures.queue.into(),
            compute_input: figures.compute_input.into(),
            compute_infer: figures.compute_infer.into(),
            compute_output: figures.compute_output.into(),
            cache_hit: figures.cache_hit.into(),
            cache_miss: figures.cache_miss.into(),
        },
    }
}
