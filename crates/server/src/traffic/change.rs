//! Changes of policies at run time: checked, written in one transaction, then put in force.

use std::time::Duration;

use tidegate_delivery::assign::Assignment;
use tidegate_delivery::policy::{TrafficPolicy, WrittenPolicy};
use tidegate_serving::{EndpointTraffic, ErrorCode, InferError, named_versions};
use tidegate_store::{NewTrafficChange, Store, StoreError, TrafficChange, Write};
use tokio::time::Instant;

use super::wanted::{stored_assignment, stored_policy};
use super::{Traffic, in_words};

/// The action of changes that a rollout makes while it is under way.
pub(crate) const ROLLOUT: &str = "rollout";
/// The action of the change that a rollout leaves behind.
pub(crate) const ROLLED_OUT: &str = "rolled_out";

/// How long a version is waited for that the registry may just have got.
const VERSION_WAIT: Duration = Duration::from_secs(3);
/// How often it is looked for meanwhile.
const VERSION_POLL: Duration = Duration::from_millis(100);
/// Longest comment, in bytes.
const MAX_COMMENT_BYTES: usize = 1024;

/// A change that somebody wants.
pub(super) struct WantedChange<'a> {
    pub(super) endpoint: &'a str,
    /// Who wants it.
    pub(super) actor: String,
    /// Why; may be empty.
    pub(super) comment: String,
    /// The revision that it is a change of; any if absent.
    pub(super) expected: Option<i64>,
    pub(super) to: Wish,
}

/// What should be in force.
pub(super) enum Wish {
    /// This policy.
    Policy(Box<TrafficPolicy>),
    /// That of the configuration, or none.
    None,
    /// What was in force at a revision; that before the last change if absent.
    Revision(Option<i64>),
}

/// A change that was made, or nothing if it would have changed nothing.
pub(super) struct Changed {
    pub(super) revision: i64,
    pub(super) before: Option<TrafficPolicy>,
    pub(super) after: Option<TrafficPolicy>,
    pub(super) changes: Vec<String>,
}

impl Traffic {
    /// Checks that a policy can be followed: what it looks at, and that its versions exist.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) async fn check(
        &self,
        endpoint: &str,
        policy: &TrafficPolicy,
    ) -> Result<(), InferError> {
        EndpointTraffic::check(policy, self.serving.gateway())
            .map_err(|error| InferError::new(ErrorCode::InvalidParameter, error.to_string()))?;
        let until = Instant::now() + VERSION_WAIT;
        for version in named_versions(policy) {
            while let Err(error) = self.serving.check_version(endpoint, &version) {
                let may_come = error.code == ErrorCode::UnknownVersion
                    && self.serving.fleet().is_some()
                    && Instant::now() < until;
                if !may_come {
                    return Err(wrong_version(&version, error));
                }
                // Pushed a moment ago: the registry is read once a second.
                tokio::time::sleep(VERSION_POLL).await;
            }
        }
        Ok(())
    }

    /// Refuses experiments that the policy in force does not have: they need somebody who counts their users.
    pub(super) fn refuse_new_experiments(
        &self,
        endpoint: &str,
        policy: &TrafficPolicy,
    ) -> Result<(), InferError> {
        let current = self.wanted_policy(endpoint);
        let known = current
            .as_ref()
            .map_or(&[][..], |current| current.experiments());
        let mut wanted = policy.experiments().iter();
        let Some(new) = wanted.find(|wanted| !known.contains(wanted)) else {
            return Ok(());
        };
        let message = format!(
            "experiment {:?} does not run so: experiments are started and stopped with tidegate experiment",
            new.name
        );
        Err(InferError::new(ErrorCode::InvalidParameter, message))
    }

    /// Makes a change, and puts it in force if its versions are loaded.
    ///
    /// # Errors
    /// What is wrong with it, [`ErrorCode::Conflict`] if the policy was changed meanwhile,
    /// [`ErrorCode::NotFound`] where there is nothing to remove or undo, and
    /// [`ErrorCode::TrafficUnavailable`].
    pub(super) async fn change(&self, wanted: WantedChange<'_>) -> Result<Changed, InferError> {
        if wanted.comment.len() > MAX_COMMENT_BYTES {
            let message = format!("comment is longer than {MAX_COMMENT_BYTES} bytes");
            return Err(InferError::new(ErrorCode::InvalidParameter, message));
        }
        let store = self.kept_store().await?;
        let mut expected = wanted.expected;
        let (action, policy) = match wanted.to {
            Wish::Policy(policy) => ("set", Some(*policy)),
            Wish::None => ("removed", None),
            Wish::Revision(to) => {
                let undone = undone(&store, wanted.endpoint, to).await?;
                // What is undone is undone only as long as it is the last change.
                expected = expected.or(Some(undone.revision));
                ("undone", undone.policy)
            }
        };
        if let Some(policy) = &policy {
            self.check(wanted.endpoint, policy).await?;
            if action == "set" {
                self.refuse_new_experiments(wanted.endpoint, policy)?;
            }
        }
        let checked = CheckedChange {
            endpoint: wanted.endpoint,
            comment: &wanted.comment,
            action,
            expected,
            policy,
        };
        let mut write = store.write(&wanted.actor).await.map_err(unavailable)?;
        self.refuse_during_rollout(&mut write, wanted.endpoint)
            .await?;
        let changed = self.change_within(&mut write, checked).await?;
        write.commit().await.map_err(unavailable)?;
        self.refresh().await;
        Ok(changed)
    }

    /// A change of somebody else would be undone by the next step of a rollout, and would spoil what it
    /// compares.
    ///
    /// # Errors
    /// [`ErrorCode::Conflict`] during a rollout, [`ErrorCode::TrafficUnavailable`].
    pub(crate) async fn refuse_during_rollout(
        &self,
        write: &mut Write,
        endpoint: &str,
    ) -> Result<(), InferError> {
        if !self.is_rolled_out(write, endpoint).await? {
            return Ok(());
        }
        let message = format!(
            "a rollout of \"{endpoint}\" is under way and decides its traffic: abort or promote it first"
        );
        Err(InferError::new(ErrorCode::Conflict, message))
    }

    /// Whether a rollout decides the traffic of an endpoint.
    ///
    /// # Errors
    /// [`ErrorCode::TrafficUnavailable`].
    pub(crate) async fn is_rolled_out(
        &self,
        write: &mut Write,
        endpoint: &str,
    ) -> Result<bool, InferError> {
        let last = write.traffic_of(endpoint).await.map_err(unavailable)?;
        Ok(last.is_some_and(|last| last.action == ROLLOUT))
    }

    /// The policy of an endpoint as a transaction sees it, also one of the configuration.
    ///
    /// # Errors
    /// [`ErrorCode::TrafficUnavailable`].
    pub(crate) async fn policy_within(
        &self,
        write: &mut Write,
        endpoint: &str,
    ) -> Result<Option<TrafficPolicy>, InferError> {
        let last = write.traffic_of(endpoint).await.map_err(unavailable)?;
        Ok(self.policy_after(endpoint, last.as_ref()))
    }

    /// Sets the policy of an endpoint, or removes it, as part of a transaction. It was checked before.
    ///
    /// # Errors
    /// [`ErrorCode::TrafficUnavailable`].
    pub(crate) async fn set_within(
        &self,
        write: &mut Write,
        checked: CheckedChange<'_>,
    ) -> Result<(), InferError> {
        self.change_within(write, checked).await.map(drop)
    }

    /// The database.
    ///
    /// # Errors
    /// If the server keeps nothing, or it cannot be opened.
    pub(crate) async fn kept_store(&self) -> Result<Store, InferError> {
        let store = self.store().await.map_err(unavailable)?;
        store.ok_or_else(|| {
            let message = "this server keeps nothing, so no policy can be set at run time: start it \
                           with --data, or set endpoints.traffic in the configuration";
            InferError::new(ErrorCode::Conflict, message)
        })
    }

    async fn change_within(
        &self,
        write: &mut Write,
        checked: CheckedChange<'_>,
    ) -> Result<Changed, InferError> {
        let endpoint = checked.endpoint;
        let last = write.traffic_of(endpoint).await.map_err(unavailable)?;
        let revision = last.as_ref().map_or(0, |last| last.revision);
        if let Some(expected) = checked.expected.filter(|expected| *expected != revision) {
            let message = format!(
                "the policy of \"{endpoint}\" is at revision {revision}, not {expected}: somebody \
                 changed it meanwhile"
            );
            return Err(InferError::new(ErrorCode::Conflict, message));
        }
        let before = self.policy_after(endpoint, last.as_ref());
        let policy = checked.policy;
        let new = match policy {
            Some(policy) => Some(without_ended(write, endpoint, policy).await?),
            None => None,
        };
        let is_set = last.as_ref().is_some_and(|last| !last.policy.is_empty());
        let is_of_rollout = matches!(checked.action, ROLLOUT | ROLLED_OUT);
        if new.is_none() && !is_set && !is_of_rollout {
            return Err(nothing_set(endpoint));
        }
        // What a rollout does is noted in any case: others may not change the policy meanwhile.
        let is_same = is_set && new == before && !is_of_rollout;
        let after = new
            .clone()
            .or_else(|| self.configured.get(endpoint).cloned());
        let changes = in_words::changes(before.as_ref(), after.as_ref());
        if is_same {
            return Ok(Changed {
                revision,
                before,
                after,
                changes,
            });
        }
        let (policy, assignment) = match &new {
            None => (String::new(), String::new()),
            Some(policy) => {
                let assignment = next_assignment(endpoint, last.as_ref(), before.as_ref(), policy);
                (json(policy)?, json(&assignment)?)
            }
        };
        let new = NewTrafficChange {
            endpoint,
            action: checked.action,
            comment: checked.comment,
            policy: &policy,
            assignment: &assignment,
        };
        let added = write.change_traffic(new).await.map_err(unavailable)?;
        Ok(Changed {
            revision: added.revision,
            before,
            after,
            changes,
        })
    }
}

/// A change that may be made.
pub(crate) struct CheckedChange<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) comment: &'a str,
    pub(crate) action: &'a str,
    /// The revision that it is a change of; any if absent.
    pub(crate) expected: Option<i64>,
    /// The policy since then; `None` to remove it.
    pub(crate) policy: Option<TrafficPolicy>,
}

/// A policy without experiments that have stopped: going back to an earlier policy does not start them anew.
async fn without_ended(
    write: &mut Write,
    endpoint: &str,
    policy: TrafficPolicy,
) -> Result<TrafficPolicy, InferError> {
    if policy.experiments().is_empty() {
        return Ok(policy);
    }
    let running = write.running_experiments().await.map_err(unavailable)?;
    let mut written = WrittenPolicy::from(policy);
    written.experiments.retain(|one| {
        let mut running = running.iter();
        running.any(|running| running.endpoint == endpoint && running.name == one.name)
    });
    let policy = TrafficPolicy::try_from(written);
    policy.map_err(|error| InferError::new(ErrorCode::Internal, error.to_string()))
}

/// What going back leads to.
struct Undone {
    /// The revision of the last change.
    revision: i64,
    policy: Option<TrafficPolicy>,
}

/// The policy that was set at a revision; before the last change if none is named.
async fn undone(store: &Store, endpoint: &str, to: Option<i64>) -> Result<Undone, InferError> {
    let last = store.traffic_at(endpoint, i64::MAX).await;
    let last = last.map_err(unavailable)?;
    let last = last.ok_or_else(|| nothing_set(endpoint))?;
    let revision = last.revision;
    let to = match to {
        Some(to) => to,
        None => revision_before(store, &last).await?,
    };
    let earlier = store.traffic_at(endpoint, to).await.map_err(unavailable)?;
    let earlier = earlier.filter(|earlier| earlier.revision == to);
    let is_known = to == 0 || earlier.is_some();
    if !is_known || to >= revision {
        let message = format!("the history of \"{endpoint}\" has no earlier revision {to}");
        return Err(InferError::new(ErrorCode::NotFound, message));
    }
    let set = earlier.filter(|earlier| !earlier.policy.is_empty());
    let policy = set.as_ref().map(stored_policy).transpose();
    let policy = policy.map_err(|problem| InferError::new(ErrorCode::Internal, problem))?;
    Ok(Undone { revision, policy })
}

/// The revision before the last change. A rollout with all its steps is one change.
async fn revision_before(store: &Store, last: &TrafficChange) -> Result<i64, InferError> {
    if last.action != ROLLED_OUT {
        return Ok(last.revision - 1);
    }
    let history = store.traffic_history(&last.endpoint, u16::MAX).await;
    let history = history.map_err(unavailable)?;
    let before = history
        .iter()
        .skip(1)
        .find(|change| change.action != ROLLOUT);
    Ok(before.map_or(0, |change| change.revision))
}

/// Which keys each version has under a policy: only the share that must move does.
fn next_assignment(
    endpoint: &str,
    last: Option<&TrafficChange>,
    before: Option<&TrafficPolicy>,
    policy: &TrafficPolicy,
) -> Assignment {
    let stored = last.filter(|last| !last.policy.is_empty());
    let assignment = match (stored.map(stored_assignment), before) {
        (Some(Ok(assignment)), _) => Some(assignment),
        (None, Some(configured)) => Some(Assignment::new(endpoint, configured)),
        _ => None,
    };
    match assignment {
        Some(assignment) => assignment.change(policy),
        None => Assignment::new(endpoint, policy),
    }
}

fn wrong_version(version: &str, error: InferError) -> InferError {
    match error.code {
        ErrorCode::UnknownModel => error,
        _ => {
            let message = format!("version {version}: {}", error.message);
            InferError::new(ErrorCode::InvalidParameter, message)
        }
    }
}

fn nothing_set(endpoint: &str) -> InferError {
    let message = format!("no traffic policy of \"{endpoint}\" was set over the API");
    InferError::new(ErrorCode::NotFound, message)
}

pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, InferError> {
    serde_json::to_string(value)
        .map_err(|error| InferError::new(ErrorCode::Internal, error.to_string()))
}

/// The error of a database that cannot be used.
#[allow(clippy::needless_pass_by_value, reason = "it maps errors")]
pub(crate) fn unavailable(error: StoreError) -> InferError {
    let message = format!("traffic policies cannot be read or changed now: {error}");
    InferError::new(ErrorCode::TrafficUnavailable, message)
}
