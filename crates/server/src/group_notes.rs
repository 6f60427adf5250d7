//! Notes from one replica of a group to the others: silences, objectives that were set or removed,
//! freezes that were lifted.
//!
//! Objectives and alerting put a note into the [`GroupOutbox`] when a person changes one of these
//! on this server. The component of the group ([`crate::Replicas`]) sends it, and applies the notes of
//! the others.

use std::collections::BTreeMap;
use std::path::Path;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_observe::Objective;
use tidegate_observe::alerting::{OpenNotification, Silence};
use tidegate_store::Note;
use tokio::sync::Notify;
use tracing::warn;

use crate::persisted_state::StateFile;

/// Most notes that wait for the store.
const MAX_NOTES: usize = 1000;

const SILENCE: &str = "silence";
const THAW: &str = "thaw";
const OBJECTIVE: &str = "objective";
const NOTIFIED: &str = "notified";

/// A change that every replica of a group makes.
#[derive(Clone, Debug)]
pub(crate) enum GroupNote {
    /// A silence was added, or it ends earlier.
    Silence(Silence),
    /// Rollouts go on although the budget of this objective is spent.
    Thaw { slo: String, thaw: Thaw },
    /// An objective was set.
    Objective(Objective),
    /// The objective of this name was removed.
    ObjectiveRemoved(String),
    /// People were told of alerts that all replicas have.
    Notified(OpenNotification),
    /// The end of these alerts was told too.
    NotificationEnded(String),
}

/// Lets rollouts go on for a while.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Thaw {
    pub(crate) until_ms: u64,
    pub(crate) author: String,
    pub(crate) comment: String,
}

impl GroupNote {
    /// Reads a note of the store; `None` if a newer build wrote a kind that this one does not know.
    ///
    /// # Errors
    /// Why its body cannot be read.
    pub(crate) fn read(note: &Note) -> Result<Option<Self>, serde_json::Error> {
        Ok(Some(match (note.kind.as_str(), &note.body) {
            (SILENCE, Some(body)) => Self::Silence(serde_json::from_str(body)?),
            (THAW, Some(body)) => Self::Thaw {
                slo: note.name.clone(),
                thaw: serde_json::from_str(body)?,
            },
            (OBJECTIVE, Some(body)) => Self::Objective(serde_json::from_str(body)?),
            (OBJECTIVE, None) => Self::ObjectiveRemoved(note.name.clone()),
            (NOTIFIED, Some(body)) => Self::Notified(serde_json::from_str(body)?),
            (NOTIFIED, None) => Self::NotificationEnded(note.name.clone()),
            _ => return Ok(None),
        }))
    }

    fn write(&self) -> Note {
        let (kind, name, body) = match self {
            Self::Silence(silence) => (SILENCE, silence.id.clone(), to_json(silence)),
            Self::Thaw { slo, thaw } => (THAW, slo.clone(), to_json(thaw)),
            Self::Objective(objective) => (OBJECTIVE, objective.name.clone(), to_json(objective)),
            Self::ObjectiveRemoved(name) => (OBJECTIVE, name.clone(), None),
            Self::Notified(open) => (NOTIFIED, open.key(), to_json(open)),
            Self::NotificationEnded(key) => (NOTIFIED, key.clone(), None),
        };
        Note {
            kind: kind.to_owned(),
            name,
            body,
        }
    }
}

/// JSON of a struct without maps whose keys are not text, which is all that could fail.
fn to_json(content: &impl Serialize) -> Option<String> {
    serde_json::to_string(content).ok()
}

/// What waits to be sent to the other replicas. It survives restarts: a database may be away for
/// longer than a server runs.
#[derive(Default)]
pub(crate) struct GroupOutbox {
    state: Mutex<OutboxState>,
    changed: Notify,
    file: Option<StateFile>,
}

#[derive(Default)]
struct OutboxState {
    /// Notes that the store does not have yet, by kind and name: a newer one replaces an older one.
    notes: BTreeMap<(String, String), Note>,
    /// Whether all counts of the group are to be read again.
    rereads_counts: bool,
}

/// A note in the file.
#[derive(Serialize, Deserialize)]
struct WaitingNote {
    kind: String,
    name: String,
    body: Option<String>,
}

impl GroupOutbox {
    /// With what waited when the server last ended, if it has a folder for its state. What waits
    /// for another group is not sent to this one.
    pub(crate) fn open(data: Option<&Path>, group: &str) -> Self {
        let Some(data) = data else {
            return Self::default();
        };
        let name = format!("group-notes-{}.json", file_name(group));
        let (file, waiting): (_, Vec<WaitingNote>) = StateFile::open(data.join(name));
        let notes = waiting.into_iter().map(|waiting| {
            let WaitingNote { kind, name, body } = waiting;
            let note = Note { kind, name, body };
            (key(&note), note)
        });
        let state = OutboxState {
            notes: notes.collect(),
            rereads_counts: false,
        };
        Self {
            state: Mutex::new(state),
            file: Some(file),
            ..Self::default()
        }
    }

    /// Writes what waits to the file.
    pub(crate) async fn persist(&self) {
        if let Some(file) = &self.file {
            file.write(|| serde_json::to_vec(&self.to_file())).await;
        }
    }

    fn to_file(&self) -> Vec<WaitingNote> {
        let notes = self.waiting().into_iter();
        notes
            .map(|Note { kind, name, body }| WaitingNote { kind, name, body })
            .collect()
    }

    /// Sends a note with the next exchange, which begins at once.
    pub(crate) fn send(&self, note: &GroupNote) {
        let note = note.write();
        let mut state = self.state.lock();
        // The store may be out of reach for days.
        if state.notes.len() >= MAX_NOTES {
            warn!(
                kind = note.kind,
                name = note.name,
                "too many notes wait for the database of the group: one is dropped"
            );
            return;
        }
        state.notes.insert(key(&note), note);
        drop(state);
        self.changed.notify_one();
    }

    /// Has the next exchange, which begins at once, read all counts of the group again.
    pub(crate) fn reread_counts(&self) {
        self.state.lock().rereads_counts = true;
        self.changed.notify_one();
    }

    /// Whether all counts of the group are to be read again; called once for each exchange.
    pub(crate) fn take_reread_counts(&self) -> bool {
        std::mem::take(&mut self.state.lock().rereads_counts)
    }

    /// The notes that the store does not have yet.
    pub(crate) fn waiting(&self) -> Vec<Note> {
        self.state.lock().notes.values().cloned().collect()
    }

    /// Removes a note that the store has, unless a newer one of its name came meanwhile.
    pub(crate) fn sent(&self, note: &Note) {
        let mut state = self.state.lock();
        if state.notes.get(&key(note)) == Some(note) {
            state.notes.remove(&key(note));
        }
    }

    /// Waits until there is something to exchange at once.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// A group's name as a part of a file's.
fn file_name(group: &str) -> String {
    group.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn key(note: &Note) -> (String, String) {
    (note.kind.clone(), note.name.clone())
}
