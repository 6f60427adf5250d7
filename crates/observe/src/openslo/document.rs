//! An OpenSLO v1 document of kind `SLO`, as
//! <https://github.com/OpenSLO/OpenSLO/blob/main/README.md> has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{API_VERSION, KIND};

/// The fields that every document begins with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Header {
    api_version: String,
    kind: String,
    pub(super) metadata: HeaderMetadata,
}

#[derive(Deserialize)]
pub(super) struct HeaderMetadata {
    pub(super) name: String,
}

impl Header {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.api_version != API_VERSION {
            return Err(format!(
                "apiVersion is \"{}\", it must be {API_VERSION}",
                self.api_version
            ));
        }
        if self.kind != KIND {
            return Err(format!(
                "kind is \"{}\", only {KIND} is supported",
                self.kind
            ));
        }
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Document {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) metadata: Metadata,
    pub(super) spec: Spec,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Metadata {
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) display_name: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) labels: BTreeMap<String, Label>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Label {
    One(String),
    Many(Vec<String>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Spec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    pub(super) service: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) indicator: Option<Indicator>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) indicator_ref: Option<String>,
    #[serde(default)]
    pub(super) time_window: Vec<TimeWindow>,
    pub(super) budgeting_method: String,
    pub(super) objectives: Vec<Target>,
    /// Names or whole policies: neither can be kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) alert_policies: Vec<AnyPolicy>,
}

/// An alert policy of whatever form.
pub(super) struct AnyPolicy;

impl Serialize for AnyPolicy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for AnyPolicy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Indicator {
    pub(super) metadata: Metadata,
    pub(super) spec: IndicatorSpec,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct IndicatorSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ratio_metric: Option<RatioMetric>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) threshold_metric: Option<ThresholdMetric>,
}

/// Only good over total can be kept.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RatioMetric {
    pub(super) counter: bool,
    pub(super) good: Metric,
    pub(super) total: Metric,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ThresholdMetric {
    pub(super) metric_source: MetricSource,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Metric {
    pub(super) metric_source: MetricSource,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MetricSource {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) metric_source_ref: Option<String>,
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<String>,
    pub(super) spec: Query,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    pub(super) query: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TimeWindow {
    pub(super) duration: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) is_rolling: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) calendar: Option<Calendar>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Calendar {
    pub(super) start_time: String,
    pub(super) time_zone: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Target {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) op: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target_percent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time_slice_target: Option<f64>,
    /// A duration, or a number of minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time_slice_window: Option<String>,
}
