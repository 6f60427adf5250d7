//! Posting over HTTP and HTTPS.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};

use super::Undelivered;

/// Longest that a receiver may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How much of an answer is read for the log, in bytes.
const MAX_ANSWER: usize = 200;

/// The client of every receiver. It trusts the same certificates as the operating system.
pub(crate) struct Http {
    client: reqwest::Client,
}

impl Http {
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        // Another part of the process may have set it: the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let agent = concat!("tidegate/", env!("CARGO_PKG_VERSION"));
        let builder = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .user_agent(agent);
        Ok(Self {
            client: builder
                // A redirect could take an alert, and what signs it, to another host.
                .redirect(reqwest::redirect::Policy::none())
                .build()?,
        })
    }

    /// Posts a body. Reasons name neither address nor headers, which may be secret.
    pub(super) async fn post(
        &self,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(), Undelivered> {
        let sent = self
            .client
            .post(url)
            .headers(headers)
            .body(body)
            .send()
            .await;
        let mut answer = sent.map_err(|error| Undelivered::later(causes(&error.without_url())))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        // A date, the other form of the header (RFC 9110, section 10.2.3), counts as none.
        let wait_ms = answer
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|wait| wait.to_str().ok()?.parse::<u64>().ok());
        let wait_ms = wait_ms.map(|seconds| seconds.saturating_mul(1000));
        // One chunk has room for a reason, and no receiver can keep us reading.
        let said = answer.chunk().await.ok().flatten().unwrap_or_default();
        let said = String::from_utf8_lossy(&said[..said.len().min(MAX_ANSWER)]).into_owned();
        let reason = format!("answered {}: {}", status.as_u16(), said.trim());
        Err(match is_final(status) {
            true => Undelivered::Never { reason },
            false => Undelivered::Later { reason, wait_ms },
        })
    }
}

/// Whether the same message will be refused again. A wrong key or address (401, 403, 404) can be
/// corrected while the message waits.
fn is_final(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::GONE
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY
    )
}

/// An error with what caused it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The type of a JSON body.
pub(super) fn json_headers() -> HeaderMap {
    HeaderMap::from_iter([(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    )])
}

/// Whether this can be an address.
pub(super) fn check_url(url: &str) -> Result<(), String> {
    let parsed =
        reqwest::Url::parse(url).map_err(|problem| format!("its url is not valid: {problem}"))?;
    match parsed.scheme() {
        "http" | "https" => Ok(()),
        scheme => Err(format!(
            "its url begins with {scheme}, it must be http or https"
        )),
    }
}
