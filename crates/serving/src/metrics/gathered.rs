//! Metrics that the `prometheus` crate counts, written to an exposition.

use prometheus::proto::{Histogram, Metric, MetricFamily, MetricType};

use super::exposition::{Exposition, Family, Labels, MetricKind, Sample};

/// Writes what was gathered; kinds that the registry does not offer are left out.
pub(super) fn expose(families: &[MetricFamily], out: &mut dyn Exposition) {
    for family in families {
        let Some(kind) = kind(family.get_field_type()) else {
            continue;
        };
        out.family(Family {
            name: family.name(),
            kind,
            help: family.help(),
        });
        for metric in family.get_metric() {
            expose_metric(metric, kind, out);
        }
    }
}

fn kind(kind: MetricType) -> Option<MetricKind> {
    match kind {
        MetricType::COUNTER => Some(MetricKind::Counter),
        MetricType::GAUGE => Some(MetricKind::Gauge),
        MetricType::HISTOGRAM => Some(MetricKind::Histogram),
        _ => None,
    }
}

fn expose_metric(metric: &Metric, kind: MetricKind, out: &mut dyn Exposition) {
    let pairs = metric.get_label().iter();
    let labels = Labels::new(pairs.map(|label| (label.name(), label.value())));
    match kind {
        MetricKind::Counter => out.sample(Sample::plain(&labels, metric.get_counter().get_value())),
        MetricKind::Gauge => out.sample(Sample::plain(&labels, metric.get_gauge().get_value())),
        MetricKind::Histogram | MetricKind::Summary => {
            expose_histogram(metric.get_histogram(), &labels, out);
        }
    }
}

fn expose_histogram(histogram: &Histogram, labels: &Labels, out: &mut dyn Exposition) {
    for bucket in histogram.get_bucket() {
        let bound = bucket.upper_bound().to_string();
        out.sample(Sample::bucket(
            labels,
            &bound,
            bucket.cumulative_count() as f64,
        ));
    }
    // The crate leaves out the last bucket, which has everything.
    let count = histogram.get_sample_count() as f64;
    out.sample(Sample::bucket(labels, "+Inf", count));
    out.sample(Sample::part("_sum", labels, histogram.get_sample_sum()));
    out.sample(Sample::part("_count", labels, count));
}
