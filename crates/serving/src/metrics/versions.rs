//! The metrics of versions, said from their tallies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::exposition::{Exposition, Family, Labels, MetricKind, Sample};
use super::tally::{Counted, Exemplars, REQUEST_BOUNDS_NS, Tally};
use crate::ErrorCode;

/// Versions that are told apart, at most.
const LIMIT: usize = 10_000;
/// What the others together are called.
const OVERFLOW: &str = "_other";
/// Failures that are there from the beginning: a rate over a series that was not there before its
/// first failure would miss that one.
const EXPECTED: [ErrorCode; 3] = [
    ErrorCode::QueueFull,
    ErrorCode::DeadlineExceeded,
    ErrorCode::ExecutionFailed,
];

/// A model and a version of it.
type Name = (Box<str>, Box<str>);

/// The tallies of all versions that have been loaded and are not forgotten.
#[derive(Default)]
pub(super) struct Tallies {
    tallies: Mutex<BTreeMap<Name, Arc<Tally>>>,
    /// Loads of versions that were one too many.
    overflows: AtomicU64,
}

impl Tallies {
    /// The tally of a version, which is the same for each load of it.
    pub(super) fn of(&self, model: &str, version: &str) -> Arc<Tally> {
        let mut tallies = self.tallies.lock();
        let key = (model.into(), version.into());
        let is_full = tallies.len() >= LIMIT && !tallies.contains_key(&key);
        let (key, model, version) = match is_full {
            true => {
                self.overflows.fetch_add(1, Ordering::Relaxed);
                ((OVERFLOW.into(), OVERFLOW.into()), OVERFLOW, OVERFLOW)
            }
            false => (key, model, version),
        };
        tallies
            .entry(key)
            .or_insert_with(|| Arc::new(Tally::new(model, version)))
            .clone()
    }

    /// Takes a version out of the exposition.
    pub(super) fn forget(&self, model: &str, version: &str) {
        self.tallies.lock().remove(&(model.into(), version.into()));
    }

    /// Whether a version is in the exposition.
    pub(super) fn has(&self, model: &str, version: &str) -> bool {
        self.tallies
            .lock()
            .contains_key(&(model.into(), version.into()))
    }

    /// The tallies that are in the exposition.
    pub(super) fn all(&self) -> Vec<Arc<Tally>> {
        self.tallies.lock().values().cloned().collect()
    }

    /// Loads of versions that found no place of their own.
    pub(super) fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }

    /// Says what they have counted.
    pub(super) fn expose(&self, out: &mut dyn Exposition) {
        let tallies = self.all();
        let counted: Vec<Counted> = tallies.iter().map(|tally| tally.counted()).collect();
        for number in NUMBERS {
            out.family(number.family);
            for (tally, counted) in tallies.iter().zip(&counted) {
                out.sample(Sample::plain(
                    tally.labels(),
                    (number.value)(tally, counted),
                ));
            }
        }
        out.family(ABANDONED);
        for (tally, counted) in tallies
            .iter()
            .zip(&counted)
            .filter(|(_, counted)| counted.abandoned > 0)
        {
            out.sample(Sample::plain(tally.labels(), counted.abandoned as f64));
        }
        out.family(FAILURE);
        for (tally, counted) in tallies.iter().zip(&counted) {
            for code in ErrorCode::ALL {
                let failures = counted.failures(*code);
                if failures > 0 || EXPECTED.contains(code) {
                    let extra = Some(("reason", code.name()));
                    out.sample(Sample {
                        extra,
                        ..Sample::plain(tally.labels(), failures as f64)
                    });
                }
            }
        }
        let bounds = REQUEST_BOUNDS_NS.map(|ns| (ns as f64 / 1e9).to_string());
        out.family(REQUEST_SECONDS);
        for (tally, counted) in tallies.iter().zip(&counted) {
            let (counts, seconds) = (&counted.within, counted.request_ns as f64 / 1e9);
            histogram(
                out,
                tally.labels(),
                &bounds,
                counts,
                seconds,
                &tally.exemplars(),
            );
        }
    }
}

/// Says a histogram from what lies between its bounds; the last count is of what is above them all.
fn histogram(
    out: &mut dyn Exposition,
    labels: &Labels,
    bounds: &[String],
    counts: &[u64],
    sum: f64,
    exemplars: &Exemplars,
) {
    let mut below = 0;
    for (at, count) in counts.iter().enumerate() {
        below += count;
        let bound = bounds.get(at).map_or("+Inf", String::as_str);
        let extra = Some(("le", bound));
        let exemplar = exemplars.get(&at);
        out.sample(Sample {
            suffix: "_bucket",
            extra,
            exemplar,
            ..Sample::plain(labels, below as f64)
        });
    }
    out.sample(Sample {
        suffix: "_sum",
        ..Sample::plain(labels, sum)
    });
    out.sample(Sample {
        suffix: "_count",
        ..Sample::plain(labels, below as f64)
    });
}

/// A metric of a version that is one number.
struct Number {
    family: Family<'static>,
    value: fn(&Tally, &Counted) -> f64,
}

const NUMBERS: [Number; 11] = [
    Number {
        family: Family::counter("nv_inference_request_success", "Requests answered"),
        value: |_, counted| counted.answered as f64,
    },
    Number {
        family: Family::counter("nv_inference_count", "Rows answered"),
        value: |_, counted| counted.rows as f64,
    },
    Number {
        family: Family::counter("nv_inference_exec_count", "Batches run"),
        value: |tally, _| tally.batches() as f64,
    },
    Number {
        family: Family::counter("nv_inference_request_duration_us", "Time in the server"),
        value: |_, counted| micros(counted.request_ns),
    },
    Number {
        family: Family::counter(
            "nv_inference_queue_duration_us",
            "Time waiting for an instance",
        ),
        value: |_, counted| micros(counted.queue_ns),
    },
    Number {
        family: Family::counter(
            "nv_inference_compute_input_duration_us",
            "Time joining inputs of batches",
        ),
        value: |_, counted| micros(counted.input_ns),
    },
    Number {
        family: Family::counter(
            "nv_inference_compute_infer_duration_us",
            "Time in the engine",
        ),
        value: |_, counted| micros(counted.infer_ns),
    },
    Number {
        family: Family::counter(
            "nv_inference_compute_output_duration_us",
            "Time splitting outputs of batches",
        ),
        value: |_, counted| micros(counted.output_ns),
    },
    Number {
        family: Family::gauge("nv_inference_pending_request_count", "Requests waiting"),
        value: |tally, _| tally.waiting() as f64,
    },
    Number {
        family: Family::counter(
            "tidegate_instance_busy_seconds_total",
            "Time that instances were busy with batches; its rate is how many are busy at once",
        ),
        value: |tally, _| tally.busy_ns() as f64 / 1e9,
    },
    Number {
        family: Family::counter(
            "tidegate_answer_bytes_total",
            "Bytes of answers: bodies as sent over REST, tensors before compression over gRPC",
        ),
        value: |tally, _| tally.sent_bytes() as f64,
    },
];

/// Of versions of which a client gave something up; most never have one, and a first one that a
/// rate misses wakes nobody.
const ABANDONED: Family<'static> = Family::counter(
    "tidegate_requests_abandoned_total",
    "Requests given up because their client went away; of versions that had any",
);
const FAILURE: Family<'static> = Family::counter(
    "nv_inference_request_failure",
    "Requests that reached a version and failed, by error code",
);
const REQUEST_SECONDS: Family<'static> = Family::new(
    "tidegate_request_duration_seconds",
    MetricKind::Histogram,
    "Time of answered requests, from decoded to answered",
);

/// Every metric of versions, with its labels.
pub(super) fn catalogue() -> impl Iterator<Item = (Family<'static>, &'static [&'static str])> {
    const VERSION: &[&str] = &["model", "version"];
    let numbers = NUMBERS.iter().map(|number| (number.family, VERSION));
    let failure: (_, &[&str]) = (FAILURE, &["model", "version", "reason"]);
    numbers.chain([(ABANDONED, VERSION), failure, (REQUEST_SECONDS, VERSION)])
}

/// Whole microseconds, as Triton counts them.
fn micros(ns: u64) -> f64 {
    (ns / 1000) as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{Metrics, Observation, Outcome, TextExposition, TextForm};

    /// What `/metrics` has of versions after these requests to version 1 of `fraud`.
    fn told(outcomes: &[Outcome]) -> Vec<String> {
        let metrics = Metrics::new();
        for outcome in outcomes {
            let one = Observation::of(
                &metrics,
                Some(("fraud", "1")),
                *outcome,
                Duration::from_micros(123_456),
            );
            metrics.observations().leave(one);
        }
        let mut text = TextExposition::new(TextForm::Prometheus);
        metrics.expose(&mut text);
        text.finish()
            .lines()
            .filter(|line| line.contains("version=\"1\""))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn a_version_takes_less_than_three_kilobytes() {
        let lines = told(&[Outcome::Answered; 1000]);
        let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
        assert!(
            lines.len() < 40 && bytes < 3000,
            "{} series, {bytes} bytes:\n{}",
            lines.len(),
            lines.join("\n")
        );
    }

    #[test]
    fn requests_that_were_given_up_are_told_of_where_there_were_any() {
        let abandoned = |outcomes: &[Outcome]| {
            let lines = told(outcomes).into_iter();
            lines
                .filter(|line| line.starts_with("tidegate_requests_abandoned_total"))
                .collect::<Vec<_>>()
        };
        assert!(abandoned(&[Outcome::Answered]).is_empty());
        let of_two = abandoned(&[Outcome::Abandoned, Outcome::Abandoned]);
        assert_eq!(
            of_two,
            ["tidegate_requests_abandoned_total{model=\"fraud\",version=\"1\"} 2"]
        );
    }
}
