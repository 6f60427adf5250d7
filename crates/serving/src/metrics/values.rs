//! What metrics show, for rules on them.

use std::collections::BTreeMap;

use super::exposition::{Exposition, Family, Sample};
use crate::Metrics;

/// A series: its labels and its value.
pub type SeriesValue = (BTreeMap<String, String>, f64);

impl Metrics {
    /// The series of every metric that `wanted` names, as `/metrics` shows them; of a histogram `NAME_count` and
    /// `NAME_sum`.
    pub fn values(&self, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, Vec<SeriesValue>> {
        let mut found = Wanted { wanted, names: Vec::new(), values: BTreeMap::new() };
        self.expose(&mut found);
        found.values
    }

    /// Counts a message about alerts: `ok`, `failed` (it is tried again), `dropped` (it is not), or `limited` (there was
    /// no room for it on its route).
    pub fn alert_message(&self, outcome: &'static str) {
        self.alert_deliveries.with_label_values(&[outcome]).inc();
    }
}

/// Keeps what is wanted of what is said.
struct Wanted<F> {
    wanted: F,
    /// The wanted ones of the family that is said now, by what they end with.
    names: Vec<(&'static str, String)>,
    values: BTreeMap<String, Vec<SeriesValue>>,
}

impl<F: Fn(&str) -> bool> Exposition for Wanted<F> {
    fn family(&mut self, family: Family<'_>) {
        let names = ["", "_count", "_sum"].map(|suffix| (suffix, format!("{}{suffix}", family.name)));
        self.names = names.into_iter().filter(|(_, name)| (self.wanted)(name)).collect();
    }

    fn sample(&mut self, sample: Sample<'_>) {
        if let Some((_, name)) = self.names.iter().find(|(suffix, _)| *suffix == sample.suffix) {
            let own = sample.labels.pairs();
            let labels = own.chain(sample.extra).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            self.values.entry(name.clone()).or_default().push((labels, sample.value));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{ErrorCode, Observation, Outcome};

    #[test]
    fn values_are_those_of_the_exposition() {
        let metrics = Metrics::new();
        metrics.refused(ErrorCode::NotReady, None, std::time::Instant::now());
        let half = Duration::from_millis(500);
        metrics.observations().leave(Observation::of(&metrics, Some(("fraud", "7")), Outcome::Answered, half));
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
