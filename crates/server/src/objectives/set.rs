//! Objectives that are set while the server runs.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_observe::{Counts, Objective, ObjectiveError, Slo};
use tracing::warn;

use super::kept::Kept;
use super::{Counting, Objectives};
use crate::clock;

/// Most objectives of a server that can be set.
const MAX_SET: usize = 200;

/// Why an objective was not set or removed.
#[derive(Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub(crate) enum NotSet {
    #[error("{0}")]
    Wrong(#[from] ObjectiveError),
    #[error("the objective {0:?} is one of the configuration: change it there")]
    Configured(String),
    #[error("there is no objective {0:?}")]
    Unknown(String),
    #[error("{MAX_SET} objectives were set, and no more are kept: remove some")]
    TooMany,
}

/// Those of the kept objectives that the configuration does not have.
pub(super) fn read(set: &BTreeMap<String, Objective>, configured: &BTreeSet<String>) -> Vec<Slo> {
    let read = |objective: &Objective| match objective.parse() {
        Ok(slo) if configured.contains(slo.name()) => {
            warn!(
                slo = slo.name(),
                "an objective that was set is overlooked: the configuration has one of its name"
            );
            None
        }
        Ok(slo) => Some(slo),
        Err(error) => {
            warn!(%error, "an objective that was set before can no longer be");
            None
        }
    };
    set.values().filter_map(read).collect()
}

impl Objectives {
    /// Sets an objective, new or in the place of one that was set before, and keeps it before it
    /// returns. `false` if it is as it was.
    pub(crate) async fn set(&self, objective: Objective) -> Result<bool, NotSet> {
        let slo = objective.parse()?;
        if self.is_configured(slo.name()) {
            return Err(NotSet::Configured(objective.name));
        }
        {
            let mut kept = self.kept.lock();
            if kept.set.get(&objective.name) == Some(&objective) {
                return Ok(false);
            }
            if kept.set.len() >= MAX_SET && !kept.set.contains_key(&objective.name) {
                return Err(NotSet::TooMany);
            }
            slo.notices()
                .iter()
                .for_each(|notice| warn!(slo = slo.name(), "{notice}"));
            self.replace(&mut kept, &objective.name, Some(slo));
            kept.set.insert(objective.name.clone(), objective);
        }
        self.keep().await;
        self.expose(clock::now_ms());
        Ok(true)
    }

    /// Removes an objective that was set, with what it counted, and keeps that before it returns.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), NotSet> {
        if self.is_configured(name) {
            return Err(NotSet::Configured(name.to_owned()));
        }
        {
            let mut kept = self.kept.lock();
            kept.set
                .remove(name)
                .ok_or_else(|| NotSet::Unknown(name.to_owned()))?;
            self.replace(&mut kept, name, None);
            kept.forget(name);
        }
        self.keep().await;
        self.metrics.reset();
        self.expose(clock::now_ms());
        Ok(())
    }

    /// Counts what finished, and puts an objective, or none, in the place of that of a name.
    fn replace(&self, kept: &mut Kept, name: &str, with: Option<Slo>) {
        self.observations.drain();
        let mut counting = self.counting.lock();
        let now_ms = clock::now_ms();
        let mut slos = Vec::new();
        for (slo, counts) in counting.take() {
            kept.count(&slo, now_ms, counts);
            slos.extend(Some(slo).filter(|slo| slo.name() != name));
        }
        if let Some(slo) = with {
            let _ = kept.of(&slo);
            slos.push(slo);
        }
        *counting = Counting {
            news: vec![Counts::default(); slos.len()],
            slos: slos.into(),
        };
    }
}
