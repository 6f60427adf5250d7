//! Objectives that are set while the server runs.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_observe::{Counts, Objective, ObjectiveError, Slo};
use tracing::warn;

use super::persisted::PersistedState;
use super::{Counting, Objectives};
use crate::clock;

/// Most objectives of a server that can be set.
const MAX_SET: usize = 200;

/// Why an objective was not set or removed.
#[derive(Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub(crate) enum ChangeError {
    #[error("{0}")]
    Wrong(#[from] ObjectiveError),
    #[error("the objective {0:?} is one of the configuration: change it there")]
    Configured(String),
    #[error("there is no objective {0:?}")]
    Unknown(String),
    #[error("{MAX_SET} objectives are set, the maximum: remove some")]
    TooMany,
}

/// The objectives that were set before, without those whose name the configuration has too.
pub(super) fn read(set: &BTreeMap<String, Objective>, configured: &BTreeSet<String>) -> Vec<Slo> {
    let mut slos = Vec::new();
    for objective in set.values() {
        match objective.parse() {
            Ok(slo) if configured.contains(slo.name()) => warn!(
                slo = slo.name(),
                "an objective that was set is ignored: the configuration has one of its name"
            ),
            Ok(slo) => slos.push(slo),
            Err(error) => warn!(%error, "an objective that was set before is no longer valid"),
        }
    }
    slos
}

pub(super) fn log_notices(slo: &Slo) {
    for notice in slo.notices() {
        warn!(slo = slo.name(), "{notice}");
    }
}

impl Objectives {
    /// The objective of a name, if it was set and is not one of the configuration.
    pub(super) fn set_before(&self, name: &str) -> Option<Objective> {
        self.state.lock().set.get(name).cloned()
    }

    /// Sets an objective, new or in the place of one that was set before, and writes it before it
    /// returns. `false` if it is as it was.
    pub(super) async fn set(&self, objective: Objective) -> Result<bool, ChangeError> {
        let slo = objective.parse()?;
        if self.is_configured(slo.name()) {
            return Err(ChangeError::Configured(objective.name));
        }
        {
            let mut state = self.state.lock();
            // Scripts set the same objective on every run: no event then, and nothing to write.
            if state.set.get(&objective.name) == Some(&objective) {
                return Ok(false);
            }
            if state.set.len() >= MAX_SET && !state.set.contains_key(&objective.name) {
                return Err(ChangeError::TooMany);
            }
            log_notices(&slo);
            self.replace(&mut state, &objective.name, Some(slo));
            state.set.insert(objective.name.clone(), objective);
        }
        self.persist().await;
        self.expose(clock::now_ms());
        Ok(true)
    }

    /// Removes an objective that was set, and its counts, and writes that before it returns.
    pub(super) async fn remove(&self, name: &str) -> Result<(), ChangeError> {
        if self.is_configured(name) {
            return Err(ChangeError::Configured(name.to_owned()));
        }
        {
            let mut state = self.state.lock();
            state
                .set
                .remove(name)
                .ok_or_else(|| ChangeError::Unknown(name.to_owned()))?;
            self.replace(&mut state, name, None);
            state.forget(name);
        }
        self.persist().await;
        // The gauges of the removed objective would keep their last values.
        self.metrics.reset();
        self.expose(clock::now_ms());
        Ok(())
    }

    /// Counts what finished, and puts an objective, or none, in the place of that of a name.
    fn replace(&self, state: &mut PersistedState, name: &str, with: Option<Slo>) {
        // Requests that were answered before are counted for the objectives as they were.
        self.observations.drain();
        let mut counting = self.counting.lock();
        let now_ms = clock::now_ms();
        let mut slos = Vec::new();
        for (slo, counts) in counting.take() {
            state.count(&slo, now_ms, counts);
            if slo.name() != name {
                slos.push(slo);
            }
        }
        if let Some(slo) = with {
            let _ = state.of(&slo);
            slos.push(slo);
        }
        *counting = Counting {
            finished: vec![Counts::default(); slos.len()],
            slos: slos.into(),
        };
    }
}
