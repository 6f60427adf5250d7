//! Metrics that the `prometheus` crate keeps, said to an exposition.

use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::exposition::{Exposition, Family, Labels, MetricKind, Sample};

/// Says what was gathered; kinds that nobody registers are left out.
pub(super) fn expose(families: &[MetricFamily], out: &mut dyn Exposition) {
    for family in families {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => MetricKind::Counter,
            MetricType::GAUGE => MetricKind::Gauge,
            MetricType::HISTOGRAM => MetricKind::Histogram,
            _ => continue,
        };
        out.family(Family {
            name: family.name(),
            kind,
            help: family.help(),
        });
        for metric in family.get_metric() {
            say(metric, kind, out);
        }
    }
}

fn say(metric: &Metric, kind: MetricKind, out: &mut dyn Exposition) {
    let labels = Labels::new(
        metric
            .get_label()
            .iter()
            .map(|label| (label.name(), label.value())),
    );
    match kind {
        MetricKind::Counter => out.sample(Sample::plain(&labels, metric.get_counter().get_value())),
        MetricKind::Gauge => out.sample(Sample::plain(&labels, metric.get_gauge().get_value())),
        MetricKind::Histogram | MetricKind::Summary => {
            let histogram = metric.get_histogram();
            let count = histogram.get_sample_count() as f64;
            for bucket in histogram.get_bucket() {
                let bound = bucket.upper_bound().to_string();
                let extra = Some(("le", bound.as_str()));
                let value = bucket.cumulative_count() as f64;
                out.sample(Sample {
                    suffix: "_bucket",
                    extra,
                    ..Sample::plain(&labels, value)
                });
            }
            let extra = Some(("le", "+Inf"));
            out.sample(Sample {
                suffix: "_bucket",
                extra,
                ..Sample::plain(&labels, count)
            });
            out.sample(Sample {
                suffix: "_sum",
                ..Sample::plain(&labels, histogram.get_sample_sum())
            });
            out.sample(Sample {
                suffix: "_count",
                ..Sample::plain(&labels, count)
            });
        }
    }
}
