//! The history of requests, from their observations.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tidegate_observe::{FinishedRequest, RequestOutcome, SERVER_FAULTS, Sketch, Traffic};
use tidegate_serving::{
    Exposition, Family, Labels, MetricEntry, MetricKind, MetricRegistry, MetricSource, Observation,
    Outcome, RequestMetrics, Sample,
};

use crate::clock::now_ms;

/// Memory that it takes at most, about.
const BUDGET_BYTES: usize = 64 << 20;
/// The window of the quantiles in `/metrics`.
const QUANTILE_WINDOW_MS: u64 = 60_000;
/// The one quantile on `/metrics`, of each stage of each version; the console has any, of any span.
const QUANTILE: (&str, f64) = ("0.99", 0.99);

/// The history of a server's requests, shared by all that show it.
#[derive(Clone)]
pub(crate) struct History(Arc<Mutex<tidegate_observe::History>>);

impl History {
    /// Records the observations of `requests` from now on, and exposes quantiles of them.
    pub(crate) fn new(registry: &MetricRegistry, requests: &Arc<RequestMetrics>) -> Self {
        let history = tidegate_observe::History::new(BUDGET_BYTES);
        let history = Self(Arc::new(Mutex::new(history)));
        let counted = history.0.clone();
        requests
            .observations()
            .subscribe(move |finished| count(&mut counted.lock(), finished, now_ms()));
        registry.add_source(QuantileSource {
            history: history.clone(),
            requests: requests.clone(),
        });
        history
    }

    /// The history. Holding the lock delays the counting of requests, so hold it briefly.
    pub(crate) fn read(&self) -> MutexGuard<'_, tidegate_observe::History> {
        self.0.lock()
    }
}

const QUEUE: Family<'static> = Family::new(
    "tidegate_queue_duration_seconds",
    MetricKind::Summary,
    "Time that answered requests waited for an instance, in the last minute",
);
const COMPUTE: Family<'static> = Family::new(
    "tidegate_compute_duration_seconds",
    MetricKind::Summary,
    "Time of answered requests in the engine, in the last minute",
);

/// A quantile of each stage of requests, of the versions that are exposed.
struct QuantileSource {
    history: History,
    requests: Arc<RequestMetrics>,
}

/// The times of one stage.
type Stage = fn(&Traffic) -> &Sketch;

impl MetricSource for QuantileSource {
    fn entries(&self) -> Vec<MetricEntry> {
        [QUEUE, COMPUTE]
            .map(|family| MetricEntry::new(family, &["model", "version", "quantile"]))
            .into()
    }

    fn expose(&self, out: &mut dyn Exposition) {
        // The end is exclusive, and requests of this millisecond count.
        let until_ms = now_ms() + 1;
        let since_ms = until_ms.saturating_sub(QUANTILE_WINDOW_MS);
        // Copied out: counting requests waits for the lock, and an exposition may be slow.
        let totals = self.history.read().totals(since_ms, until_ms);
        let mut answered = Vec::new();
        for ((model, version), traffic) in totals {
            // The history remembers versions that are gone; `/metrics` drops them.
            if traffic.answered > 0 && self.requests.has_version(&model, &version) {
                let labels = Labels::new([("model", model), ("version", version)]);
                answered.push((labels, traffic));
            }
        }
        let stages: [(_, Stage); 2] = [
            (QUEUE, |traffic| &traffic.queue),
            (COMPUTE, |traffic| &traffic.run),
        ];
        for (family, stage) in stages {
            out.family(family);
            for (labels, traffic) in &answered {
                let (name, share) = QUANTILE;
                let nanos = stage(traffic).quantile(share).unwrap_or(0.0);
                out.sample(Sample {
                    extra: Some(("quantile", name)),
                    ..Sample::plain(labels, nanos / 1e9)
                });
            }
        }
    }
}

/// Counts requests by the version that they reached; consecutive requests are often of the same
/// version.
fn count(history: &mut tidegate_observe::History, finished: &[Observation], at_ms: u64) {
    for run in finished.chunk_by(|one, other| one.version() == other.version()) {
        if let Some((model, version)) = run.first().and_then(Observation::version) {
            let requests: Vec<FinishedRequest> = run.iter().map(as_finished).collect();
            history.count(model, version, at_ms, &requests);
        }
    }
}

fn nanoseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn as_finished(one: &Observation) -> FinishedRequest {
    let outcome = match one.outcome {
        Outcome::Answered => RequestOutcome::Answered,
        Outcome::Abandoned => RequestOutcome::Abandoned,
        Outcome::Failed(code) if SERVER_FAULTS.contains(&code.name()) => RequestOutcome::Failed,
        Outcome::Failed(_) => RequestOutcome::ClientError,
    };
    FinishedRequest {
        outcome,
        rows: one.rows as u64,
        batch_rows: one.timing.batch_rows as u64,
        total_ns: nanoseconds(one.total),
        queue_ns: nanoseconds(one.timing.queue),
        run_ns: nanoseconds(one.timing.compute_infer),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_serving::{ErrorCode, TextExposition, TextForm};

    use super::*;

    #[test]
    fn requests_are_remembered_and_their_quantiles_exposed() {
        let registry = MetricRegistry::new();
        let metrics = Arc::new(RequestMetrics::new(&registry));
        let history = History::new(&registry, &metrics);
        let fraud = Some(("fraud", "7"));
        for millis in 1..=100 {
            let total = Duration::from_millis(millis);
            let mut one = metrics.example_observation(fraud, Outcome::Answered, total);
            one.timing.queue = total / 2;
            metrics.observations().record(one);
        }
        let failed = Outcome::Failed(ErrorCode::QueueFull);
        for version in [fraud, None] {
            let one = metrics.example_observation(version, failed, Duration::ZERO);
            metrics.observations().record(one);
        }
        metrics.observations().drain();
        let now_ms = now_ms() + 1;
        let traffic = history
            .read()
            .total("fraud", Some("7"), now_ms - 60_000, now_ms);
        assert_eq!((traffic.answered, traffic.failed), (100, 1));
        let mut text = TextExposition::new(TextForm::Prometheus);
        registry.expose(&mut text);
        let text = text.finish();
        let line = text
            .lines()
            .find(|line| line.contains("queue") && line.contains("quantile=\"0.99\""))
            .unwrap();
        let seconds: f64 = line.split(' ').next_back().unwrap().parse().unwrap();
        assert!((seconds - 0.0495).abs() < 0.001, "{line}");
    }
}
