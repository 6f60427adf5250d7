//! The PromQL of service level indicators: which counters hold good, bad and all requests.

use crate::sli::{FRESHNESS_FAULTS, LatencyBound, SERVER_FAULTS, Sli};
use crate::slo::Slo;

/// The counters of an indicator, as selectors without a range.
pub(crate) struct Counters {
    /// Counts good requests.
    pub(crate) good: String,
    /// Their sum counts all requests.
    pub(crate) total: Vec<String>,
}

impl Counters {
    /// Of an endpoint (`None` for all models) on the servers that Prometheus scrapes as `job`.
    pub(crate) fn new(sli: Sli, endpoint: Option<&str>, job: &str) -> Self {
        let mut matchers = vec![format!("job=\"{}\"", escaped(job))];
        matchers.extend(endpoint.map(|model| format!("model=\"{}\"", escaped(model))));
        match sli {
            Sli::Availability => Self::of_faults(&matchers, endpoint.is_none(), &SERVER_FAULTS),
            Sli::Freshness => Self::of_faults(&matchers, endpoint.is_none(), &FRESHNESS_FAULTS),
            Sli::Latency(bound) => Self {
                good: selector(
                    "tidegate_request_duration_seconds_bucket",
                    &matchers,
                    Some(le(bound)),
                ),
                // The histogram counts answers only, so refused requests are in neither number.
                total: vec![selector(
                    "tidegate_request_duration_seconds_count",
                    &matchers,
                    None,
                )],
            },
        }
    }

    /// Answered requests, and those that failed with one of some codes.
    fn of_faults(matchers: &[String], is_of_all_models: bool, faults: &[&str]) -> Self {
        let faults = faults.join("|");
        let good = selector("nv_inference_request_success", matchers, None);
        let reason = Some(format!("reason=~\"{faults}\""));
        let failed = selector("nv_inference_request_failure", matchers, reason);
        let mut total = vec![good.clone(), failed];
        // A request that reaches no version, because none is loaded, is counted without its model.
        if is_of_all_models {
            let code = Some(format!("code=~\"{faults}\""));
            total.push(selector("tidegate_requests_refused_total", matchers, code));
        }
        Self { good, total }
    }

    pub(crate) fn of(slo: &Slo, job: &str) -> Self {
        Self::new(slo.sli(), slo.endpoint(), job)
    }

    /// Good requests in the last `range`.
    pub(crate) fn good_in(&self, range: &str) -> String {
        sum(std::slice::from_ref(&self.good), |counter| {
            format!("increase({counter}[{range}])")
        })
    }

    /// All requests in the last `range`.
    pub(crate) fn total_in(&self, range: &str) -> String {
        sum(&self.total, |counter| {
            format!("increase({counter}[{range}])")
        })
    }

    /// Good requests since ever.
    pub(crate) fn good_ever(&self) -> String {
        sum(std::slice::from_ref(&self.good), str::to_owned)
    }

    /// All requests since ever.
    pub(crate) fn total_ever(&self) -> String {
        sum(&self.total, str::to_owned)
    }
}

/// A metric with label matchers.
fn selector(metric: &str, matchers: &[String], more: Option<String>) -> String {
    let mut labels = matchers.to_vec();
    labels.extend(more);
    format!("{metric}{{{}}}", labels.join(","))
}

/// A sum over all series of all counters. A counter without series counts as 0: most models never
/// fail, and without `or vector(0)` the whole sum would be empty.
fn sum(counters: &[String], over: impl Fn(&str) -> String) -> String {
    let sums: Vec<String> = counters
        .iter()
        .map(|counter| format!("(sum({}) or vector(0))", over(counter)))
        .collect();
    sums.join(" + ")
}

/// The bucket of a bound.
fn le(bound: LatencyBound) -> String {
    format!("le=\"{}\"", bound.seconds())
}

/// A string between PromQL's double quotes.
pub(crate) fn escaped(text: &str) -> String {
    // The backslash first, or the backslashes of the other two would be escaped again.
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULTS: &str = "queue_full|execution_failed|upstream_failed|upstream_invalid|upstream_unavailable|breaker_open|features_invalid|features_unavailable|features_stale|internal|not_ready|graph_failed|graph_node_unavailable|memory_full|auth_unavailable|audit_unavailable|not_saved|traffic_unavailable|shutting_down|deadline_exceeded";

    fn latency(ms: f64) -> Sli {
        Sli::Latency(LatencyBound::nearest(ms).unwrap())
    }

    #[test]
    fn availability_leaves_wrong_requests_out() {
        let counters = Counters::new(Sli::Availability, Some("fraud"), "tidegate");
        let success = "nv_inference_request_success{job=\"tidegate\",model=\"fraud\"}";
        assert_eq!(
            counters.good_in("5m"),
            format!("(sum(increase({success}[5m])) or vector(0))")
        );
        assert_eq!(
            counters.total_ever(),
            format!(
                "(sum({success}) or vector(0)) + (sum(nv_inference_request_failure{{job=\"tidegate\",model=\"fraud\",\
                 reason=~\"{FAULTS}\"}}) or vector(0))"
            )
        );
    }

    #[test]
    fn all_endpoints_include_what_reached_no_version() {
        let counters = Counters::new(Sli::Availability, None, "tidegate");
        assert_eq!(counters.total.len(), 3);
        assert_eq!(
            counters.total[2],
            format!("tidegate_requests_refused_total{{job=\"tidegate\",code=~\"{FAULTS}\"}}")
        );
    }

    #[test]
    fn a_bound_is_written_as_prometheus_writes_it() {
        let bucket = |ms| Counters::new(latency(ms), None, "j").good;
        assert_eq!(
            bucket(51.2),
            "tidegate_request_duration_seconds_bucket{job=\"j\",le=\"0.0512\"}"
        );
        assert_eq!(
            bucket(0.1),
            "tidegate_request_duration_seconds_bucket{job=\"j\",le=\"0.0001\"}"
        );
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(escaped("a\"b\\c"), "a\\\"b\\\\c");
    }
}
