//! The snapshots of a server, as far back as the view needs them.

use std::collections::VecDeque;

use super::view::View;
use crate::client::{MetricSamples, ServerSnapshot};

/// The period that percentiles are of.
const WINDOW_MS: u64 = 60_000;
/// How many metrics of that window are stored, beside the last two. A server with ten thousand
/// versions has tens of megabytes of them.
const KEPT_PER_WINDOW: usize = 6;

/// What is known of a server that is polled.
#[derive(Debug)]
pub(super) struct History {
    server: String,
    last: Option<ServerSnapshot>,
    /// The metrics of the snapshot before the last one.
    previous: Option<TimedMetrics>,
    /// Metrics of the last minute, the oldest first.
    minute: VecDeque<TimedMetrics>,
    unreachable: Option<Unreachable>,
}

/// Metrics with their time.
#[derive(Clone, Debug, Default)]
pub(super) struct TimedMetrics {
    pub(super) at_ms: u64,
    pub(super) metrics: MetricSamples,
}

/// A server that does not respond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unreachable {
    /// When that was noticed, in Unix milliseconds.
    pub(super) since_ms: u64,
    pub(super) why: String,
}

impl History {
    pub(super) fn new(server: &str) -> Self {
        Self {
            server: server.to_owned(),
            last: None,
            previous: None,
            minute: VecDeque::new(),
            unreachable: None,
        }
    }

    pub(super) fn record_snapshot(&mut self, snapshot: ServerSnapshot) {
        self.unreachable = None;
        let now_ms = snapshot.at_ms;
        if let Some(last) = self.last.replace(snapshot) {
            let previous = TimedMetrics {
                at_ms: last.at_ms,
                metrics: last.metrics,
            };
            self.keep(&previous, now_ms);
            self.previous = Some(previous);
        }
    }

    /// Records that the server did not respond.
    pub(super) fn record_failure(&mut self, why: String, now_ms: u64) {
        let since_ms = match &self.unreachable {
            Some(unreachable) => unreachable.since_ms,
            None => now_ms,
        };
        self.unreachable = Some(Unreachable { since_ms, why });
    }

    /// Keeps metrics of the window, evenly spaced.
    fn keep(&mut self, metrics: &TimedMetrics, now_ms: u64) {
        while self
            .minute
            .front()
            .is_some_and(|kept| now_ms.saturating_sub(kept.at_ms) > WINDOW_MS)
        {
            self.minute.pop_front();
        }
        let spacing_ms = WINDOW_MS / KEPT_PER_WINDOW as u64;
        if self
            .minute
            .back()
            .is_none_or(|kept| metrics.at_ms.saturating_sub(kept.at_ms) >= spacing_ms)
        {
            self.minute.push_back(metrics.clone());
        }
    }

    pub(super) fn view(&self) -> View {
        let none = TimedMetrics::default();
        let previous = self.previous.as_ref().unwrap_or(&none);
        let oldest = self.minute.front().unwrap_or(previous);
        let mut view = match &self.last {
            Some(snapshot) => View::new(snapshot, previous, oldest),
            None => View::default(),
        };
        view.server.clone_from(&self.server);
        view.unreachable.clone_from(&self.unreachable);
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(at_ms: u64, answered: u64) -> ServerSnapshot {
        let metrics = MetricSamples::parse(&format!(
            "nv_inference_request_success{{model=\"m\",version=\"1\"}} {answered}"
        ));
        ServerSnapshot {
            at_ms,
            metrics,
            ..ServerSnapshot::default()
        }
    }

    #[test]
    fn only_a_minute_of_snapshots_is_kept() {
        let mut history = History::new("http://a");
        for second in 0..2000 {
            history.record_snapshot(snapshot(second * 1000, second * 10));
        }
        assert!(
            (KEPT_PER_WINDOW..=KEPT_PER_WINDOW + 1).contains(&history.minute.len()),
            "{}",
            history.minute.len()
        );
        let begins_ms = history.minute[0].at_ms;
        assert!((1_939_000..=1_949_000).contains(&begins_ms), "{begins_ms}");
        assert_eq!(history.view().endpoints[0].rate, 10.0);
    }

    #[test]
    fn a_server_is_unreachable_from_the_first_failure_until_it_responds() {
        let mut history = History::new("http://a");
        history.record_snapshot(snapshot(1000, 1));
        history.record_failure("refused".to_owned(), 2000);
        history.record_failure("timeout".to_owned(), 3000);
        let view = history.view();
        assert_eq!(
            view.unreachable,
            Some(Unreachable {
                since_ms: 2000,
                why: "timeout".to_owned()
            })
        );
        assert_eq!(view.endpoints.len(), 1, "the last snapshot stays");
        history.record_snapshot(snapshot(4000, 1));
        assert_eq!(history.view().unreachable, None);
    }
}
