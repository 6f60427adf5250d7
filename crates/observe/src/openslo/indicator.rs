//! What an OpenSLO indicator measures.

use tidegate_core::ModelName;

use super::PROMETHEUS;
use super::document::{IndicatorSpec, MetricSource, RatioMetric, Target, ThresholdMetric};
use crate::objective::{ALL_ENDPOINTS, SliKind};
use crate::promql::Counters;
use crate::sli::{LatencyBound, Sli};

/// The histogram whose values a `thresholdMetric` may be about.
const LATENCY_METRIC: &str = "tidegate_request_duration_seconds";

/// The part of an objective that comes from an indicator.
pub(super) struct Measured {
    pub(super) endpoint: String,
    pub(super) sli: SliKind,
    pub(super) threshold_ms: Option<f64>,
}

pub(super) fn read(spec: &IndicatorSpec, target: &Target, job: &str) -> Result<Measured, String> {
    match (&spec.ratio_metric, &spec.threshold_metric) {
        (Some(ratio), None) => ratio_of(ratio, target, job),
        (None, Some(threshold)) => threshold_of(threshold, target, job),
        _ => Err("the indicator must have either ratioMetric or thresholdMetric".to_owned()),
    }
}

/// What a ratio measures: it is compared with every ratio that there can be for the model that it
/// names. PromQL is not parsed: a query that is written otherwise could mean something else.
fn ratio_of(ratio: &RatioMetric, target: &Target, job: &str) -> Result<Measured, String> {
    if target.op.is_some() || target.value.is_some() {
        return Err("op and value have no meaning with ratioMetric".to_owned());
    }
    if !ratio.counter {
        return Err("counter is false: the queries must use counters".to_owned());
    }
    let (good, total) = (
        query(&ratio.good.metric_source)?,
        query(&ratio.total.metric_source)?,
    );
    let model = model_in(good)?;
    let endpoint = model.clone().unwrap_or_else(|| ALL_ENDPOINTS.to_owned());
    let known = Counters::new(Sli::Availability, model.as_deref(), job);
    if counts(&known, good, total) {
        return Ok(Measured {
            endpoint,
            sli: SliKind::Availability,
            threshold_ms: None,
        });
    }
    let freshness = Counters::new(Sli::Freshness, model.as_deref(), job);
    if counts(&freshness, good, total) {
        return Ok(Measured {
            endpoint,
            sli: SliKind::Freshness,
            threshold_ms: None,
        });
    }
    for bound in LatencyBound::all() {
        let counters = Counters::new(Sli::Latency(bound), model.as_deref(), job);
        if counts(&counters, good, total) {
            return Ok(Measured {
                endpoint,
                sli: SliKind::Latency,
                threshold_ms: Some(bound.ms()),
            });
        }
    }
    Err(format!(
        "the queries are not supported. For availability, good is `{}` and total is `{}`; for latency they are a \
         bucket and the count of {LATENCY_METRIC}",
        known.good_ever(),
        known.total_ever()
    ))
}

/// Whether two queries count good and all requests as `counters` does.
fn counts(counters: &Counters, good: &str, total: &str) -> bool {
    same(good, &counters.good_ever()) && same(total, &counters.total_ever())
}

/// What a threshold on the values of a metric measures.
fn threshold_of(metric: &ThresholdMetric, target: &Target, job: &str) -> Result<Measured, String> {
    let query = query(&metric.metric_source)?;
    let model = model_in(query)?;
    let expected = match &model {
        Some(model) => format!("{LATENCY_METRIC}{{job=\"{job}\",model=\"{model}\"}}"),
        None => format!("{LATENCY_METRIC}{{job=\"{job}\"}}"),
    };
    if !same(query, &expected) {
        return Err(format!(
            "the query of thresholdMetric is `{query}`, it must be like `{expected}`"
        ));
    }
    match (target.op.as_deref(), target.value) {
        (Some("lte"), Some(seconds)) => {
            // A decimal fraction times 1000 need not be exact: rounded to nanoseconds.
            let ms = (seconds * 1e9).round() / 1e6;
            let endpoint = model.unwrap_or_else(|| ALL_ENDPOINTS.to_owned());
            Ok(Measured {
                endpoint,
                sli: SliKind::Latency,
                threshold_ms: Some(ms),
            })
        }
        (op, _) => Err(format!(
            "thresholdMetric needs op: lte and a value in seconds, op is {}",
            op.map_or_else(|| "missing".to_owned(), |op| format!("\"{op}\""))
        )),
    }
}

fn query(source: &MetricSource) -> Result<&str, String> {
    match (source.kind.as_deref(), &source.metric_source_ref) {
        (Some(kind), _) if kind != PROMETHEUS => Err(format!(
            "metricSource is of type \"{kind}\", it must be {PROMETHEUS}"
        )),
        (None, None) => Err(format!("metricSource has no type, it must be {PROMETHEUS}")),
        _ => Ok(&source.spec.query),
    }
}

/// The model that a query selects, if it does.
fn model_in(query: &str) -> Result<Option<String>, String> {
    let Some((_, rest)) = query.split_once("model=\"") else {
        return Ok(None);
    };
    let name = rest.split('"').next().unwrap_or_default();
    name.parse::<ModelName>()
        .map(|name| Some(name.into_string()))
        .map_err(|error| error.to_string())
}

/// Whether two queries are the same except for spaces.
fn same(a: &str, b: &str) -> bool {
    without_spaces(a) == without_spaces(b)
}

fn without_spaces(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}
