//! Forms that browsers send.

use axum::body::Body;
use http::{HeaderMap, StatusCode};
use tidegate_serving::{ErrorCode, InferError, MemoryReservation};

use crate::ServerConfig;
use crate::origin;
use crate::rest::body;

/// Most bytes of a form. The form for trying a model has the body of an inference request.
const MAX_FORM_BYTES: usize = 4 << 20;
/// Most bytes of a form that anybody may send: what they take together is not counted.
const MAX_PUBLIC_FORM_BYTES: usize = 16 << 10;

/// The fields of a form, as they were sent.
pub(super) struct Form(Vec<(String, String)>);

/// Why a form is refused.
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl Form {
    /// Reads a form that one of our own pages sent.
    pub(super) async fn read(
        config: &ServerConfig,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Self, Refused> {
        Self::read_at_most(MAX_FORM_BYTES, config, headers, body).await
    }

    /// Reads a form that anybody may send.
    pub(super) async fn read_public(
        config: &ServerConfig,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Self, Refused> {
        Self::read_at_most(MAX_PUBLIC_FORM_BYTES, config, headers, body).await
    }

    async fn read_at_most(
        max_bytes: usize,
        config: &ServerConfig,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Self, Refused> {
        if !origin::is_own(headers) {
            let message = "this form came from another site; nothing was done".to_owned();
            return Err(Refused {
                status: StatusCode::FORBIDDEN,
                message,
            });
        }
        let most = config.max_body_bytes.min(max_bytes);
        // Too little to count.
        let mut memory = MemoryReservation::default();
        let bytes = body::read_at_most(most, headers, body, config, &mut memory).await?;
        Ok(Self(form_urlencoded::parse(&bytes).into_owned().collect()))
    }

    /// A field; empty if it was not sent. Browsers send line ends as CR LF.
    pub(super) fn text(&self, name: &str) -> String {
        let field = self.0.iter().find(|(own, _)| own == name);
        field.map_or_else(String::new, |(_, value)| value.replace("\r\n", "\n"))
    }
}

impl From<InferError> for Refused {
    fn from(error: InferError) -> Self {
        let status =
            StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::BAD_REQUEST);
        Self {
            status,
            message: error.message.into_owned(),
        }
    }
}

impl Refused {
    /// A form with an invalid value.
    pub(super) fn wrong(message: impl Into<String>) -> Self {
        InferError::new(ErrorCode::InvalidParameter, message.into()).into()
    }
}
