//! The values of metrics, for alert rules.

use std::collections::BTreeMap;

use super::exposition::{Exposition, Family, Sample};

/// A series: its labels and its value.
pub type SeriesValue = (BTreeMap<String, String>, f64);

/// Keeps the series of the metrics that are wanted, as `/metrics` shows them; of a histogram
/// `NAME_count` and `NAME_sum`.
pub struct SeriesValues<F> {
    wanted: F,
    /// The wanted names of the present family, with their suffixes.
    names: Vec<(&'static str, String)>,
    values: BTreeMap<String, Vec<SeriesValue>>,
}

impl<F: Fn(&str) -> bool> SeriesValues<F> {
    /// Nothing yet of the metrics whose names `wanted` takes.
    pub fn new(wanted: F) -> Self {
        Self {
            wanted,
            names: Vec::new(),
            values: BTreeMap::new(),
        }
    }

    /// The series by the names of their metrics.
    pub fn finish(self) -> BTreeMap<String, Vec<SeriesValue>> {
        self.values
    }
}

impl<F: Fn(&str) -> bool> Exposition for SeriesValues<F> {
    fn family(&mut self, family: Family<'_>) {
        let names =
            ["", "_count", "_sum"].map(|suffix| (suffix, format!("{}{suffix}", family.name)));
        self.names = names
            .into_iter()
            .filter(|(_, name)| (self.wanted)(name))
            .collect();
    }

    fn sample(&mut self, sample: Sample<'_>) {
        if let Some((_, name)) = self
            .names
            .iter()
            .find(|(suffix, _)| *suffix == sample.suffix)
        {
            let own = sample.labels.pairs();
            let labels = own
                .chain(sample.extra)
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            self.values
                .entry(name.clone())
                .or_default()
                .push((labels, sample.value));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{ErrorCode, MetricRegistry, Outcome, RequestMetrics};

    #[test]
    fn values_are_those_of_the_exposition() {
        let registry = MetricRegistry::new();
        let metrics = RequestMetrics::new(&registry);
        let failed = Outcome::Failed(ErrorCode::NotReady);
        let refused = metrics.example_observation(None, failed, Duration::ZERO);
        metrics.observations().record(refused);
        let half = Duration::from_millis(500);
        let answered = metrics.example_observation(Some(("fraud", "7")), Outcome::Answered, half);
        metrics.observations().record(answered);
        registry
            .gauge("tidegate_ready", "Whether the server is ready")
            .set(1);
        let mut values =
            SeriesValues::new(|name: &str| name != "tidegate_request_duration_seconds_count");
        registry.expose(&mut values);
        let values = values.finish();
        let labels = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        assert_eq!(
            values["tidegate_requests_refused_total"],
            [(labels(&[("code", "not_ready")]), 1.0)]
        );
        let fraud = labels(&[("model", "fraud"), ("version", "7")]);
        assert_eq!(
            values["tidegate_request_duration_seconds_sum"],
            [(fraud, 0.5)]
        );
        assert_eq!(values["tidegate_ready"], [(labels(&[]), 1.0)]);
        assert!(!values.contains_key("tidegate_request_duration_seconds_count"));
    }
}
