//! What became of requests so far, as the metrics have counted it.

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::proto::Metric;

use crate::Metrics;

/// The requests of one version since it was loaded; or, with an empty name, those that reached no version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Requests answered.
    pub answered: u64,
    /// Of those, how many took no longer than each bound of `tidegate_request_duration_seconds`, the smallest first.
    pub within: Vec<u64>,
    /// Requests failed, by error code.
    pub failed: BTreeMap<String, u64>,
}

impl Metrics {
    /// What became of the requests of each version, by model and version, and of those that reached none.
    pub fn outcomes(&self) -> BTreeMap<(String, String), Outcomes> {
        let mut all: BTreeMap<(String, String), Outcomes> = BTreeMap::new();
        for metric in self.request_seconds.collect().iter().flat_map(|family| family.get_metric()) {
            let histogram = metric.get_histogram();
            let outcomes = all.entry(key(metric)).or_default();
            outcomes.answered = histogram.get_sample_count();
            outcomes.within = histogram.get_bucket().iter().map(|bucket| bucket.cumulative_count()).collect();
        }
        for (counter, code) in [(&self.failure, "reason"), (&self.refused, "code")] {
            for metric in counter.collect().iter().flat_map(|family| family.get_metric()) {
                let failed = &mut all.entry(key(metric)).or_default().failed;
                *failed.entry(label(metric, code)).or_default() += metric.get_counter().get_value() as u64;
            }
        }
        all
    }
}

fn key(metric: &Metric) -> (String, String) {
    (label(metric, "model"), label(metric, "version"))
}

fn label(metric: &Metric, name: &str) -> String {
    let found = metric.get_label().iter().find(|label| label.name() == name);
    found.map(|label| label.value().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;

    #[test]
    fn outcomes_are_those_that_were_counted() {
        let metrics = Metrics::new();
        let labels = &["fraud", "7"];
        for seconds in [20e-6, 30e-6, 1.0] {
            metrics.request_seconds.with_label_values(labels).observe(seconds);
        }
        metrics.failure.with_label_values(&["fraud", "7", "queue_full"]).inc_by(2);
        metrics.refused(ErrorCode::NotReady);
        let outcomes = metrics.outcomes();
        let fraud = &outcomes[&("fraud".to_owned(), "7".to_owned())];
        assert_eq!((fraud.answered, &fraud.within[..3]), (3, &[1, 2, 2][..]));
        assert_eq!(fraud.failed, BTreeMap::from([("queue_full".to_owned(), 2)]));
        assert_eq!(outcomes[&(String::new(), String::new())].failed, BTreeMap::from([("not_ready".to_owned(), 1)]));
    }
}
