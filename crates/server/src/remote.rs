//! Versions that other servers run: their changes become events, their counts metrics.

use std::sync::Arc;

use tidegate_observe::Event;
use tidegate_remote::{RemoteEvent, RemoteMetrics, Remotes};
use tidegate_serving::MetricRegistry;
use tokio::task::JoinSet;

use crate::clock::now_ms;
use crate::component::Component;
use crate::events::EventJournal;

/// Writes down what happens to remote versions.
pub(crate) struct RemoteMonitor {
    remotes: Arc<Remotes>,
    events: Arc<EventJournal>,
}

impl RemoteMonitor {
    /// Registers the metrics of remote versions.
    pub(crate) fn new(
        remotes: Arc<Remotes>,
        events: Arc<EventJournal>,
        registry: &MetricRegistry,
    ) -> Self {
        remotes.set_metrics(metrics(registry));
        Self { remotes, events }
    }

    async fn run(self: Arc<Self>) {
        loop {
            for event in self.remotes.next_events().await {
                self.events.add(journal_event(event));
            }
            self.events.persist().await;
        }
    }
}

impl Component for RemoteMonitor {
    fn name(&self) -> &'static str {
        "remote"
    }

    /// Versions without a server that works. The gateway itself can take traffic: it refuses theirs.
    fn problems(&self) -> Vec<String> {
        self.remotes.problems()
    }

    fn start(self: Arc<Self>, background: &mut JoinSet<()>) {
        background.spawn(self.run());
    }
}

fn journal_event(event: RemoteEvent) -> Event {
    let own = Event::new(event.name, now_ms()).about(&event.model, &event.version);
    let fields = event.fields.into_iter();
    fields.fold(own, |own, (field, value)| own.with(field, value))
}

fn metrics(registry: &MetricRegistry) -> RemoteMetrics {
    RemoteMetrics {
        attempts: registry.counter_vec(
            "tidegate_remote_attempts_total",
            "Requests sent to upstream servers, further attempts included, by outcome: `answered`, \
             `rejected`, `unavailable`, `timed_out`, `invalid`, `failed`, `overloaded` or `given_up`",
            &["model", "version", "address", "outcome"],
        ),
        in_flight: registry.gauge_vec(
            "tidegate_remote_in_flight",
            "Requests to an upstream server that wait for its answer",
            &["model", "version", "address"],
        ),
        retries: registry.counter_vec(
            "tidegate_remote_retries_total",
            "Further attempts of requests to upstream servers, by kind: `retry` or `hedge`",
            &["model", "version", "kind"],
        ),
        retries_refused: registry.counter_vec(
            "tidegate_remote_retries_refused_total",
            "Further attempts that the retry budget did not allow, by kind: `retry` or `hedge`",
            &["model", "version", "kind"],
        ),
        address_up: registry.gauge_vec(
            "tidegate_remote_address_up",
            "Whether an upstream server is healthy and not ejected, 1 or 0",
            &["model", "version", "address"],
        ),
        ejections: registry.counter_vec(
            "tidegate_remote_ejections_total",
            "How often an upstream server was ejected because its requests failed",
            &["model", "version", "address"],
        ),
        breaker_state: registry.gauge_vec(
            "tidegate_remote_breaker_state",
            "The circuit breaker of a remote version: 0 closed, 1 half open, 2 open",
            &["model", "version"],
        ),
        breaker_changes: registry.counter_vec(
            "tidegate_remote_breaker_changes_total",
            "Changes of the circuit breaker of a remote version, by its new state: `closed`, \
             `half_open` or `open`",
            &["model", "version", "state"],
        ),
    }
}
