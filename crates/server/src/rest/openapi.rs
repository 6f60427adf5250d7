//! The description of the REST interface, generated from the handlers.

#![allow(
    dead_code,
    reason = "bodies that are read and written by hand are described here only"
)]

use std::collections::BTreeMap;

use utoipa::{OpenApi, ToSchema};

use super::{
    endpoint_openapi, health, infer, metadata, predict_v1, records, repository, settings,
    shared_memory, statistics,
};
use crate::components::DESCRIPTIONS;

/// The whole description; served at `/openapi.json`, browsable at `/docs`.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut description = protocols();
    for component in DESCRIPTIONS {
        description.merge(component());
    }
    description
}

/// The description of the inference protocols.
pub(super) fn protocols() -> utoipa::openapi::OpenApi {
    Protocols::openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidegate",
        description = "Model inference: the Open Inference Protocol v2 and KServe v1."
    ),
    paths(
        health::server,
        health::live,
        health::ready,
        health::model_ready,
        health::version_ready,
        metadata::model,
        metadata::version,
        metadata::config,
        metadata::version_config,
        statistics::all,
        statistics::model,
        statistics::version,
        infer::infer,
        infer::infer_version,
        repository::index,
        repository::load,
        repository::unload,
        shared_memory::all,
        shared_memory::one,
        shared_memory::register,
        shared_memory::unregister,
        shared_memory::unregister_all,
        shared_memory::cuda_all,
        shared_memory::cuda_register,
        shared_memory::cuda_unregister,
        settings::trace,
        settings::trace_of_model,
        settings::change_trace,
        settings::change_trace_of_model,
        settings::log,
        settings::change_log,
        predict_v1::models,
        predict_v1::model,
        predict_v1::predict,
        records::predict,
        endpoint_openapi::endpoint,
    )
)]
struct Protocols;

/// A bool, a number or a string.
#[derive(ToSchema)]
pub(crate) struct ParameterValue(serde_json::Value);

/// An inference request. With header `inference-header-content-length`, binary tensor data follows
/// the JSON.
#[derive(ToSchema)]
pub(crate) struct InferRequestBody {
    /// The client's id of the request; the response repeats it.
    id: Option<String>,
    /// `timeout` in microseconds, `priority` (1 is the most urgent), `binary_data_output`.
    #[schema(value_type = Option<Object>)]
    parameters: Option<BTreeMap<String, ParameterValue>>,
    inputs: Vec<InputTensor>,
    /// The outputs to return; all of them if absent.
    outputs: Option<Vec<OutputRequest>>,
}

/// An input.
#[derive(ToSchema)]
pub(crate) struct InputTensor {
    name: String,
    shape: Vec<i64>,
    /// BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, BF16, FP32, FP64 or
    /// BYTES.
    datatype: String,
    /// `binary_data_size`: the bytes of this input behind the JSON, in place of `data`.
    #[schema(value_type = Option<Object>)]
    parameters: Option<BTreeMap<String, ParameterValue>>,
    /// The elements in row-major order, flat or nested.
    #[schema(value_type = Option<Vec<Value>>)]
    data: Option<Vec<ParameterValue>>,
}

/// An output to return.
#[derive(ToSchema)]
pub(crate) struct OutputRequest {
    name: String,
    /// `binary_data`: as bytes behind the JSON; `classification`: the number of highest classes.
    #[schema(value_type = Option<Object>)]
    parameters: Option<BTreeMap<String, ParameterValue>>,
}

/// An answer. With header `inference-header-content-length`, binary tensor data follows the JSON.
#[derive(ToSchema)]
pub(crate) struct InferResponseBody {
    model_name: String,
    /// The version that answered.
    model_version: String,
    id: Option<String>,
    outputs: Vec<InputTensor>,
}

/// A KServe v1 request.
#[derive(ToSchema)]
pub(crate) struct InstancesBody {
    /// One row each.
    #[schema(value_type = Vec<Value>)]
    instances: Vec<ParameterValue>,
}

/// A KServe v1 answer.
#[derive(ToSchema)]
pub(crate) struct PredictionsBody {
    /// One row each, or an object of outputs by name.
    #[schema(value_type = Value)]
    predictions: ParameterValue,
}

/// A request of records: either `instances` or `columns`.
#[derive(ToSchema)]
pub(crate) struct RecordsBody {
    /// An object for each row, with the fields that the pipeline of the version declares.
    #[schema(value_type = Option<Vec<Object>>)]
    instances: Option<Vec<BTreeMap<String, ParameterValue>>>,
    /// An array for each field, all of the same length.
    #[schema(value_type = Option<Object>)]
    columns: Option<BTreeMap<String, Vec<ParameterValue>>>,
}

/// The answer to records, in the form of the request.
#[derive(ToSchema)]
pub(crate) struct RecordPredictionsBody {
    model_name: String,
    /// The version that answered.
    model_version: String,
    /// For `instances`: an object of fields for each row. For `columns`: an array for each field.
    #[schema(value_type = Value)]
    predictions: ParameterValue,
    /// Values that broke a rule and were used nevertheless, if there are any: at most 1000.
    flagged: Option<Vec<FlaggedValue>>,
    /// With `partial=true`: the rows that are `null` in `predictions`, if there are any.
    errors: Option<Vec<RowProblem>>,
}

/// A row that has no prediction.
#[derive(ToSchema)]
pub(crate) struct RowProblem {
    /// From 0.
    row: u64,
    field: String,
    /// `required`, `type`, `range`, `category`, `pattern`, `length` or `unknown`.
    reason: String,
    /// The row, the field, and what is wrong.
    error: String,
}

/// A value that broke a rule of its field.
#[derive(ToSchema)]
pub(crate) struct FlaggedValue {
    /// From 0.
    row: u64,
    field: String,
    /// `required`, `type`, `range`, `category`, `pattern` or `length`.
    reason: String,
}
