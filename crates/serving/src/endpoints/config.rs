//! The configuration of endpoints.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use tidegate_core::BreakerSpec;
use tidegate_delivery::policy::TrafficPolicy;
use tidegate_gateway::BreakerPolicy;

const MAX_MS: u64 = 24 * 3600 * 1000;
const MAX_REQUESTS: u32 = 1_000_000;
/// Choices after the first, at most: a request that tries them all has failed long before.
const MAX_FALLBACKS: usize = 8;

/// One `[[endpoints]]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointConfig {
    /// The endpoint, which has the name of its model.
    pub name: String,
    /// When a version of it gets no requests because too many have failed; never by default.
    pub breaker: Option<BreakerSpec>,
    /// The longest that one choice may take while another one can follow, in milliseconds; 0 for as
    /// long as the request has.
    pub attempt_timeout_ms: u64,
    /// What answers when the endpoint's own version cannot, in this order; each in a section
    /// `[[endpoints.fallback]]`.
    pub fallback: Vec<FallbackConfig>,
    /// Which versions answer requests that name none, until another policy is set over the API; the
    /// model's default version if absent.
    pub traffic: Option<TrafficPolicy>,
}

/// One choice after the first. Exactly one of the keys is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FallbackConfig {
    /// Another version of the same model, by number or alias.
    pub version: Option<String>,
    /// Another endpoint, with its default version.
    pub endpoint: Option<String>,
    /// The last answer to an equal request, if it is not older than this, in milliseconds.
    pub cached_max_age_ms: Option<u64>,
    /// The values of each output: of one row, where the output has a row for each row of the request.
    pub constant: Option<BTreeMap<String, Value>>,
}

/// A configuration of an endpoint that is not valid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum EndpointError {
    #[error("endpoints needs a name")]
    NoName,
    #[error("endpoints {0:?} is there twice")]
    Duplicate(String),
    #[error("endpoints {endpoint:?}: {key} is {value}, it must be from {least} to {most}")]
    Range {
        endpoint: String,
        key: &'static str,
        value: u64,
        least: u64,
        most: u64,
    },
    #[error(
        "endpoints {0:?}: a fallback needs exactly one of version, endpoint, cached_max_age_ms and constant"
    )]
    Fallback(String),
    #[error("endpoints {0:?}: more than 8 fallbacks")]
    Fallbacks(String),
    #[error("endpoints {0:?}: its own endpoint is no fallback: name a version")]
    OwnEndpoint(String),
    #[error("endpoints {0:?}: there is no last answer to fall back to: add it to cache.endpoint")]
    NotCached(String),
    #[error("endpoints {0:?}: the breaker never opens: set failure_percent or slow_request_ms")]
    NeverOpens(String),
}

impl EndpointConfig {
    /// The breakers of a configuration, by endpoint.
    pub(crate) fn breakers(
        endpoints: &[Self],
    ) -> Result<HashMap<String, BreakerPolicy>, EndpointError> {
        let mut policies = HashMap::new();
        let mut names = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            if endpoint.name.is_empty() {
                return Err(EndpointError::NoName);
            }
            if names.contains(&&endpoint.name) {
                return Err(EndpointError::Duplicate(endpoint.name.clone()));
            }
            names.push(&endpoint.name);
            if let Some(spec) = &endpoint.breaker {
                policies.insert(endpoint.name.clone(), endpoint.policy(spec)?);
            }
        }
        Ok(policies)
    }

    /// Checks what follows the first choice, and how long each may take.
    pub(crate) fn check_fallbacks(&self) -> Result<(), EndpointError> {
        self.within("attempt_timeout_ms", self.attempt_timeout_ms, 0..=MAX_MS)?;
        if self.fallback.len() > MAX_FALLBACKS {
            return Err(EndpointError::Fallbacks(self.name.clone()));
        }
        self.fallback
            .iter()
            .try_for_each(|fallback| self.check_fallback(fallback))
    }

    fn check_fallback(&self, fallback: &FallbackConfig) -> Result<(), EndpointError> {
        let set = [
            fallback.version.is_some(),
            fallback.endpoint.is_some(),
            fallback.cached_max_age_ms.is_some(),
            fallback.constant.is_some(),
        ];
        if set.iter().filter(|is_set| **is_set).count() != 1 {
            return Err(EndpointError::Fallback(self.name.clone()));
        }
        if fallback.endpoint.as_ref() == Some(&self.name) {
            return Err(EndpointError::OwnEndpoint(self.name.clone()));
        }
        match fallback.cached_max_age_ms {
            None => Ok(()),
            Some(age) => self.within("fallback.cached_max_age_ms", age, 1..=30 * MAX_MS),
        }
    }

    fn policy(&self, spec: &BreakerSpec) -> Result<BreakerPolicy, EndpointError> {
        let percent = 0..=100;
        self.within("breaker.window_ms", spec.window_ms, 1..=MAX_MS)?;
        let min_requests = u64::from(spec.min_requests);
        self.within(
            "breaker.min_requests",
            min_requests,
            1..=MAX_REQUESTS.into(),
        )?;
        let failures = u64::from(spec.failure_percent);
        self.within("breaker.failure_percent", failures, percent)?;
        self.within("breaker.slow_request_ms", spec.slow_request_ms, 0..=MAX_MS)?;
        self.within("breaker.slow_percent", spec.slow_percent.into(), 1..=100)?;
        self.within("breaker.open_ms", spec.open_ms, 1..=MAX_MS)?;
        if failures == 0 && spec.slow_request_ms == 0 {
            return Err(EndpointError::NeverOpens(self.name.clone()));
        }
        let slow_call = Duration::from_millis(spec.slow_request_ms);
        Ok(BreakerPolicy {
            window: Duration::from_millis(spec.window_ms),
            min_calls: min_requests,
            failure_share: (failures > 0).then(|| failures as f64 / 100.0),
            slow_call: (!slow_call.is_zero()).then_some(slow_call),
            slow_share: f64::from(spec.slow_percent) / 100.0,
            open: Duration::from_millis(spec.open_ms),
        })
    }

    fn within(
        &self,
        key: &'static str,
        value: u64,
        range: RangeInclusive<u64>,
    ) -> Result<(), EndpointError> {
        if range.contains(&value) {
            return Ok(());
        }
        let (least, most) = range.into_inner();
        Err(EndpointError::Range {
            endpoint: self.name.clone(),
            key,
            value,
            least,
            most,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str, breaker: BreakerSpec) -> EndpointConfig {
        EndpointConfig {
            name: name.to_owned(),
            breaker: Some(breaker),
            ..EndpointConfig::default()
        }
    }

    fn error(endpoints: &[EndpointConfig]) -> String {
        EndpointConfig::breakers(endpoints).unwrap_err().to_string()
    }

    #[test]
    fn an_endpoint_without_breaker_has_none() {
        let without = EndpointConfig {
            name: "a".into(),
            ..EndpointConfig::default()
        };
        let breakers = EndpointConfig::breakers(&[without, endpoint("b", BreakerSpec::default())]);
        let breakers = breakers.unwrap();
        assert!(!breakers.contains_key("a"));
        assert_eq!(breakers["b"].failure_share, Some(0.5));
        assert_eq!(breakers["b"].slow_call, None);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let spec = BreakerSpec::default;
        assert!(error(&[endpoint("", spec())]).contains("needs a name"));
        let twice = [endpoint("a", spec()), endpoint("a", spec())];
        assert!(error(&twice).contains("twice"));
        let too_short = BreakerSpec {
            window_ms: 0,
            ..spec()
        };
        assert!(error(&[endpoint("a", too_short)]).contains("breaker.window_ms is 0"));
        let never = BreakerSpec {
            failure_percent: 0,
            ..spec()
        };
        assert!(error(&[endpoint("a", never)]).contains("never opens"));
    }
}
