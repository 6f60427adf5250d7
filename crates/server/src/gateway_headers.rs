//! What limits, the cache, fallbacks and captures say of an answer, as header fields.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use tidegate_gateway::LimitStatus;
use tidegate_serving::{CacheStatus, FallbackStatus, InferResponse, Prediction};

use crate::{cache_headers, fallback_headers, limit_headers};

/// What is kept of a response while its body is encoded.
pub(crate) struct GatewayHeaders {
    limits: Option<Box<LimitStatus>>,
    cache: Option<CacheStatus>,
    fallback: Option<Box<FallbackStatus>>,
    prediction: Option<Arc<Prediction>>,
}

/// The id that labels name the prediction by.
const PREDICTION_ID: HeaderName = HeaderName::from_static("tidegate-prediction-id");

impl GatewayHeaders {
    /// What a response says. The fallback and the id of the prediction stay in it too: some bodies name
    /// them.
    pub(crate) fn take(response: &mut InferResponse) -> Self {
        let InferResponse {
            limits,
            cache,
            fallback,
            prediction,
            ..
        } = response;
        // Most answers have nothing of it.
        if let (None, None, None, None) = (limits, cache, fallback, prediction) {
            return Self {
                limits: None,
                cache: None,
                fallback: None,
                prediction: None,
            };
        }
        Self {
            limits: response.limits.take(),
            cache: response.cache,
            fallback: response.fallback.clone(),
            prediction: response.prediction.clone(),
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
        if let Some(prediction) = self.prediction {
            let id = HeaderValue::try_from(prediction.id().to_string());
            headers.extend(id.map(|id| (PREDICTION_ID, id)));
        }
        if let Some(limits) = self.limits {
            limit_headers::insert(headers, &limits);
        }
    }
}
