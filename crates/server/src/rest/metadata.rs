//! The inputs and outputs of models, and how they are run.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tidegate_core::{Signature, TensorSpec};
use tidegate_protocol::model_config;
use tidegate_serving::{InferError, Version};
use utoipa::ToSchema;

use super::answer::{ApiError, ErrorBody};
use super::path::Path;
use crate::describe;
use crate::front_end::FrontEnd;

/// The inputs and outputs of a model.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelMetadata {
    name: String,
    /// Loaded versions.
    versions: Vec<String>,
    platform: &'static str,
    inputs: Vec<TensorMetadata>,
    outputs: Vec<TensorMetadata>,
    /// The fields that requests can have in place of the inputs, if the version has a pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pipeline: Option<PipelineMetadata>,
}

/// The fields of a pipeline as inputs and outputs.
#[derive(Serialize, ToSchema)]
pub(crate) struct PipelineMetadata {
    inputs: Vec<FieldMetadata>,
    outputs: Vec<TensorMetadata>,
}

/// A field of a request.
#[derive(Serialize, ToSchema)]
pub(crate) struct FieldMetadata {
    #[serde(flatten)]
    tensor: TensorMetadata,
    /// Whether a request may leave it out.
    optional: bool,
}

impl From<&Signature> for PipelineMetadata {
    fn from(signature: &Signature) -> Self {
        let inputs = signature.inputs.iter().map(|spec| FieldMetadata {
            tensor: TensorMetadata::from(spec),
            optional: spec.optional,
        });
        Self {
            inputs: inputs.collect(),
            outputs: signature.outputs.iter().map(TensorMetadata::from).collect(),
        }
    }
}

/// An input or output.
#[derive(Serialize, ToSchema)]
pub(crate) struct TensorMetadata {
    name: String,
    /// A data type of the protocol, such as FP32.
    datatype: &'static str,
    /// Extents, -1 for any.
    shape: Vec<i64>,
}

impl From<&TensorSpec> for TensorMetadata {
    fn from(spec: &TensorSpec) -> Self {
        Self {
            name: spec.name.clone(),
            datatype: spec.datatype.name(),
            shape: spec.wire_shape(),
        }
    }
}

/// The inputs and outputs of a model.
#[utoipa::path(get, path = "/v2/models/{model}", tag = "models", params(("model" = String, Path)),
    responses((status = 200, body = ModelMetadata), (status = 404, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn model(
    State(front_end): State<Arc<FrontEnd>>,
    Path(model): Path<String>,
) -> Result<Json<ModelMetadata>, ApiError> {
    Ok(Json(metadata(&front_end, &model, None).await?))
}

/// The inputs and outputs of a version.
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}", tag = "models",
    params(("model" = String, Path), ("version" = String, Path)),
    responses((status = 200, body = ModelMetadata), (status = 404, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn version(
    State(front_end): State<Arc<FrontEnd>>,
    Path((model, version)): Path<(String, String)>,
) -> Result<Json<ModelMetadata>, ApiError> {
    Ok(Json(metadata(&front_end, &model, Some(&version)).await?))
}

async fn metadata(
    front_end: &FrontEnd,
    name: &str,
    version: Option<&str>,
) -> Result<ModelMetadata, InferError> {
    // Loads the version if it must: before, its signature is not known.
    let (version, _) = front_end.serving.demand(name, version, None).await?;
    let model = front_end.serving.model(name)?;
    Ok(ModelMetadata {
        name: name.to_owned(),
        versions: model
            .versions()
            .map(|version| version.number().to_owned())
            .collect(),
        platform: version.platform(),
        inputs: version
            .signature()
            .inputs
            .iter()
            .map(TensorMetadata::from)
            .collect(),
        outputs: version
            .signature()
            .outputs
            .iter()
            .map(TensorMetadata::from)
            .collect(),
        pipeline: pipeline_metadata(&version),
    })
}

/// The fields of the pipeline of a version, if it has one.
pub(crate) fn pipeline_metadata(version: &Version) -> Option<PipelineMetadata> {
    let pipeline = version.pipeline()?;
    Some(PipelineMetadata::from(&**pipeline.tensor_signature()))
}

/// How a model is run, in the form of Triton's model configuration.
#[utoipa::path(get, path = "/v2/models/{model}/config", tag = "models", params(("model" = String, Path)),
    responses((status = 200, body = Object), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn config(
    State(front_end): State<Arc<FrontEnd>>,
    Path(model): Path<String>,
) -> Result<Json<serde_json::Value>, ApiError> {
    Ok(Json(config_of(
        &front_end.serving.demand(&model, None, None).await?.0,
    )))
}

/// How a version is run, in the form of Triton's model configuration.
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}/config", tag = "models",
    params(("model" = String, Path), ("version" = String, Path)),
    responses((status = 200, body = Object), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn version_config(
    State(front_end): State<Arc<FrontEnd>>,
    Path((model, version)): Path<(String, String)>,
) -> Result<Json<serde_json::Value>, ApiError> {
    Ok(Json(config_of(
        &front_end
            .serving
            .demand(&model, Some(&version), None)
            .await?
            .0,
    )))
}

fn config_of(version: &Version) -> serde_json::Value {
    model_config::to_json(&describe::model_config(version))
}
