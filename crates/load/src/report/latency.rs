//! Distributions of times, in microseconds.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Points of a distribution for each halving of the share above: fine in the tail, as in plots of
/// HDR histograms.
const POINTS_PER_HALVING: u32 = 4;

/// A distribution of times in microseconds; three significant digits.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names of the field say it all")]
pub struct Latency {
    pub mean: f64,
    pub min: f64,
    pub p50: f64,
    pub p75: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub p9999: f64,
    pub max: f64,
}

/// One point of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantile {
    /// The share of requests, from 0 to 1, ...
    pub share: f64,
    /// ... that took at most so many microseconds.
    pub at_most_us: f64,
}

impl Latency {
    /// `None` if nothing was measured.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        if histogram.is_empty() {
            return None;
        }
        Some(Self {
            mean: histogram.mean() / 1000.0,
            min: micros(histogram.min()),
            p50: quantile_us(histogram, 0.5),
            p75: quantile_us(histogram, 0.75),
            p90: quantile_us(histogram, 0.9),
            p95: quantile_us(histogram, 0.95),
            p99: quantile_us(histogram, 0.99),
            p999: quantile_us(histogram, 0.999),
            p9999: quantile_us(histogram, 0.9999),
            max: micros(histogram.max()),
        })
    }
}

fn quantile_us(histogram: &Histogram<u64>, share: f64) -> f64 {
    micros(histogram.value_at_quantile(share))
}

/// The whole distribution, up to its largest value.
pub(crate) fn distribution(histogram: &Histogram<u64>) -> Vec<Quantile> {
    let values = histogram.iter_quantiles(POINTS_PER_HALVING);
    values
        .map(|value| Quantile {
            share: value.quantile_iterated_to(),
            at_most_us: micros(value.value_iterated_to().min(histogram.max())),
        })
        .collect()
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::histogram;

    #[test]
    fn percentiles_are_within_three_digits_of_the_sorted_values() {
        let mut recorded = histogram();
        // 1 µs to 1 s, more of the short ones.
        let values: Vec<u64> = (1..=10_000u64).map(|at| at * at * 10 + 1000).collect();
        values
            .iter()
            .for_each(|value| recorded.record(*value).unwrap());
        let latency = Latency::of(&recorded).unwrap();
        let exact =
            |share: f64| values[(share * values.len() as f64).ceil() as usize - 1] as f64 / 1000.0;
        for (found, share) in [
            (latency.p50, 0.5),
            (latency.p90, 0.9),
            (latency.p99, 0.99),
            (latency.p9999, 0.9999),
        ] {
            assert!(
                (found / exact(share) - 1.0).abs() < 1e-3,
                "{share}: {found}, not {}",
                exact(share)
            );
        }
        assert!((latency.max / exact(1.0) - 1.0).abs() < 1e-3);
        let distribution = distribution(&recorded);
        assert_eq!(distribution.last().unwrap().share, 1.0);
        assert!(
            distribution
                .windows(2)
                .all(|pair| pair[0].at_most_us <= pair[1].at_most_us)
        );
        assert_eq!(Latency::of(&histogram()), None);
    }
}
