//! The rollouts of all endpoints.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::spec::{InvalidSpec, RolloutSpec, Target};
use super::state::Rollout;
use crate::policy::VersionName;

/// The rollouts that are not over, and the versions that were found bad. An endpoint is part of one
/// active rollout at most; others wait, in order. Persist it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollouts {
    /// Those that [`decide`](super::decide) is called for.
    pub active: Vec<Rollout>,
    /// Those that wait for others on the same endpoints.
    pub queue: Vec<Rollout>,
    /// Versions that were found bad, by endpoint.
    pub bad: Vec<(String, VersionName)>,
}

/// Rollouts that wait, at most.
const MAX_QUEUE: usize = 100;
/// Bad versions that are remembered; the oldest go first.
const MAX_BAD: usize = 1000;

/// Why a rollout was not started.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum NotStarted {
    #[error(transparent)]
    Invalid(#[from] InvalidSpec),
    #[error("there is a rollout {0:?} already")]
    DuplicateId(String),
    #[error("version {version} of endpoint {endpoint} was found bad; --force tries it again")]
    BadVersion {
        endpoint: String,
        version: VersionName,
    },
    #[error("100 rollouts wait already")]
    QueueFull,
}

impl Rollouts {
    /// Starts a rollout, or queues it behind others on the same endpoints.
    ///
    /// # Errors
    /// If it cannot be done, or a version was found bad and `force` is not set.
    pub fn start(
        &mut self,
        id: &str,
        spec: RolloutSpec,
        force: bool,
        now_ms: u64,
    ) -> Result<(), NotStarted> {
        spec.check()?;
        if self
            .active
            .iter()
            .chain(&self.queue)
            .any(|rollout| rollout.id == id)
        {
            return Err(NotStarted::DuplicateId(id.to_owned()));
        }
        for target in &spec.targets {
            if force {
                self.bad.retain(|bad| !is_of(bad, target));
            } else if self.bad.iter().any(|bad| is_of(bad, target)) {
                let (endpoint, version) = (target.endpoint.clone(), target.to.clone());
                return Err(NotStarted::BadVersion { endpoint, version });
            }
        }
        if self.queue.len() >= MAX_QUEUE {
            return Err(NotStarted::QueueFull);
        }
        self.queue.push(Rollout::new(id, spec, now_ms));
        self.admit();
        Ok(())
    }

    /// Takes out the rollouts that are over and settled, for the archive, and lets those that waited for
    /// them begin. The version that they go back to is the one that is there now.
    pub fn retire(&mut self, is_settled: impl Fn(&Rollout) -> bool) -> Vec<Rollout> {
        let is_done = |rollout: &mut Rollout| rollout.is_over() && is_settled(rollout);
        let done: Vec<Rollout> = self.active.extract_if(.., is_done).collect();
        for rollout in &done {
            if matches!(rollout.phase, super::Phase::Promoted) {
                self.rebase(&rollout.spec.targets);
            }
        }
        self.admit();
        done
    }

    /// Remembers the versions of a rollout as bad: what [`ActionKind::MarkBad`](super::ActionKind::MarkBad)
    /// asks for.
    pub fn mark_bad(&mut self, targets: &[Target]) {
        for target in targets {
            if !self.bad.iter().any(|bad| is_of(bad, target)) {
                self.bad.push((target.endpoint.clone(), target.to.clone()));
            }
        }
        let surplus = self.bad.len().saturating_sub(MAX_BAD);
        self.bad.drain(..surplus);
    }

    /// Rollouts that waited begin from the versions that were promoted meanwhile.
    fn rebase(&mut self, promoted: &[Target]) {
        for target in self
            .queue
            .iter_mut()
            .flat_map(|rollout| &mut rollout.spec.targets)
        {
            let now = promoted
                .iter()
                .find(|other| other.endpoint == target.endpoint);
            if let Some(now) = now
                && now.to != target.to
            {
                target.from = now.to.clone();
            }
        }
    }

    /// Moves rollouts to the active ones whose endpoints nobody before them uses.
    fn admit(&mut self) {
        let mut used: Vec<String> = self.active.iter().flat_map(endpoints).collect();
        let is_free = |rollout: &mut Rollout| {
            let own: Vec<String> = endpoints(rollout).collect();
            let is_free = !own.iter().any(|endpoint| used.contains(endpoint));
            used.extend(own);
            is_free
        };
        let admitted: Vec<Rollout> = self.queue.extract_if(.., is_free).collect();
        self.active.extend(admitted);
    }
}

fn endpoints(rollout: &Rollout) -> impl Iterator<Item = String> + '_ {
    rollout
        .spec
        .targets
        .iter()
        .map(|target| target.endpoint.clone())
}

fn is_of((endpoint, version): &(String, VersionName), target: &Target) -> bool {
    *endpoint == target.endpoint && *version == target.to
}
