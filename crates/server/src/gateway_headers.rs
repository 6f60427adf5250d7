//! What limits, the cache and fallbacks say of an answer, as header fields.

use http::HeaderMap;
use tidegate_gateway::LimitStatus;
use tidegate_serving::{CacheStatus, FallbackStatus, InferResponse};

use crate::{cache_headers, fallback_headers, limit_headers};

/// What is kept of a response while its body is encoded.
pub(crate) struct GatewayHeaders {
    limits: Option<Box<LimitStatus>>,
    cache: Option<CacheStatus>,
    fallback: Option<Box<FallbackStatus>>,
}

impl GatewayHeaders {
    /// What a response says. The fallback stays in it too: some bodies name it.
    pub(crate) fn take(response: &mut InferResponse) -> Self {
        Self {
            limits: response.limits.take(),
            cache: response.cache,
            fallback: response.fallback.clone(),
        }
    }

    /// Adds the fields.
    pub(crate) fn insert(self, headers: &mut HeaderMap) {
        if let Some(cache) = self.cache {
            cache_headers::insert(headers, cache);
        }
        if let Some(fallback) = self.fallback {
            fallback_headers::insert(headers, &fallback);
        }
        if let Some(limits) = self.limits {
            limit_headers::insert(headers, &limits);
        }
    }
}
