//! Objectives to and from OpenSLO v1: <https://github.com/OpenSLO/OpenSLO>.

mod document;
mod indicator;
mod window;

use std::collections::BTreeMap;

use thiserror::Error;

use crate::objective::{BudgetPolicy, Objective};
use crate::parse::ObjectiveError;
use crate::promql::Counters;
use crate::sli::Sli;
use crate::slo::Slo;
use document::{
    Document, Header, Indicator, IndicatorSpec, Label, Metadata, Metric, MetricSource, Query,
    RatioMetric, Spec, Target,
};

const API_VERSION: &str = "openslo/v1";
const KIND: &str = "SLO";
const PROMETHEUS: &str = "Prometheus";
/// The label and the annotation that hold what OpenSLO has no field for.
const TIER: &str = "tier";
const MIN_EVENTS: &str = "tidegate/min-events";
const POLICY: &str = "tidegate/policy";

/// Why a text cannot be imported: it is not OpenSLO, or says what an [`Objective`] cannot express.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum OpenSloError {
    /// It cannot be read, or has fields that are not known.
    #[error("not OpenSLO v1: {0}")]
    Unreadable(String),
    /// It cannot be expressed.
    #[error("openslo \"{name}\": {problem}")]
    Inexpressible {
        /// The document's name.
        name: String,
        /// What cannot be expressed, and what could be.
        problem: String,
    },
    /// The objective is not valid.
    #[error(transparent)]
    Objective(#[from] ObjectiveError),
}

/// Objectives as OpenSLO documents, one after the other: ratios of the counters of servers that
/// Prometheus scrapes as `job`.
///
/// # Errors
/// Never for objectives that were parsed: there is nothing in them that YAML cannot say.
pub fn export(slos: &[Slo], job: &str) -> Result<String, OpenSloError> {
    let mut documents = Vec::new();
    for slo in slos {
        // Queries stay on one line: other tools compare them as text.
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        let yaml = serde_saphyr::to_string_with_options(&document_of(slo, job), options);
        documents.push(yaml.map_err(unreadable)?);
    }
    Ok(documents.join("---\n"))
}

/// Objectives from OpenSLO documents. Descriptions, display names, and labels and annotations that
/// are not ours are ignored, as they do not change what an objective means. Alerts are always
/// those of [`BURN_ALERTS`](crate::BURN_ALERTS).
///
/// An indicator is either a `ratioMetric` of the queries that [`export`] writes, spaces aside, or a
/// `thresholdMetric` over `tidegate_request_duration_seconds` with `op: lte` and a `value` in
/// seconds.
///
/// # Errors
/// The first thing that is not OpenSLO v1, cannot be expressed, or is not a valid objective.
pub fn import(yaml: &str, job: &str) -> Result<Vec<Objective>, OpenSloError> {
    // Other kinds have other fields: name the kind rather than the first field.
    for header in serde_saphyr::from_multiple::<Header>(yaml).map_err(unreadable)? {
        header
            .check()
            .map_err(|problem| inexpressible(&header.metadata.name, problem))?;
    }
    let documents = serde_saphyr::from_multiple::<Document>(yaml).map_err(unreadable)?;
    let mut objectives = Vec::new();
    for document in &documents {
        let objective = objective_of(document, job);
        let name = &document.metadata.name;
        objectives.push(objective.map_err(|problem| inexpressible(name, problem))?);
    }
    // Checked together, because names must differ between documents too.
    Objective::parse_all(&objectives)?;
    Ok(objectives)
}

fn unreadable(error: impl std::fmt::Display) -> OpenSloError {
    OpenSloError::Unreadable(error.to_string())
}

fn inexpressible(name: &str, problem: String) -> OpenSloError {
    OpenSloError::Inexpressible {
        name: name.to_owned(),
        problem,
    }
}

fn document_of(slo: &Slo, job: &str) -> Document {
    let counters = Counters::of(slo, job);
    let ratio = RatioMetric {
        counter: true,
        good: prometheus_metric(counters.good_ever()),
        total: prometheus_metric(counters.total_ever()),
    };
    let good = match slo.sli() {
        Sli::Availability => "requests that the server did not fail".to_owned(),
        Sli::Latency(bound) => format!("answers within {bound}"),
        Sli::Freshness => "requests whose features were fresh".to_owned(),
    };
    let indicator = Indicator {
        metadata: Metadata {
            name: slo.name().to_owned(),
            ..Metadata::default()
        },
        spec: IndicatorSpec {
            description: None,
            ratio_metric: Some(ratio),
            threshold_metric: None,
        },
    };
    Document {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        metadata: Metadata {
            name: slo.name().to_owned(),
            display_name: None,
            labels: BTreeMap::from([(TIER.to_owned(), Label::One(slo.tier().to_owned()))]),
            annotations: annotations(slo),
        },
        spec: Spec {
            description: Some(format!("The share of {good}")),
            service: slo.endpoint().unwrap_or("tidegate").to_owned(),
            indicator: Some(indicator),
            indicator_ref: None,
            time_window: vec![window::write(slo.window())],
            budgeting_method: "Occurrences".to_owned(),
            objectives: vec![Target {
                target: Some(slo.target()),
                ..Target::default()
            }],
            alert_policies: Vec::new(),
        },
    }
}

fn prometheus_metric(query: String) -> Metric {
    Metric {
        metric_source: MetricSource {
            metric_source_ref: None,
            kind: Some(PROMETHEUS.to_owned()),
            spec: Query { query },
        },
    }
}

fn annotations(slo: &Slo) -> BTreeMap<String, String> {
    let min_events = (MIN_EVENTS.to_owned(), slo.min_events().to_string());
    let policy = Some(slo.policy()).filter(|policy| *policy != BudgetPolicy::default());
    let policy = policy.map(|policy| (POLICY.to_owned(), policy.name().to_owned()));
    [min_events].into_iter().chain(policy).collect()
}

fn objective_of(document: &Document, job: &str) -> Result<Objective, String> {
    let spec = &document.spec;
    if spec.indicator_ref.is_some() {
        return Err(
            "indicatorRef is not supported: write the indicator into the document".to_owned(),
        );
    }
    if spec.budgeting_method != "Occurrences" {
        return Err(format!(
            "budgetingMethod is \"{}\", only Occurrences is supported",
            spec.budgeting_method
        ));
    }
    // Refused, not ignored: whoever imports this would believe that the alerts are kept.
    if !spec.alert_policies.is_empty() {
        return Err(
            "alertPolicies are not supported: every objective has the same alerts".to_owned(),
        );
    }
    let [target] = spec.objectives.as_slice() else {
        return Err(format!(
            "there are {} objectives, a document must have one",
            spec.objectives.len()
        ));
    };
    let [time_window] = spec.time_window.as_slice() else {
        return Err(format!(
            "there are {} timeWindows, a document must have one",
            spec.time_window.len()
        ));
    };
    let indicator = spec.indicator.as_ref().ok_or("the indicator is missing")?;
    let measured = indicator::read(&indicator.spec, target, job)?;
    let defaults = Objective::default();
    Ok(Objective {
        name: document.metadata.name.clone(),
        endpoint: measured.endpoint,
        sli: measured.sli,
        threshold_ms: measured.threshold_ms,
        target: share(target)?,
        window: window::read(time_window)?,
        tier: match document.metadata.labels.get(TIER) {
            Some(Label::One(tier)) => tier.clone(),
            Some(Label::Many(_)) => return Err(format!("the label {TIER} has several values")),
            None => defaults.tier,
        },
        min_events: match document.metadata.annotations.get(MIN_EVENTS) {
            Some(text) => text
                .parse()
                .map_err(|_| format!("{MIN_EVENTS} is \"{text}\", which is not a number"))?,
            None => defaults.min_events,
        },
        policy: policy(&document.metadata)?,
    })
}

fn policy(metadata: &Metadata) -> Result<BudgetPolicy, String> {
    match metadata.annotations.get(POLICY).map(String::as_str) {
        Some("freeze") => Ok(BudgetPolicy::Freeze),
        Some("none") | None => Ok(BudgetPolicy::None),
        Some(other) => Err(format!(
            "{POLICY} is \"{other}\", it must be none or freeze"
        )),
    }
}

fn share(target: &Target) -> Result<f64, String> {
    if target.time_slice_target.is_some() || target.time_slice_window.is_some() {
        return Err(
            "timeSliceTarget and timeSliceWindow are not supported: requests are counted, not slices"
                .to_owned(),
        );
    }
    match (target.target, target.target_percent) {
        (Some(target), None) => Ok(target),
        // 99.95 / 100 is not 0.9995 in floating point: rounded to the 12 digits of a target.
        (None, Some(percent)) => Ok((percent * 1e10).round() / 1e12),
        _ => Err("an objective must have either target or targetPercent".to_owned()),
    }
}

#[cfg(test)]
mod tests;
