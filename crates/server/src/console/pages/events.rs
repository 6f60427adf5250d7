//! The time line of events.

use tidegate_console::Events;
use tidegate_observe::Event;

use crate::console::pages::EventQuery;
use crate::events::EventJournal;

/// Events of a page.
const EVENTS: usize = 100;

pub(crate) fn events(journal: &EventJournal, wanted: &EventQuery, now_ms: u64) -> Events {
    let EventQuery {
        name,
        model,
        before,
    } = wanted;
    let is_of = |event: &Event| {
        let rest = event.name.strip_prefix(name.as_str());
        rest.is_some_and(|rest| name.is_empty() || rest.is_empty() || rest.starts_with('.'))
    };
    let is_wanted = |event: &Event| {
        is_of(event)
            && (model.is_empty() || event.model == *model)
            && before.is_none_or(|before| event.id < before)
    };
    // One more than is shown says whether there are older ones.
    let mut events = journal.newest(is_wanted, EVENTS + 1);
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
