//! What a version did in about a second, as servers tell one another.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The bins of latencies: each is a tenth wider than the one before, from 10 µs to above half an hour.
pub(super) const LATENCY_GROWTH: f64 = 1.1;
const LATENCY_BINS: usize = 200;
const FIRST_US: f64 = 10.0;

/// What a version did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Figures {
    /// Requests that it was chosen for.
    pub(super) requests: u64,
    /// Those that are evidence: where keys are sticky, the first one of each key.
    pub(super) sampled: u64,
    /// Sampled requests that failed through a fault of the server.
    pub(super) errors: u64,
    /// Sampled requests that failed otherwise: chance gives both versions the same clients.
    pub(super) rejected: u64,
    /// Answered requests by their time: the bin, and how many.
    pub(super) latencies: BTreeMap<usize, u64>,
    /// Answers whose outputs were looked at.
    pub(super) answers: u64,
    /// Those with outputs that are empty, infinite or NaN.
    pub(super) invalid: u64,
    /// Outputs by bin, by metric.
    pub(super) outputs: BTreeMap<String, BTreeMap<usize, u64>>,
    /// Scores by metric, where their bins are not chosen yet.
    pub(super) scores: BTreeMap<String, Vec<f64>>,
    /// Copies of requests that it answered, and whose answers were compared.
    pub(super) compared: u64,
    /// Those that differed.
    pub(super) disagreed: u64,
    /// Copies that it failed to answer.
    pub(super) failed_copies: u64,
    /// Whether the server could let it answer.
    pub(super) is_ready: bool,
    /// What is wrong with it on the server.
    pub(super) fault: Option<ServerFault>,
}

/// What is wrong with a version on a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "detail", rename_all = "snake_case")]
pub(super) enum ServerFault {
    /// It does not load, or was taken out of service.
    NotLoaded(String),
    BreakerOpen,
    ObjectiveBurns(String),
}

impl Figures {
    /// Adds what another server counted of the same version.
    pub(super) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.sampled += other.sampled;
        self.errors += other.errors;
        self.rejected += other.rejected;
        add_bins(&mut self.latencies, &other.latencies);
        self.answers += other.answers;
        self.invalid += other.invalid;
        for (metric, bins) in &other.outputs {
            add_bins(self.outputs.entry(metric.clone()).or_default(), bins);
        }
        for (metric, scores) in &other.scores {
            let all = self.scores.entry(metric.clone()).or_default();
            all.extend(scores);
        }
        self.compared += other.compared;
        self.disagreed += other.disagreed;
        self.failed_copies += other.failed_copies;
    }

    /// Counts an answer that took so long.
    pub(super) fn count_time(&mut self, took: Duration) {
        *self.latencies.entry(latency_bin(took)).or_default() += 1;
    }

    /// The latencies as a histogram.
    pub(super) fn latency_histogram(&self) -> Vec<u64> {
        histogram(&self.latencies, LATENCY_BINS)
    }

    /// The outputs of a metric as a histogram.
    pub(super) fn output_histogram(&self, metric: &str, bins: usize) -> Vec<u64> {
        match self.outputs.get(metric) {
            None => vec![0; bins],
            Some(counts) => histogram(counts, bins),
        }
    }
}

fn add_bins(sum: &mut BTreeMap<usize, u64>, other: &BTreeMap<usize, u64>) {
    for (bin, count) in other {
        *sum.entry(*bin).or_default() += count;
    }
}

fn histogram(counts: &BTreeMap<usize, u64>, bins: usize) -> Vec<u64> {
    let mut histogram = vec![0; bins];
    for (bin, count) in counts {
        histogram[(*bin).min(bins - 1)] += count;
    }
    histogram
}

fn latency_bin(took: Duration) -> usize {
    let us = took.as_secs_f64() * 1e6;
    let bin = (us / FIRST_US).max(1.0).ln() / LATENCY_GROWTH.ln();
    (bin as usize).min(LATENCY_BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_bins_are_a_tenth_wider_than_the_one_before() {
        assert_eq!(latency_bin(Duration::ZERO), 0);
        assert_eq!(latency_bin(Duration::from_micros(10)), 0);
        assert_eq!(latency_bin(Duration::from_millis(1)), 48);
        let (one, other) = (Duration::from_micros(1101), Duration::from_micros(1000));
        assert!(latency_bin(one) > latency_bin(other));
        assert_eq!(latency_bin(Duration::from_secs(1 << 20)), LATENCY_BINS - 1);
    }

    #[test]
    fn figures_of_servers_add_up() {
        let mut sum = Figures::default();
        let mut other = Figures {
            answers: 3,
            invalid: 1,
            outputs: BTreeMap::from([("output:y".to_owned(), BTreeMap::from([(2, 3)]))]),
            ..Figures::default()
        };
        other.count_time(Duration::from_millis(1));
        sum.add(&other);
        sum.add(&other);
        assert_eq!((sum.answers, sum.invalid), (6, 2));
        assert_eq!(sum.output_histogram("output:y", 4), [0, 0, 6, 0]);
        assert_eq!(sum.latency_histogram().iter().sum::<u64>(), 2);
    }
}
