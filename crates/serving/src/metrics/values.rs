//! What metrics show, for rules on them.

use std::collections::BTreeMap;

use prometheus::proto::{Metric, MetricType};

use crate::Metrics;

/// A series: its labels and its value.
pub type SeriesValue = (BTreeMap<String, String>, f64);

impl Metrics {
    /// The series of every metric that `wanted` names, as `/metrics` shows them; of a histogram `NAME_count` and
    /// `NAME_sum`.
    pub fn values(&self, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, Vec<SeriesValue>> {
        let mut values: BTreeMap<String, Vec<SeriesValue>> = BTreeMap::new();
        for family in self.registry.gather() {
            let kind = family.get_field_type();
            for metric in family.get_metric() {
                for (suffix, value) in shown(kind, metric) {
                    let name = format!("{}{suffix}", family.name());
                    if wanted(&name) {
                        values.entry(name).or_default().push((labels(metric), value));
                    }
                }
            }
        }
        values
    }

    /// Counts a message about alerts: `ok`, `failed` (it is tried again), `dropped` (it is not), or `limited` (there was
    /// no room for it on its route).
    pub fn alert_message(&self, outcome: &'static str) {
        self.alert_deliveries.with_label_values(&[outcome]).inc();
    }
}

fn shown(kind: MetricType, metric: &Metric) -> Vec<(&'static str, f64)> {
    match kind {
        MetricType::COUNTER => vec![("", metric.get_counter().get_value())],
        MetricType::GAUGE => vec![("", metric.get_gauge().get_value())],
        MetricType::HISTOGRAM => {
            let histogram = metric.get_histogram();
            vec![("_count", histogram.get_sample_count() as f64), ("_sum", histogram.get_sample_sum())]
        }
        MetricType::SUMMARY | MetricType::UNTYPED => Vec::new(),
    }
}

fn labels(metric: &Metric) -> BTreeMap<String, String> {
    metric.get_label().iter().map(|label| (label.name().to_owned(), label.value().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;

    #[test]
    fn values_are_those_of_the_exposition() {
        let metrics = Metrics::new();
        metrics.refused(ErrorCode::NotReady);
        metrics.request_seconds.with_label_values(&["fraud", "7"]).observe(0.5);
        metrics.ready(true);
        let values = metrics.values(|name| name != "tidegate_request_duration_seconds_count");
        let labels = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(values["tidegate_requests_refused_total"], [(labels(&[("code", "not_ready")]), 1.0)]);
        let fraud = labels(&[("model", "fraud"), ("version", "7")]);
        assert_eq!(values["tidegate_request_duration_seconds_sum"], [(fraud, 0.5)]);
        assert_eq!(values["tidegate_ready"], [(labels(&[]), 1.0)]);
        assert!(!values.contains_key("tidegate_request_duration_seconds_count"));
    }
}
