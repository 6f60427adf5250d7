//! Circuit breakers of versions: their changes become events.

use std::sync::Arc;

use tidegate_gateway::BreakerState;
use tidegate_observe::Event;
use tidegate_serving::{BreakerEvent, Serving};
use tokio::task::JoinSet;

use crate::clock::now_ms;
use crate::component::Component;
use crate::events::EventJournal;

/// Writes down what happens to breakers.
pub(crate) struct BreakerMonitor {
    serving: Arc<Serving>,
    events: Arc<EventJournal>,
}

impl BreakerMonitor {
    pub(crate) fn new(serving: Arc<Serving>, events: Arc<EventJournal>) -> Self {
        Self { serving, events }
    }

    async fn run(self: Arc<Self>) {
        loop {
            for event in self.serving.models().breakers().next_events().await {
                self.events.add(journal_event(&event));
            }
            self.events.persist().await;
        }
    }
}

impl Component for BreakerMonitor {
    fn name(&self) -> &'static str {
        "breakers"
    }

    fn start(self: Arc<Self>, background: &mut JoinSet<()>) {
        background.spawn(self.run());
    }
}

fn journal_event(event: &BreakerEvent) -> Event {
    let name = match event.change.to {
        BreakerState::Closed => "breaker.closed",
        BreakerState::HalfOpen => "breaker.half_open",
        BreakerState::Open => "breaker.opened",
    };
    Event::new(name, now_ms())
        .about(&event.model, &event.version)
        .with("requests", event.change.calls)
        .with("failed", event.change.failed)
        .with("slow", event.change.slow)
}
