//! What is left of a caller's limits, as header fields.

use http::{HeaderMap, HeaderName, HeaderValue};
use tidegate_gateway::LimitStatus;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// The fields of draft-ietf-httpapi-ratelimit-headers.
pub(crate) fn pairs(status: &LimitStatus) -> impl Iterator<Item = (HeaderName, String)> {
    let pairs = [
        (POLICY, status.policy_header()),
        (STATE, status.state_header()),
    ];
    pairs.into_iter()
}

/// Adds them to an answer.
pub(crate) fn insert(headers: &mut HeaderMap, status: &LimitStatus) {
    for (name, value) in pairs(status) {
        // Names of limits are of a few signs, all of which a header may have.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}
