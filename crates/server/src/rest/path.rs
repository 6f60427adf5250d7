//! The names in a path.

use axum::extract::FromRequestParts;
use axum::extract::rejection::PathRejection;
use http::request::Parts;
use tidegate_serving::{ErrorCode, InferError};

use super::answer::ApiError;

/// As [`axum::extract::Path`], but what cannot be read is refused in the form of every other error.
pub(crate) struct Path<T>(pub(crate) T);

impl<S, T> FromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    axum::extract::Path<T>: FromRequestParts<S, Rejection = PathRejection>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(names)) => Ok(Self(names)),
            Err(rejection) => {
                Err(InferError::new(ErrorCode::NotFound, rejection.body_text()).into())
            }
        }
    }
}
