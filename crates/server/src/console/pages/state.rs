//! The state of versions and endpoints, as several pages show it.

use tidegate_console::{Tone, VersionState};
use tidegate_serving::{IndexEntry, ModelState, Serving};

pub(super) fn version_state(state: &ModelState) -> VersionState {
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
pub(super) fn endpoint_state(versions: &[&IndexEntry]) -> (Tone, String) {
    let answering = versions
        .iter()
        .find(|entry| entry.is_default)
        .or_else(|| versions.last());
    let Some(answering) = answering else {
        return (Tone::Off, "gone".to_owned());
    };
    let state = version_state(&answering.state);
    let failed = versions
        .iter()
        .find(|entry| matches!(entry.state, ModelState::Failed(_)));
    match failed {
        Some(failed) if state.name == "ready" => {
            (Tone::Notice, format!("v{} failed", failed.version))
        }
        _ => (state.tone(), state.name.to_owned()),
    }
}

/// Requests that wait, over the loaded versions of a model.
pub(super) fn queued(serving: &Serving, model: &str) -> usize {
    let model = serving.models().model(model);
    model.map_or(0, |model| {
        model
            .versions()
            .map(|version| version.scheduler().queued())
            .sum()
    })
}
