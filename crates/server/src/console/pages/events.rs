//! The time line of events.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use tidegate_console::Events;
use tidegate_observe::Event;

use crate::console::Console;
use crate::console::answer::answer;
use crate::console::page_query::{Asked, asked};
use crate::console::visitor::Visitor;
use crate::events::EventJournal;

/// Events of a page.
const EVENTS: usize = 100;

/// Which events.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct EventQuery {
    name: String,
    model: String,
    /// Only events older than this one, by its number.
    before: Option<u64>,
}

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    query: Asked<EventQuery>,
    visitor: Visitor,
) -> Response {
    let wanted = asked(query);
    answer(console, &visitor, move |console, now_ms| {
        Ok(events(&console.events, &wanted, now_ms).page())
    })
    .await
}

impl EventQuery {
    fn includes(&self, event: &Event) -> bool {
        is_of(event, &self.name)
            && (self.model.is_empty() || event.model == self.model)
            && self.before.is_none_or(|before| event.id < before)
    }
}

/// Whether an event has this name, or one that begins with it and a dot: `alert` has
/// `alert.firing`.
fn is_of(event: &Event, name: &str) -> bool {
    let rest = event.name.strip_prefix(name);
    rest.is_some_and(|rest| name.is_empty() || rest.is_empty() || rest.starts_with('.'))
}

fn events(journal: &EventJournal, wanted: &EventQuery, now_ms: u64) -> Events {
    let EventQuery {
        name,
        model,
        before,
    } = wanted;
    // One more than is shown: if it exists, the page links to older events.
    let mut events = journal.newest(|event| wanted.includes(event), EVENTS + 1);
    let has_older = events.len() > EVENTS;
    events.truncate(EVENTS);
    Events {
        now_ms,
        older: events.last().filter(|_| has_older).map(|event| event.id),
        events,
        name: name.clone(),
        model: model.clone(),
        is_newest: before.is_none(),
    }
}
