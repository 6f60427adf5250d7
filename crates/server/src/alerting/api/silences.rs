//! Silences: alerts that are not sent for a while.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidegate_observe::alerting::Matcher;
use tidegate_serving::{ErrorCode, InferError};
use utoipa::ToSchema;

use crate::alerting::Alerting;
use crate::audit::AuditStates;
use crate::clock::now_ms;
use crate::rest::{ApiError, ErrorBody, Path, body};

/// The silence to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSilence {
    /// Conditions on labels; an alert must match all of them: `endpoint="fraud"`,
    /// `version=~"1|2"`.
    matchers: Vec<String>,
    /// When it begins, in milliseconds since 1970; now if absent.
    from_ms: Option<u64>,
    /// How long it lasts, in seconds; or `until_ms`.
    duration_s: Option<u64>,
    /// When it ends, in milliseconds since 1970.
    until_ms: Option<u64>,
    /// Who asks for it.
    author: String,
    /// The reason.
    comment: String,
}

/// A silence.
#[derive(Serialize, ToSchema)]
pub(crate) struct Silence {
    id: String,
    /// pending, active or expired.
    state: &'static str,
    matchers: Vec<String>,
    /// In milliseconds since 1970.
    from_ms: u64,
    /// In milliseconds since 1970.
    until_ms: u64,
    author: String,
    comment: String,
}

/// Every silence that is active, scheduled, or has expired in the last five days.
#[utoipa::path(get, path = "/api/silences", tag = "operations", responses((status = 200, body = Vec<Silence>)))]
pub(crate) async fn list(State(alerting): State<Arc<Alerting>>) -> Json<Vec<Silence>> {
    let now_ms = now_ms();
    Json(
        alerting
            .silences()
            .into_iter()
            .map(|silence| Silence::of(silence, now_ms))
            .collect(),
    )
}

/// Suppresses messages about alerts that match all matchers, for some time.
#[utoipa::path(post, path = "/api/silences", tag = "operations", request_body = NewSilence,
    responses((status = 200, body = Silence), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 415, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn add(
    State(alerting): State<Arc<Alerting>>,
    states: AuditStates,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Silence>, ApiError> {
    let wanted: NewSilence = body::wanted(&headers, body, &alerting.context.server).await?;
    let now_ms = now_ms();
    let silence = wanted.parse(now_ms)?;
    states.resource(&silence.id);
    let added = alerting.add_silence(silence.clone()).await;
    added.map_err(|error| InferError::new(ErrorCode::InvalidParameter, error.to_string()))?;
    states.after(json!(Silence::of(silence.clone(), now_ms)));
    alerting.check_saved()?;
    Ok(Json(Silence::of(silence, now_ms)))
}

/// Ends a silence now.
#[utoipa::path(delete, path = "/api/silences/{id}", tag = "operations", params(("id" = String, Path)),
    responses((status = 200, description = "it is expired"), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn expire(
    State(alerting): State<Arc<Alerting>>,
    Path(id): Path<String>,
    states: AuditStates,
) -> Result<StatusCode, ApiError> {
    states.before(alerting.described_silence(&id));
    match alerting.expire_silence(&id).await {
        Some(()) => {
            alerting.check_saved()?;
            Ok(StatusCode::OK)
        }
        None => {
            // Cut: the id is the client's, of any length.
            let id: String = id.chars().take(64).collect();
            Err(InferError::new(
                ErrorCode::NotFound,
                format!("there is no active or scheduled silence {id:?}"),
            )
            .into())
        }
    }
}

impl Alerting {
    /// A silence as the audit log shows it; null if there is none of this name.
    pub(crate) fn described_silence(&self, id: &str) -> Value {
        let silences = self.silences().into_iter();
        let found = silences.into_iter().find(|silence| silence.id == id);
        json!(found.map(|silence| Silence::of(silence, now_ms())))
    }
}

impl NewSilence {
    /// One that begins now.
    pub(crate) fn lasting(
        matchers: Vec<String>,
        duration_s: u64,
        author: String,
        comment: String,
    ) -> Self {
        Self {
            matchers,
            from_ms: None,
            duration_s: Some(duration_s),
            until_ms: None,
            author,
            comment,
        }
    }

    pub(crate) fn parse(
        self,
        now_ms: u64,
    ) -> Result<tidegate_observe::alerting::Silence, InferError> {
        let mut matchers = Vec::new();
        for text in &self.matchers {
            let matcher: Matcher = text.parse().map_err(|error| wrong(format!("{error}")))?;
            matchers.push(matcher);
        }
        let from_ms = self.from_ms.unwrap_or(now_ms);
        let until_ms = match (self.duration_s, self.until_ms) {
            (Some(seconds), None) => from_ms.saturating_add(seconds.saturating_mul(1000)),
            (None, Some(until_ms)) => until_ms,
            _ => {
                return Err(wrong("a silence needs either duration_s or until_ms"));
            }
        };
        let (author, comment) = (self.author, self.comment);
        Ok(tidegate_observe::alerting::Silence {
            id: new_id(),
            matchers,
            from_ms,
            until_ms,
            author,
            comment,
        })
    }
}

fn wrong(message: impl Into<String>) -> InferError {
    InferError::new(ErrorCode::InvalidParameter, message.into())
}

/// Sixteen hexadecimal digits that no other silence has.
fn new_id() -> String {
    use std::hash::{BuildHasher, Hasher};
    // The state of each new map's hasher is random (std's documentation); the id must be unique,
    // not secret.
    format!(
        "{:016x}",
        std::hash::RandomState::new().build_hasher().finish()
    )
}

impl Silence {
    fn of(silence: tidegate_observe::alerting::Silence, now_ms: u64) -> Self {
        Self {
            state: silence.state(now_ms),
            id: silence.id,
            matchers: silence.matchers.iter().map(ToString::to_string).collect(),
            from_ms: silence.from_ms,
            until_ms: silence.until_ms,
            author: silence.author,
            comment: silence.comment,
        }
    }
}
