//! The two text forms: Prometheus's own and OpenMetrics.

use std::fmt::Write;
use std::time::UNIX_EPOCH;

use super::exposition::{Exposition, Family, MetricKind, Sample, write_label};

/// Which text form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextForm {
    /// Prometheus's, version 0.0.4.
    #[default]
    Prometheus,
    /// [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/) 1.0.0, which has exemplars.
    OpenMetrics,
}

impl TextForm {
    /// The form that a client asks for with its `Accept` header: OpenMetrics only if it is named.
    pub fn accepted(accept: Option<&str>) -> Self {
        let names_it = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
        if names_it {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writes metrics as text.
#[derive(Debug, Default)]
pub struct TextExposition {
    form: TextForm,
    text: String,
    name: String,
}

impl TextExposition {
    /// An empty text.
    pub fn new(form: TextForm) -> Self {
        Self {
            form,
            text: String::with_capacity(64 << 10),
            name: String::new(),
        }
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        if self.form == TextForm::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

impl Exposition for TextExposition {
    fn family(&mut self, family: Family<'_>) {
        self.name.clear();
        self.name.push_str(family.name);
        let (name, kind) = match (self.form, family.kind) {
            // Its counters are called by what they count; Triton's names, which do not say that
            // they are totals, cannot be counters there.
            (TextForm::OpenMetrics, MetricKind::Counter) => {
                match family.name.strip_suffix("_total") {
                    Some(name) => (name, "counter"),
                    None => (family.name, "unknown"),
                }
            }
            (_, kind) => (family.name, kind.name()),
        };
        let _ = writeln!(
            self.text,
            "# HELP {name} {}\n# TYPE {name} {kind}",
            family.help
        );
    }

    fn sample(&mut self, sample: Sample<'_>) {
        let text = &mut self.text;
        text.push_str(&self.name);
        text.push_str(sample.suffix);
        let labels = sample.labels.text();
        if !labels.is_empty() || sample.extra.is_some() {
            text.push('{');
            text.push_str(labels);
            if let Some((name, value)) = sample.extra {
                if !labels.is_empty() {
                    text.push(',');
                }
                text.push_str(name);
                text.push_str("=\"");
                text.push_str(value);
                text.push('"');
            }
            text.push('}');
        }
        text.push(' ');
        write_number(text, sample.value);
        if let Some(exemplar) = sample
            .exemplar
            .filter(|_| self.form == TextForm::OpenMetrics)
        {
            let at = exemplar.at.duration_since(UNIX_EPOCH).unwrap_or_default();
            let mut label = String::new();
            write_label(
                &mut label,
                "trace_id",
                &format!("{:032x}", exemplar.trace_id),
            );
            let _ = write!(
                text,
                " # {{{label}}} {} {:.3}",
                exemplar.value,
                at.as_secs_f64()
            );
        }
        text.push('\n');
    }
}

/// Whole numbers as such; others in the shortest form that reads back the same.
fn write_number(text: &mut String, value: f64) {
    // Up to 2^53, about 9.007e15, a float holds every whole number.
    if value.fract() == 0.0 && value.abs() < 9e15 {
        text.push_str(itoa::Buffer::new().format(value as i64));
    } else if value.is_finite() {
        text.push_str(zmij::Buffer::new().format_finite(value));
    } else {
        text.push_str(if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::exposition::{Exemplar, Labels};
    use super::*;

    fn exposed(form: TextForm) -> String {
        let mut text = TextExposition::new(form);
        let labels = Labels::new([("model", "a \"quoted\"\\\n name")]);
        text.family(Family {
            name: "answers_total",
            kind: MetricKind::Counter,
            help: "Answers",
        });
        text.sample(Sample::plain(&labels, 3.0));
        text.family(Family {
            name: "nv_count",
            kind: MetricKind::Counter,
            help: "Rows",
        });
        text.sample(Sample::plain(&Labels::default(), 0.5));
        text.family(Family {
            name: "seconds",
            kind: MetricKind::Histogram,
            help: "Time",
        });
        let exemplar = Exemplar {
            trace_id: 0xabc,
            value: 0.25,
            at: UNIX_EPOCH + Duration::from_millis(1500),
        };
        let bucket = Sample {
            suffix: "_bucket",
            labels: &Labels::default(),
            extra: Some(("le", "0.5")),
            value: 7.0,
            exemplar: Some(&exemplar),
        };
        text.sample(bucket);
        text.finish()
    }

    #[test]
    fn prometheus_has_types_and_escapes() {
        assert_eq!(
            exposed(TextForm::Prometheus),
            "# HELP answers_total Answers\n# TYPE answers_total counter\n\
             answers_total{model=\"a \\\"quoted\\\"\\\\\\n name\"} 3\n\
             # HELP nv_count Rows\n# TYPE nv_count counter\nnv_count 0.5\n\
             # HELP seconds Time\n# TYPE seconds histogram\nseconds_bucket{le=\"0.5\"} 7\n"
        );
    }

    #[test]
    fn openmetrics_has_exemplars_and_an_end() {
        assert_eq!(
            exposed(TextForm::OpenMetrics),
            "# HELP answers Answers\n# TYPE answers counter\n\
             answers_total{model=\"a \\\"quoted\\\"\\\\\\n name\"} 3\n\
             # HELP nv_count Rows\n# TYPE nv_count unknown\nnv_count 0.5\n\
             # HELP seconds Time\n# TYPE seconds histogram\n\
             seconds_bucket{le=\"0.5\"} 7 # {trace_id=\"00000000000000000000000000000abc\"} 0.25 1.500\n# EOF\n"
        );
    }

    #[test]
    fn numbers_read_back_the_same() {
        for value in [0.0, 1.0, -3.0, 1e15, 1e300, 0.1, 2.5e-5, f64::INFINITY] {
            let mut text = String::new();
            write_number(&mut text, value);
            assert_eq!(text.parse(), Ok(value), "{text}");
        }
    }
}
