//! The metrics of versions, read from their counters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::ErrorCode;
use crate::metrics::{Exposition, Family, Labels, MetricEntry, MetricKind, Sample};
use crate::version_counters::{REQUEST_BOUNDS_NS, RequestCounts, VersionCounters};

/// Versions with series of their own, at most: each takes up to 3 kB of an exposition.
const LIMIT: usize = 10_000;
/// The name of all versions beyond the limit together.
const OVERFLOW: &str = "_other";
/// Failures that are exposed also while they are 0: `rate` sees no increase from a series that
/// begins with its first failure.
const EXPECTED: [ErrorCode; 3] = [
    ErrorCode::QueueFull,
    ErrorCode::DeadlineExceeded,
    ErrorCode::ExecutionFailed,
];

/// A model and a version of it.
type Name = (Box<str>, Box<str>);

/// The counters of all versions that have been loaded and were not removed since.
#[derive(Default)]
pub(super) struct CountersByVersion {
    counters: Mutex<BTreeMap<Name, Arc<VersionCounters>>>,
    /// Loads of versions beyond the limit.
    overflows: AtomicU64,
}

/// The counters of a version with its requests, read once for all its metrics.
type Counted = (Arc<VersionCounters>, RequestCounts);

impl CountersByVersion {
    /// The counters of a version, which are the same for each load of it.
    pub(super) fn get_or_create(&self, model: &str, version: &str) -> Arc<VersionCounters> {
        let mut counters = self.counters.lock();
        let mut key: Name = (model.into(), version.into());
        if counters.len() >= LIMIT && !counters.contains_key(&key) {
            self.overflows.fetch_add(1, Ordering::Relaxed);
            key = (OVERFLOW.into(), OVERFLOW.into());
        }
        let created = || Arc::new(VersionCounters::new(&key.0, &key.1));
        counters.entry(key.clone()).or_insert_with(created).clone()
    }

    /// Removes a version from the exposition.
    pub(super) fn remove(&self, model: &str, version: &str) {
        self.counters.lock().remove(&(model.into(), version.into()));
    }

    /// Whether a version is in the exposition.
    pub(super) fn contains(&self, model: &str, version: &str) -> bool {
        let key = (model.into(), version.into());
        self.counters.lock().contains_key(&key)
    }

    /// The counters in the exposition.
    pub(super) fn all(&self) -> Vec<Arc<VersionCounters>> {
        self.counters.lock().values().cloned().collect()
    }

    /// Loads of versions that found no place of their own.
    pub(super) fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }

    /// Writes the metrics of every version.
    pub(super) fn expose(&self, out: &mut dyn Exposition) {
        let mut versions: Vec<Counted> = Vec::new();
        for counters in self.all() {
            let requests = counters.requests();
            versions.push((counters, requests));
        }
        for number in NUMBERS {
            out.family(number.family);
            for (counters, requests) in &versions {
                let value = (number.value)(counters, requests);
                out.sample(Sample::plain(counters.labels(), value));
            }
        }
        expose_abandoned(&versions, out);
        expose_broken_batch_contracts(&versions, out);
        expose_node_runs(&versions, out);
        expose_failures(&versions, out);
        expose_field_violations(&versions, out);
        expose_durations(&versions, out);
    }
}

fn expose_abandoned(versions: &[Counted], out: &mut dyn Exposition) {
    out.family(ABANDONED);
    for (counters, requests) in versions {
        if requests.abandoned > 0 {
            let value = requests.abandoned as f64;
            out.sample(Sample::plain(counters.labels(), value));
        }
    }
}

fn expose_broken_batch_contracts(versions: &[Counted], out: &mut dyn Exposition) {
    out.family(BROKEN_BATCH_CONTRACT);
    for (counters, _) in versions {
        let broken = counters.broken_batch_contracts();
        if broken > 0 {
            out.sample(Sample::plain(counters.labels(), broken as f64));
        }
    }
}

fn expose_node_runs(versions: &[Counted], out: &mut dyn Exposition) {
    out.family(NODE_RUNS);
    for (counters, _) in versions {
        let runs = counters.node_runs();
        if runs > 0 {
            out.sample(Sample::plain(counters.labels(), runs as f64));
        }
    }
}

fn expose_failures(versions: &[Counted], out: &mut dyn Exposition) {
    out.family(FAILURE);
    for (counters, requests) in versions {
        for code in ErrorCode::ALL {
            let failures = requests.failures(*code);
            if failures > 0 || EXPECTED.contains(code) {
                out.sample(Sample {
                    extra: Some(("reason", code.name())),
                    ..Sample::plain(counters.labels(), failures as f64)
                });
            }
        }
    }
}

fn expose_field_violations(versions: &[Counted], out: &mut dyn Exposition) {
    out.family(FIELD_VIOLATION);
    for (counters, _) in versions {
        let Some(violations) = counters.field_violations() else {
            continue;
        };
        let (model, version) = counters.names();
        for (field, reason, count) in violations.counted() {
            let labels = Labels::new([("model", &**model), ("version", version), ("field", field)]);
            out.sample(Sample {
                extra: Some(("reason", reason.name())),
                ..Sample::plain(&labels, count as f64)
            });
        }
    }
}

fn expose_durations(versions: &[Counted], out: &mut dyn Exposition) {
    out.family(REQUEST_SECONDS);
    let bounds = REQUEST_BOUNDS_NS.map(|ns| (ns as f64 / 1e9).to_string());
    for (counters, requests) in versions {
        let (labels, exemplars) = (counters.labels(), counters.exemplars());
        let mut below = 0;
        for (at, count) in requests.within.iter().enumerate() {
            below += count;
            // Behind the last bound is the count of what is above them all.
            let bound = bounds.get(at).map_or("+Inf", String::as_str);
            out.sample(Sample {
                exemplar: exemplars.get(&at),
                ..Sample::bucket(labels, bound, below as f64)
            });
        }
        let seconds = requests.request_ns as f64 / 1e9;
        out.sample(Sample::part("_sum", labels, seconds));
        out.sample(Sample::part("_count", labels, below as f64));
    }
}

/// A metric of a version that is one number.
struct Number {
    family: Family<'static>,
    value: fn(&VersionCounters, &RequestCounts) -> f64,
}

const NUMBERS: [Number; 11] = [
    Number {
        family: Family::counter("nv_inference_request_success", "Requests answered"),
        value: |_, requests| requests.answered as f64,
    },
    Number {
        family: Family::counter("nv_inference_count", "Rows answered"),
        value: |_, requests| requests.rows as f64,
    },
    Number {
        family: Family::counter("nv_inference_exec_count", "Batches run"),
        value: |counters, _| counters.batches() as f64,
    },
    Number {
        family: Family::counter("nv_inference_request_duration_us", "Time in the server"),
        value: |_, requests| micros(requests.request_ns),
    },
    Number {
        family: Family::counter(
            "nv_inference_queue_duration_us",
            "Time waiting for an instance",
        ),
        value: |_, requests| micros(requests.queue_ns),
    },
    Number {
        family: Family::counter(
            "nv_inference_compute_input_duration_us",
            "Time joining inputs of batches",
        ),
        value: |_, requests| micros(requests.input_ns),
    },
    Number {
        family: Family::counter(
            "nv_inference_compute_infer_duration_us",
            "Time in the engine: each request counts the whole time of its batch",
        ),
        value: |_, requests| micros(requests.infer_ns),
    },
    Number {
        family: Family::counter(
            "nv_inference_compute_output_duration_us",
            "Time splitting outputs of batches",
        ),
        value: |_, requests| micros(requests.output_ns),
    },
    Number {
        family: Family::gauge("nv_inference_pending_request_count", "Requests waiting"),
        value: |counters, _| counters.queued() as f64,
    },
    Number {
        family: Family::counter(
            "tidegate_instance_busy_seconds_total",
            "Time that instances were busy with batches; its rate is the number of busy instances",
        ),
        value: |counters, _| counters.busy_ns() as f64 / 1e9,
    },
    Number {
        family: Family::counter(
            "tidegate_answer_bytes_total",
            "Bytes of answers: bodies as sent over REST, tensors before compression over gRPC",
        ),
        value: |counters, _| counters.sent_bytes() as f64,
    },
];

/// Exposed only of versions that have any: most never do, and no alert depends on a `rate` that
/// misses the first one.
const ABANDONED: Family<'static> = Family::counter(
    "tidegate_requests_abandoned_total",
    "Requests cancelled because their client disconnected; only for versions that had any",
);
const BROKEN_BATCH_CONTRACT: Family<'static> = Family::counter(
    "tidegate_batching_stopped_total",
    "Loads of a version that run requests one by one, because requests showed that rows of a batch depend on each other; only for versions that had any",
);
const NODE_RUNS: Family<'static> = Family::counter(
    "tidegate_graph_node_runs_total",
    "Runs of a version as a node of a graph, which count as no requests of clients; only for versions that had any",
);
const FAILURE: Family<'static> = Family::counter(
    "nv_inference_request_failure",
    "Requests that reached a version and failed, by error code",
);
const FIELD_VIOLATION: Family<'static> = Family::counter(
    "tidegate_field_violations_total",
    "Values of records that broke a rule of their field, by field and reason: required, type, range, category, pattern, length or unknown; only those that occurred",
);
const REQUEST_SECONDS: Family<'static> = Family::new(
    "tidegate_request_duration_seconds",
    MetricKind::Histogram,
    "Time of answered requests, from decoded to answered",
);

/// Every metric of versions, with its labels.
pub(super) fn entries() -> Vec<MetricEntry> {
    let version = &["model", "version"];
    let numbers = NUMBERS
        .iter()
        .map(|number| MetricEntry::new(number.family, version));
    let others = [
        MetricEntry::new(ABANDONED, version),
        MetricEntry::new(BROKEN_BATCH_CONTRACT, version),
        MetricEntry::new(NODE_RUNS, version),
        MetricEntry::new(FAILURE, &["model", "version", "reason"]),
        MetricEntry::new(FIELD_VIOLATION, &["model", "version", "field", "reason"]),
        MetricEntry::new(REQUEST_SECONDS, version),
    ];
    numbers.chain(others).collect()
}

/// Whole microseconds, as Triton counts them.
fn micros(ns: u64) -> f64 {
    (ns / 1000) as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{MetricRegistry, Outcome, RequestMetrics, TextExposition, TextForm};

    /// The lines of `/metrics` on versions after these requests to version 1 of `fraud`.
    fn exposed(outcomes: &[Outcome]) -> Vec<String> {
        let registry = MetricRegistry::new();
        let metrics = RequestMetrics::new(&registry);
        let took = Duration::from_micros(123_456);
        for outcome in outcomes {
            let one = metrics.example_observation(Some(("fraud", "1")), *outcome, took);
            metrics.observations().record(one);
        }
        let mut text = TextExposition::new(TextForm::Prometheus);
        registry.expose(&mut text);
        text.finish()
            .lines()
            .filter(|line| line.contains("version=\"1\""))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn a_version_takes_less_than_three_kilobytes() {
        let lines = exposed(&[Outcome::Answered; 1000]);
        let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
        assert!(
            lines.len() < 40 && bytes < 3000,
            "{} series, {bytes} bytes:\n{}",
            lines.len(),
            lines.join("\n")
        );
    }

    #[test]
    fn abandoned_requests_are_exposed_only_of_versions_that_have_any() {
        let abandoned = |outcomes: &[Outcome]| {
            let lines = exposed(outcomes).into_iter();
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
