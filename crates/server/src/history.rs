//! What requests came to over time, kept from their observations.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tidegate_observe::{FinishedRequest, RequestOutcome, SERVER_FAULTS, Sketch, Traffic};
use tidegate_serving::{
    Exposition, Family, Labels, MetricEntry, MetricKind, Metrics, Observation, Outcome, Sample,
};

use crate::clock::now_ms;

/// Memory that it takes at most, about.
const BUDGET_BYTES: usize = 64 << 20;
/// Over how long `/metrics` says quantiles.
const QUANTILE_WINDOW_MS: u64 = 60_000;
/// The one quantile that `/metrics` says, of each stage of each version; the console has any, of
/// any span.
const QUANTILE: (&str, f64) = ("0.99", 0.99);

/// The history of a server's requests, shared by whoever shows it.
#[derive(Clone)]
pub(crate) struct History(Arc<Mutex<tidegate_observe::History>>);

impl History {
    /// Begins to remember what `metrics` observes.
    pub(crate) fn of(metrics: &Metrics) -> Self {
        let history = Self(Arc::new(Mutex::new(tidegate_observe::History::new(
            BUDGET_BYTES,
        ))));
        let kept = history.0.clone();
        metrics
            .observations()
            .subscribe(move |finished| count(&mut kept.lock(), finished, now_ms()));
        history
    }

    /// What is remembered. Whoever holds it holds up those who count: be brief.
    pub(crate) fn read(&self) -> MutexGuard<'_, tidegate_observe::History> {
        self.0.lock()
    }

    /// Says a quantile of the stages of requests, of the versions that `metrics` tells of.
    pub(crate) fn expose(&self, metrics: &Metrics, out: &mut dyn Exposition) {
        let until_ms = now_ms() + 1;
        let since_ms = until_ms.saturating_sub(QUANTILE_WINDOW_MS);
        let totals = self.read().totals(since_ms, until_ms);
        let told = totals.into_iter().filter(|((model, version), traffic)| {
            traffic.answered > 0 && metrics.tells_of(model, version)
        });
        let told = told.map(|((model, version), traffic)| {
            (
                Labels::new([("model", model), ("version", version)]),
                traffic,
            )
        });
        let told: Vec<_> = told.collect();
        let stages: [(_, Stage); 2] = [
            (QUEUE, |traffic| &traffic.queue),
            (COMPUTE, |traffic| &traffic.run),
        ];
        for (family, stage) in stages {
            out.family(family);
            for (labels, traffic) in &told {
                let (name, share) = QUANTILE;
                let value = stage(traffic).quantile(share).unwrap_or(0.0) / 1e9;
                out.sample(Sample {
                    extra: Some(("quantile", name)),
                    ..Sample::plain(labels, value)
                });
            }
        }
    }
}

/// The times of one stage.
type Stage = fn(&Traffic) -> &Sketch;

const QUEUE: Family<'static> = Family::new(
    "tidegate_queue_duration_seconds",
    MetricKind::Summary,
    "Time of the last minute's answered requests waiting for an instance",
);
const COMPUTE: Family<'static> = Family::new(
    "tidegate_compute_duration_seconds",
    MetricKind::Summary,
    "Time of the last minute's answered requests in the engine",
);

/// What the reference says of the metrics of this file.
pub(crate) fn catalogue() -> impl Iterator<Item = MetricEntry> {
    [QUEUE, COMPUTE]
        .into_iter()
        .map(|family| MetricEntry::new((family, &["model", "version", "quantile"])))
}

/// Counts requests by the version that they reached; neighbours are often of the same.
fn count(history: &mut tidegate_observe::History, finished: &[Observation], at_ms: u64) {
    let same = |one: &Observation, other: &Observation| one.version() == other.version();
    for run in finished.chunk_by(same) {
        if let Some((model, version)) = run.first().and_then(Observation::version) {
            let requests: Vec<FinishedRequest> = run.iter().map(as_finished).collect();
            history.count(model, version, at_ms, &requests);
        }
    }
}

fn as_finished(one: &Observation) -> FinishedRequest {
    let outcome = match one.outcome {
        Outcome::Answered => RequestOutcome::Answered,
        Outcome::Abandoned => RequestOutcome::Abandoned,
        Outcome::Failed(code) if SERVER_FAULTS.contains(&code.name()) => RequestOutcome::Failed,
        Outcome::Failed(_) => RequestOutcome::ClientError,
    };
    let ns = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    FinishedRequest {
        outcome,
        rows: one.rows as u64,
        batch_rows: one.timing.batch_rows as u64,
        total_ns: ns(one.total),
        queue_ns: ns(one.timing.queue),
        run_ns: ns(one.timing.compute_infer),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_serving::{ErrorCode, TextExposition, TextForm};

    use super::*;

    #[test]
    fn requests_are_remembered_and_their_quantiles_said() {
        let metrics = Metrics::new();
        let history = History::of(&metrics);
        for millis in 1..=100 {
            let total = Duration::from_millis(millis);
            let mut one = Observation::of(&metrics, Some(("fraud", "7")), Outcome::Answered, total);
            one.timing.queue = total / 2;
            metrics.observations().leave(one);
        }
        let code = ErrorCode::QueueFull;
        metrics.observations().leave(Observation::of(
            &metrics,
            Some(("fraud", "7")),
            Outcome::Failed(code),
            Duration::ZERO,
        ));
        metrics.observations().leave(Observation::of(
            &metrics,
            None,
            Outcome::Failed(code),
            Duration::ZERO,
        ));
        metrics.observations().settle();
        let now_ms = now_ms() + 1;
        let traffic = history
            .read()
            .total("fraud", Some("7"), now_ms - 60_000, now_ms);
        assert_eq!((traffic.answered, traffic.failed), (100, 1));
        let mut text = TextExposition::new(TextForm::Prometheus);
        history.expose(&metrics, &mut text);
        let text = text.finish();
        let line = text
            .lines()
            .find(|line| line.contains("queue") && line.contains("quantile=\"0.99\""))
            .unwrap();
        let seconds: f64 = line.split(' ').next_back().unwrap().parse().unwrap();
        assert!((seconds - 0.0495).abs() < 0.001, "{line}");
    }
}
