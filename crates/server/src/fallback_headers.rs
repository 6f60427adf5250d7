//! What answered in place of an endpoint's own version, as header fields.

use http::{HeaderMap, HeaderName, HeaderValue};
use tidegate_serving::FallbackStatus;

const FALLBACK: HeaderName = HeaderName::from_static("tidegate-fallback");
const REASON: HeaderName = HeaderName::from_static("tidegate-fallback-reason");

/// Adds `Tidegate-Fallback` and `Tidegate-Fallback-Reason`.
pub(crate) fn insert(headers: &mut HeaderMap, status: &FallbackStatus) {
    // A name of the configuration that a header cannot carry is still a fallback.
    let by = HeaderValue::try_from(&*status.by);
    let by = by.unwrap_or(HeaderValue::from_static("fallback"));
    headers.insert(FALLBACK, by);
    headers.insert(REASON, HeaderValue::from_static(status.reason.name()));
}
