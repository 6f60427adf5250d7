//! The journal of events of this server.

mod api;

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tidegate_observe::{Event, EventLog};
use tidegate_redaction::Redactor;

pub(crate) use self::api::description;
use crate::component::Component;
use crate::persisted_state::StateFile;
use crate::routes::Routes;

/// The last events, saved over restarts where there is a data folder.
pub(crate) struct EventJournal {
    log: Mutex<EventLog>,
    redactor: Arc<Redactor>,
    file: Option<StateFile>,
}

impl EventJournal {
    /// The events of `file`; without a file they end with the process.
    pub(crate) fn new(file: Option<PathBuf>, redactor: Arc<Redactor>) -> Self {
        let (file, log) = file.map(StateFile::open).unzip();
        Self {
            log: Mutex::new(log.unwrap_or_default()),
            redactor,
            file,
        }
    }

    /// Adds an event. It is written to the file with the next [`EventJournal::persist`].
    pub(crate) fn add(&self, mut event: Event) {
        event.model = self.redactor.text(&event.model).into_owned();
        event.version = self.redactor.text(&event.version).into_owned();
        for value in event.fields.values_mut() {
            self.redactor.json(value);
        }
        self.log.lock().add(event);
    }

    /// Adds an event and writes it before it returns.
    pub(crate) async fn record(&self, event: Event) {
        self.add(event);
        self.persist().await;
    }

    /// The newest events that `is_wanted` takes, the newest first.
    pub(crate) fn newest(&self, is_wanted: impl Fn(&Event) -> bool, limit: usize) -> Vec<Event> {
        self.log
            .lock()
            .iter()
            .rev()
            .filter(|event| is_wanted(event))
            .take(limit)
            .cloned()
            .collect()
    }

    /// All events, for rules. Holding the lock delays everything that adds an event.
    pub(crate) fn lock(&self) -> MutexGuard<'_, EventLog> {
        self.log.lock()
    }

    /// Writes the events to the file.
    pub(crate) async fn persist(&self) {
        if let Some(file) = &self.file {
            file.write(|| serde_json::to_vec(&*self.log.lock())).await;
        }
    }
}

impl Component for EventJournal {
    fn name(&self) -> &'static str {
        "events"
    }

    fn routes(self: Arc<Self>) -> Routes<()> {
        api::routes(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_no_secrets() {
        let journal = EventJournal::new(None, Arc::default());
        let event = Event::new("version.load_failed", 0)
            .about("m", "ada@example.org")
            .with("reason", "no user ada@example.org")
            .with("at", 4_111_111_111_111_111_u64);
        journal.add(event);
        let told = serde_json::to_string(&journal.newest(|_| true, 1)).unwrap();
        assert!(told.contains("no user [redacted]"), "{told}");
        assert!(
            !told.contains("example.org") && !told.contains("4111"),
            "{told}"
        );
    }
}
