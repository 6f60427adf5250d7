//! What the pages show, queried from the components. Blocks for a moment; never called on a thread
//! that serves connections.

mod alerts;
mod costs;
mod endpoint;
mod events;
mod home;
mod model;
mod models;
mod objectives;
mod trial;

use tidegate_console::{Frame, Tone, VersionState};
use tidegate_serving::{IndexEntry, ModelState, Serving};

pub(super) use self::alerts::{alerts, matchers};
pub(super) use self::costs::costs;
pub(super) use self::endpoint::endpoint;
pub(super) use self::events::events;
pub(super) use self::home::home;
pub(super) use self::model::model;
pub(super) use self::models::models;
pub(super) use self::objectives::objectives;
pub(super) use self::trial::trial;
use crate::console::Console;
use crate::describe::SERVER_VERSION;

/// Rows of a page of a list.
pub(super) const ROWS: usize = 50;

/// What the bar at the top says.
pub(super) fn frame(console: &Console, now_ms: u64) -> Frame {
    let (state, tone) = match (
        console.front_end.lifecycle.is_stopping(),
        console.front_end.lifecycle.has_started(),
        console.front_end.lifecycle.is_ready(),
    ) {
        (true, ..) => ("stopping", Tone::Notice),
        (_, false, _) => ("starting", Tone::Busy),
        (_, _, false) => ("not ready", Tone::Bad),
        _ => ("ready", Tone::Good),
    };
    let firing = console
        .alerting
        .alerts()
        .iter()
        .filter(|triaged| triaged.is_notified())
        .count();
    Frame {
        version: SERVER_VERSION,
        state,
        tone,
        firing,
        now_ms,
    }
}

fn version_state(state: &ModelState) -> VersionState {
    let reason = match state {
        ModelState::Failed(reason) | ModelState::Stale(reason) => reason.clone(),
        _ => String::new(),
    };
    VersionState {
        name: state.name(),
        reason,
    }
}

/// The state of a model's endpoint, given its versions: that of the version which answers, and
/// whether another one failed.
fn endpoint_state(versions: &[&IndexEntry]) -> (Tone, String) {
    let answering = versions
        .iter()
        .find(|entry| entry.is_default)
        .or_else(|| versions.last());
    let Some(answering) = answering else {
        return (Tone::Off, "gone".to_owned());
    };
    let state = version_state(&answering.state);
    let is_failed = |entry: &&&IndexEntry| matches!(entry.state, ModelState::Failed(_));
    match versions.iter().find(is_failed) {
        Some(failed) if state.name == "ready" => {
            (Tone::Notice, format!("v{} failed", failed.version))
        }
        _ => (state.tone(), state.name.to_owned()),
    }
}

/// Requests that wait, over the loaded versions of a model.
fn queued(serving: &Serving, model: &str) -> usize {
    let model = serving.models().model(model);
    model.map_or(0, |model| {
        model
            .versions()
            .map(|version| version.scheduler().queued())
            .sum()
    })
}
