//! What people told one replica and all of them should do.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidegate_observe::Objective;
use tidegate_observe::alerting::Silence;
use tidegate_store::Note;
use tracing::warn;

use crate::app::App;
use crate::clock;

const SILENCE: &str = "silence";
const THAW: &str = "thaw";
const OBJECTIVE: &str = "objective";

/// Lets rollouts go on for a while.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Thaw {
    pub(crate) until_ms: u64,
    pub(crate) author: String,
    pub(crate) comment: String,
}

/// A silence, whether it is new or ends earlier.
pub(crate) fn of_silence(silence: &Silence) -> Note {
    note(SILENCE, &silence.id, silence)
}

/// A freeze that is lifted.
pub(crate) fn of_thaw(slo: &str, thaw: &Thaw) -> Note {
    note(THAW, slo, thaw)
}

/// An objective that is set.
pub(crate) fn of_objective(objective: &Objective) -> Note {
    note(OBJECTIVE, &objective.name, objective)
}

/// An objective that is removed.
pub(crate) fn of_removal(name: &str) -> Note {
    Note {
        kind: OBJECTIVE.to_owned(),
        name: name.to_owned(),
        body: None,
    }
}

fn note(kind: &str, name: &str, content: &impl Serialize) -> Note {
    // These structs have no maps whose keys are no text, which is all that could fail.
    Note {
        kind: kind.to_owned(),
        name: name.to_owned(),
        body: serde_json::to_string(content).ok(),
    }
}

/// Does what a note says. One that says what is so already, such as one's own, changes nothing.
pub(super) async fn heed(app: &App, note: Note) {
    if let Err(problem) = try_to_heed(app, &note).await {
        warn!(
            kind = note.kind,
            name = note.name,
            problem,
            "what another replica was told cannot be done here"
        );
    }
}

async fn try_to_heed(app: &App, Note { kind, name, body }: &Note) -> Result<(), String> {
    match (kind.as_str(), body) {
        (SILENCE, Some(body)) => {
            app.alerting
                .learn_silence(read(body)?, clock::now_ms())
                .await
        }
        // Where the objective is another one, nothing waits.
        (THAW, Some(body)) => drop(app.thaw_here(name, &read(body)?).await),
        (OBJECTIVE, Some(body)) => app
            .set_objective_here(read(body)?)
            .await
            .map_err(|error| error.to_string())?,
        // Whoever does not have it has nothing to do.
        (OBJECTIVE, None) => drop(app.remove_objective_here(name).await),
        // A newer build may know what this is.
        _ => {}
    }
    Ok(())
}

fn read<T: DeserializeOwned>(body: &str) -> Result<T, String> {
    serde_json::from_str(body).map_err(|error| error.to_string())
}
