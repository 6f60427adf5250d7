//! Where an answer came from, as header fields.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tidegate_serving::CacheStatus;

const CACHE: HeaderName = HeaderName::from_static("tidegate-cache");

/// Adds `Tidegate-Cache`, and `Age` in seconds (RFC 9111, section 5.1).
pub(crate) fn insert(headers: &mut HeaderMap, status: CacheStatus) {
    headers.insert(CACHE, HeaderValue::from_static(status.outcome.name()));
    headers.insert(header::AGE, HeaderValue::from(status.age.as_secs()));
}
