//! Errors as HTTP answers.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tidegate_serving::InferError;
use utoipa::ToSchema;

use crate::limit_headers;

/// The body of every error response.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody<'a> {
    /// What was wrong, where, and what to do.
    error: &'a str,
    /// The stable, machine-readable kind of failure; `docs/reference/errors.md` lists them.
    code: &'a str,
}

impl<'a> ErrorBody<'a> {
    pub(super) fn of(error: &'a InferError) -> Self {
        Self {
            error: &error.message,
            code: error.code.name(),
        }
    }
}

/// An error on its way to a client.
pub(crate) struct ApiError(InferError);

impl From<InferError> for ApiError {
    fn from(error: InferError) -> Self {
        Self(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self(error) = self;
        respond(&error, &ErrorBody::of(&error))
    }
}

/// The response to an error, with a body that has more than the error.
pub(super) fn respond(error: &InferError, body: &impl Serialize) -> Response {
    let status =
        StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, axum::Json(body)).into_response();
    if status == StatusCode::UNAUTHORIZED {
        // Names the scheme that is asked for (RFC 9110, section 11.6.1; RFC 6750).
        let challenge = HeaderValue::from_static("Bearer realm=\"tidegate\"");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, challenge);
    }
    // For the audit log.
    response.extensions_mut().insert(error.code);
    if let Some(limited) = &error.limited {
        limit_headers::insert(response.headers_mut(), &limited.status);
    }
    if let Some(seconds) = error.retry_after_s() {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
