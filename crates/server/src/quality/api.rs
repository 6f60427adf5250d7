//! `/v1/endpoints/NAME/feedback`, `/api/quality` and `/api/captures`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::{Extension, Json};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_gateway::Caller;
use tidegate_gateway::Permission::{Call, ManagePredictions, ViewOperations, ViewPredictions};
use tidegate_quality::DriftReport;
use tidegate_quality::accuracy::ClassAccuracy;
use tidegate_serving::{ErrorCode, InferError, MemoryReservation};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::Quality;
use super::accuracy::VersionAccuracy;
use super::counts::{AccuracyMetric, ConfusionTable};
use super::drift::DriftStatus;
use super::estimate::EstimatedMetric;
use super::feedback::{FeedbackBody, FeedbackReceipt, Sender};
use crate::clock::now_ms;
use crate::request_memory;
use crate::rest::{ApiError, ErrorBody, Path, body};
use crate::routes::Routes;

/// The largest body with labels, in bytes.
const MAX_FEEDBACK_BYTES: usize = 16 << 20;
/// What labels take in memory, as a multiple of their bytes in JSON.
const LABEL_FACTOR: usize = 8;
/// Captured predictions of one answer, at most.
const MAX_CAPTURES: usize = 1000;
/// The longest window, in hours.
const MAX_WINDOW_H: u64 = 24 * 90;

#[derive(OpenApi)]
#[openapi(paths(feedback, accuracy, drift, captures, erase))]
struct Description;

pub(crate) fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

pub(super) fn routes(quality: Arc<Quality>) -> Routes<()> {
    Routes::described_by(description())
        .post("/v1/endpoints/{name}/feedback", Call, feedback)
        .get("/api/quality/{name}/accuracy", ViewOperations, accuracy)
        .get("/api/quality/{name}/drift", ViewOperations, drift)
        .get("/api/captures/{name}", ViewPredictions, captures)
        .post("/api/captures/{name}/erase", ManagePredictions, erase)
        .audited("captures.erase", "endpoint")
        .with_state(quality)
}

/// Takes labels of predictions: all or none. A later label of the same row replaces an earlier one.
#[utoipa::path(post, path = "/v1/endpoints/{name}/feedback", tag = "quality",
    params(("name" = String, Path)), request_body = FeedbackBody,
    responses((status = 200, body = FeedbackReceipt), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
async fn feedback(
    State(quality): State<Arc<Quality>>,
    Path(endpoint): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<FeedbackReceipt>, ApiError> {
    let rate = quality.check_captured(&endpoint)?;
    let (labels, _memory) = quality.labels(&headers, body).await?;
    let sender = Sender {
        endpoint: &endpoint,
        rate,
        principal: caller.principal().to_string(),
        tenant: caller.tenant(),
        now_ms: now_ms(),
    };
    Ok(Json(quality.add_feedback(labels, &sender).await?))
}

impl Quality {
    /// The labels of a body, and the memory that they take.
    async fn labels(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(FeedbackBody, MemoryReservation), InferError> {
        let mut memory = request_memory::begin(&self.memory);
        let max_bytes = self.server.max_body_bytes.min(MAX_FEEDBACK_BYTES);
        let body = body::read_at_most(max_bytes, headers, body, &self.server, &mut memory).await?;
        // Each label becomes a row with texts of its own.
        memory.grow(
            body.len().saturating_mul(LABEL_FACTOR),
            ErrorCode::BodyTooLarge,
        )?;
        Ok((body::parse(&body)?, memory))
    }
}

/// A time up to now.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct WindowQuery {
    /// How many hours it has, the current one included; `capture.accuracy_window_h` by default.
    window_h: Option<u64>,
    /// A captured column such as `field.country`: the accuracy for each of its values is shown too. Needs
    /// the permission `view-predictions`.
    by: Option<String>,
}

/// The accuracy of an endpoint.
#[derive(Serialize, ToSchema)]
pub(crate) struct AccuracyReport {
    /// The endpoint.
    endpoint: String,
    /// The first hour, in milliseconds since 1970.
    from_ms: u64,
    /// The end of the last hour, in milliseconds since 1970.
    to_ms: u64,
    /// The share of requests that is captured.
    capture_rate: f64,
    /// The versions that have answered.
    versions: Vec<VersionReport>,
}

/// The accuracy of a version.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionReport {
    /// Its number.
    version: String,
    /// The output that labels are compared with.
    output: Option<String>,
    /// Captured rows.
    predictions: u64,
    /// Those that have a label.
    labelled: u64,
    /// Labels that are none of its classes, or no number where it predicts one.
    unusable_labels: u64,
    /// From a prediction to its label, on average, in seconds.
    mean_label_delay_s: Option<f64>,
    /// What the labels say.
    metrics: Vec<AccuracyMetric>,
    /// What its probabilities say before labels come.
    estimated: EstimateReport,
    /// For classes: how often each was answered for each true one.
    confusion: Option<ConfusionTable>,
    /// For classes: the accuracy for each.
    #[schema(value_type = Vec<Object>)]
    classes: Vec<ClassAccuracy>,
    /// The accuracy for each value of the column that was asked for; beyond 50 values the others are
    /// together.
    segments: Vec<SegmentReport>,
    /// Each hour with predictions.
    hours: Vec<HourReport>,
    /// Why its labels are not compared.
    problem: Option<String>,
}

/// How right the predictions of a version probably are, labelled or not. The probabilities are calibrated
/// on its earliest labelled predictions; those that came later are estimated.
#[derive(Serialize, ToSchema)]
pub(crate) struct EstimateReport {
    /// The labelled predictions that it is calibrated on; 0 if it is not.
    reference_labels: u64,
    /// The time of the last of them, in milliseconds since 1970.
    reference_until_ms: Option<u64>,
    /// The figures, each beside what labels say of the same predictions.
    metrics: Vec<EstimatedMetric>,
    /// Why there is no estimate.
    problem: Option<String>,
}

/// The accuracy for a value of a column.
#[derive(Serialize, ToSchema)]
pub(crate) struct SegmentReport {
    /// The value.
    value: String,
    /// Captured rows.
    predictions: u64,
    /// Those that have a label.
    labelled: u64,
    /// What the labels say.
    metrics: Vec<AccuracyMetric>,
}

/// The accuracy in an hour.
#[derive(Serialize, ToSchema)]
pub(crate) struct HourReport {
    /// When it began, in milliseconds since 1970.
    begin_ms: u64,
    /// Captured rows.
    predictions: u64,
    /// Those that have a label.
    labelled: u64,
    /// What the labels say.
    metrics: Vec<AccuracyMetric>,
    /// What the probabilities say before labels come.
    estimated: Vec<EstimatedMetric>,
}

/// What labels say about the versions of an endpoint.
#[utoipa::path(get, path = "/api/quality/{name}/accuracy", tag = "quality",
    params(("name" = String, Path), WindowQuery),
    responses((status = 200, body = AccuracyReport), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
async fn accuracy(
    State(quality): State<Arc<Quality>>,
    Path(endpoint): Path<String>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<WindowQuery>, QueryRejection>,
) -> Result<Json<AccuracyReport>, ApiError> {
    let capture_rate = quality.check_captured(&endpoint)?;
    let Query(WindowQuery { window_h, by }) = query.map_err(wrong_query)?;
    if by.is_some() && !caller.may(ViewPredictions, &endpoint) {
        let message = "values of captured predictions need the permission view-predictions";
        return Err(InferError::new(ErrorCode::Forbidden, message).into());
    }
    let hours = window_h.unwrap_or(quality.config.accuracy_window_h);
    if hours == 0 || hours > MAX_WINDOW_H {
        let message = format!("window_h is {hours}, it must be from 1 to {MAX_WINDOW_H}");
        return Err(InferError::new(ErrorCode::InvalidParameter, message).into());
    }
    let (from, to) = super::last_hours(hours);
    let measuring = quality.accuracy_of(&endpoint, (from, to), by.as_deref());
    let versions = measuring.await?;
    Ok(Json(AccuracyReport {
        endpoint,
        from_ms: from.begin_ms(),
        to_ms: to.end_ms(),
        capture_rate,
        versions: versions.into_iter().map(VersionReport::new).collect(),
    }))
}

impl VersionReport {
    fn new((version, accuracy): (String, VersionAccuracy)) -> Self {
        let counts = &accuracy.counts;
        let segments = accuracy.by_segment.segments.iter();
        let segments = segments.map(|(value, counts)| SegmentReport {
            value: value.clone(),
            predictions: counts.predictions,
            labelled: counts.labelled,
            metrics: counts.metrics(),
        });
        let hours = accuracy.hours.iter().map(|(hour, counts)| HourReport {
            begin_ms: hour.begin_ms(),
            predictions: counts.predictions,
            labelled: counts.labelled,
            metrics: counts.metrics(),
            estimated: accuracy.estimated(counts),
        });
        let hours = hours.collect();
        Self {
            version,
            estimated: EstimateReport::new(&accuracy),
            output: accuracy.target.map(|target| target.output),
            predictions: counts.predictions,
            labelled: counts.labelled,
            unusable_labels: counts.unusable,
            mean_label_delay_s: counts.mean_delay_s(),
            metrics: counts.metrics(),
            confusion: counts.confusion(),
            classes: counts.by_class(),
            segments: segments.collect(),
            hours,
            problem: accuracy.problem,
        }
    }
}

impl EstimateReport {
    fn new(accuracy: &VersionAccuracy) -> Self {
        let reference = accuracy.reference.as_ref();
        let found = reference.and_then(|found| found.as_ref().ok());
        Self {
            reference_labels: found.map_or(0, |reference| reference.labels()),
            reference_until_ms: found.map(|reference| reference.until_ms()),
            metrics: accuracy.estimated(&accuracy.counts),
            problem: reference.and_then(|found| found.as_ref().err()).cloned(),
        }
    }
}

/// What was found when captured predictions were held against the baselines of their versions.
#[derive(Serialize, ToSchema)]
pub(crate) struct DriftAnswer {
    /// The model.
    model: String,
    /// How long a window is, in seconds.
    window_s: u64,
    /// The versions that have a baseline and were called.
    versions: Vec<VersionDrift>,
}

/// The windows of a version.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionDrift {
    /// Its number.
    version: String,
    /// Rows in the window that has not ended. Nothing is said of it yet: to look again and again would
    /// find drift where there is none.
    rows: u64,
    /// The last windows with rows, the newest first.
    windows: Vec<DriftWindow>,
    /// Why it is not watched.
    problem: Option<String>,
}

/// A window that has ended.
#[derive(Serialize, ToSchema)]
pub(crate) struct DriftWindow {
    /// When it began, in milliseconds since 1970.
    begin_ms: u64,
    /// When it ended, in milliseconds since 1970.
    end_ms: u64,
    /// The rows, the rate of false alarms, and the columns: the most changed first.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    report: DriftReport,
}

/// Which columns of a model have drifted, and why.
#[utoipa::path(get, path = "/api/quality/{name}/drift", tag = "quality",
    params(("name" = String, Path)),
    responses((status = 200, body = DriftAnswer), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody)))]
async fn drift(
    State(quality): State<Arc<Quality>>,
    Path(model): Path<String>,
) -> Result<Json<DriftAnswer>, ApiError> {
    quality.check_captured(&model)?;
    let versions = quality.drift.status(&model).into_iter();
    Ok(Json(DriftAnswer {
        window_s: quality.config.drift_window_s,
        versions: versions
            .map(|status| VersionDrift::new(status, &quality))
            .collect(),
        model,
    }))
}

impl VersionDrift {
    fn new(status: DriftStatus, quality: &Quality) -> Self {
        let windows = status.windows.into_iter().map(|window| {
            let mut report = DriftReport::clone(&window.report);
            // A new category may be the text of a person.
            let causes = report.columns.iter_mut().flat_map(|one| &mut one.causes);
            causes.for_each(|cause| *cause = quality.redactor.text(cause).into_owned());
            DriftWindow {
                begin_ms: window.begin_ms,
                end_ms: window.end_ms,
                report,
            }
        });
        Self {
            version: status.version,
            rows: status.rows,
            windows: windows.collect(),
            problem: status.problem,
        }
    }
}

/// Which captured predictions are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct CapturesQuery {
    /// How many hours are searched, the current one included; 1 by default.
    window_h: Option<u64>,
    /// The version that answered; any by default.
    version: Option<String>,
    /// At most so many rows, from 1 to 1000; 100 by default.
    limit: Option<usize>,
}

/// Captured predictions.
#[derive(Serialize, ToSchema)]
pub(crate) struct Captures {
    /// Rows of predictions, the newest first; of long lists the first values. `field.NAME`, `input.NAME` and `output.NAME` are what
    /// came and what was answered.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Value>,
}

/// Captured predictions of an endpoint, redacted.
#[utoipa::path(get, path = "/api/captures/{name}", tag = "quality",
    params(("name" = String, Path), CapturesQuery),
    responses((status = 200, body = Captures), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
async fn captures(
    State(quality): State<Arc<Quality>>,
    Path(endpoint): Path<String>,
    query: Result<Query<CapturesQuery>, QueryRejection>,
) -> Result<Json<Captures>, ApiError> {
    quality.check_captured(&endpoint)?;
    let Query(query) = query.map_err(wrong_query)?;
    let limit = query.limit.unwrap_or(100);
    let hours = query.window_h.unwrap_or(1);
    if limit == 0 || limit > MAX_CAPTURES || hours == 0 || hours > MAX_WINDOW_H {
        let message = format!(
            "limit must be from 1 to {MAX_CAPTURES}, and window_h from 1 to {MAX_WINDOW_H}"
        );
        return Err(InferError::new(ErrorCode::InvalidParameter, message).into());
    }
    let version = query.version;
    let rows = quality.captures(endpoint, version, hours, limit).await?;
    Ok(Json(Captures { rows }))
}

/// Whose predictions are erased.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErasedSubject {
    /// A captured column, such as `field.customer`.
    pub(super) column: String,
    /// Its value, as text.
    pub(super) value: String,
}

/// What was erased.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErasedCaptures {
    /// Rows of predictions.
    pub(super) rows: u64,
    /// Labels of these predictions.
    pub(super) labels: u64,
}

/// Erases the captured rows that have a value in a column, and the labels of these predictions.
#[utoipa::path(post, path = "/api/captures/{name}/erase", tag = "quality",
    params(("name" = String, Path)), request_body = ErasedSubject,
    responses((status = 200, body = ErasedCaptures), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
async fn erase(
    State(quality): State<Arc<Quality>>,
    Path(endpoint): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ErasedCaptures>, ApiError> {
    let subject: ErasedSubject = body::wanted(&headers, body, &quality.server).await?;
    Ok(Json(quality.erase(endpoint, subject).await?))
}

fn wrong_query(error: QueryRejection) -> InferError {
    let message = format!("the query is wrong: {error}");
    InferError::new(ErrorCode::InvalidParameter, message)
}
