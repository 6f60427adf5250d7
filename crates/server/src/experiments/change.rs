//! Starting and stopping experiments: each is one transaction, with the policy of the endpoint.

use std::time::{Duration, Instant};

use tidegate_delivery::experiment::bandit;
use tidegate_delivery::policy::{
    PARTS, Share, TrafficPolicy, VersionName, WrittenExperiment, WrittenPolicy, WrittenVersion,
};
use tidegate_observe::Event;
use tidegate_serving::{ErrorCode, InferError};
use tidegate_store::{AuditEntry, StoredExperiment, Write};

use super::definition::{ExperimentDefinition, check_name};
use super::report::{ExperimentReport, goal_counts};
use super::users::UserTable;
use super::{Experiments, internal, invalid, read_definition};
use crate::clock::now_ms;
use crate::traffic::{CheckedChange, ROLLOUT, json, unavailable};

/// The action of changes of policies that an experiment makes.
const ACTION: &str = "experiment";
/// The alias of the version that answers where no policy decides.
const CHAMPION: &str = "champion";
/// A bandit leaves the shares as they are unless one moves by at least so much: 2 %.
const MIN_MOVE: u32 = PARTS / 50;
/// How often users of a bandit are moved at most.
const MOVE_EVERY: Duration = Duration::from_secs(300);

impl Experiments {
    /// Starts an experiment.
    ///
    /// # Errors
    /// What is wrong with it; [`ErrorCode::Conflict`] for a name that was used, a group without room, or
    /// during a rollout.
    pub(super) async fn begin(
        &self,
        name: &str,
        definition: ExperimentDefinition,
        actor: &str,
    ) -> Result<StoredExperiment, InferError> {
        check_name(name).map_err(invalid)?;
        if let Some(group) = &definition.group {
            check_name(group).map_err(invalid)?;
        }
        let mut definition = definition.checked().map_err(invalid)?;
        let endpoint = definition.endpoint.clone();
        self.check_captured(&definition)?;
        self.check_versions(&definition).await?;
        let store = self.traffic.kept_store().await?;
        if store.experiment(name).await.map_err(unavailable)?.is_some() {
            return Err(used_before(name));
        }
        let champion = store
            .alias(&endpoint, CHAMPION)
            .await
            .map_err(unavailable)?;
        let mut write = store.write(actor).await.map_err(unavailable)?;
        self.traffic
            .refuse_during_rollout(&mut write, &endpoint)
            .await?;
        let running = write.running_experiments().await.map_err(unavailable)?;
        let skip = free_users(name, &definition, &running)?;
        definition.skip = Some(skip);
        let policy = self.traffic.policy_within(&mut write, &endpoint).await?;
        let policy = match policy {
            Some(policy) => {
                definition.made_policy = made_before(&endpoint, &running)?;
                policy
            }
            None => {
                let version = self.default_version(&endpoint, champion)?;
                definition.made_policy = Some(version.clone());
                TrafficPolicy::only(version)
            }
        };
        let mut experiments = WrittenPolicy::from(policy.clone()).experiments;
        experiments.push(definition.in_policy(name));
        let policy = with_experiments(&policy, experiments)?;
        self.traffic.check(&endpoint, &policy).await?;
        let written = json(&definition)?;
        let added = write.add_experiment(name, &endpoint, &written).await;
        if !added.map_err(unavailable)? {
            return Err(used_before(name));
        }
        self.set_policy(&mut write, &endpoint, Some(policy), name)
            .await?;
        let started_ms = write.now_ms();
        write.commit().await.map_err(unavailable)?;
        let event = Event::new("experiment.started", now_ms())
            .about(&endpoint, "")
            .with("experiment", name)
            .with("users", definition.users.to_string())
            .with("by", actor);
        self.publish(event).await;
        Ok(StoredExperiment {
            name: name.to_owned(),
            endpoint,
            definition: written,
            started_ms,
            started_by: actor.to_owned(),
            ended_ms: None,
            ended_by: String::new(),
            reason: String::new(),
            report: String::new(),
        })
    }

    /// Stops an experiment: its users go by the weights of the policy again.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], [`ErrorCode::Conflict`] if it does not run or a rollout is under way.
    pub(super) async fn end(
        &self,
        experiment: &StoredExperiment,
        actor: &str,
        reason: &str,
        evidence: Option<&ExperimentReport>,
    ) -> Result<(), InferError> {
        let StoredExperiment { name, endpoint, .. } = experiment;
        let store = self.traffic.kept_store().await?;
        let mut write = store.write(actor).await.map_err(unavailable)?;
        let ended = write.end_experiment(name, reason).await;
        if !ended.map_err(unavailable)? {
            let message = format!("the experiment {name:?} does not run");
            return Err(InferError::new(ErrorCode::Conflict, message));
        }
        self.remove_from_policy(&mut write, experiment).await?;
        if let Some(evidence) = evidence {
            let state = serde_json::to_value(evidence).unwrap_or_default();
            let entry = AuditEntry::new(actor, "experiment.stop", "ok").about("experiment", name);
            let entry = entry.with_states(&serde_json::Value::Null, &state);
            write.append_audit(&entry).await.map_err(unavailable)?;
        }
        write.commit().await.map_err(unavailable)?;
        let event = Event::new("experiment.ended", now_ms())
            .about(endpoint, "")
            .with("experiment", name.as_str())
            .with("by", actor)
            .with("reason", reason);
        self.publish(event).await;
        Ok(())
    }

    /// Removes an experiment from the policy of its endpoint, also during a rollout, which goes on.
    async fn remove_from_policy(
        &self,
        write: &mut Write,
        experiment: &StoredExperiment,
    ) -> Result<(), InferError> {
        let StoredExperiment { name, endpoint, .. } = experiment;
        let Some(policy) = self.traffic.policy_within(write, endpoint).await? else {
            return Ok(());
        };
        let mut experiments = WrittenPolicy::from(policy.clone()).experiments;
        let before = experiments.len();
        experiments.retain(|one| one.name != *name);
        if experiments.len() == before {
            // Somebody has set another policy meanwhile.
            return Ok(());
        }
        let without = with_experiments(&policy, experiments)?;
        if self.traffic.is_rolled_out(write, endpoint).await? {
            return self
                .set_policy_as(write, endpoint, Some(without), (name, ROLLOUT))
                .await;
        }
        let definition = read_definition(experiment)?;
        let made = definition.made_policy.map(TrafficPolicy::only);
        // What the first experiment has set goes with the last one.
        let wanted = Some(without).filter(|without| Some(without) != made.as_ref());
        self.set_policy(write, endpoint, wanted, name).await
    }

    /// Moves the users of a bandit to the arms that do best.
    pub(super) async fn move_users(
        &self,
        experiment: &StoredExperiment,
        definition: &ExperimentDefinition,
        table: &UserTable,
    ) -> Result<(), InferError> {
        let Some(floor) = definition.bandit_floor else {
            return Ok(());
        };
        let counts = goal_counts(definition, &table.all_by_arm(definition.arms.len()));
        let shares = bandit::weights(&counts, floor);
        let StoredExperiment { name, endpoint, .. } = experiment;
        if !self.may_move(name) || !moves(&definition.arms, &shares) {
            return Ok(());
        }
        let store = self.traffic.kept_store().await?;
        let mut write = store.write(ACTOR).await.map_err(unavailable)?;
        if self.traffic.is_rolled_out(&mut write, endpoint).await? {
            // A rollout compares what its weights give to versions: users stay where they are.
            return Ok(());
        }
        let Some(policy) = self.traffic.policy_within(&mut write, endpoint).await? else {
            return Ok(());
        };
        let mut experiments = WrittenPolicy::from(policy.clone()).experiments;
        let Some(own) = experiments.iter_mut().find(|one| one.name == *name) else {
            return Ok(());
        };
        for (arm, share) in own.arms.iter_mut().zip(shares) {
            arm.weight = Some(share);
        }
        let policy = with_experiments(&policy, experiments)?;
        self.set_policy(&mut write, endpoint, Some(policy), name)
            .await?;
        write.commit().await.map_err(unavailable)?;
        self.state.lock().moved.insert(name.clone(), Instant::now());
        self.traffic.refresh().await;
        Ok(())
    }

    /// Whether the users of a bandit have stayed where they are for long enough.
    fn may_move(&self, name: &str) -> bool {
        let state = self.state.lock();
        let moved = state.moved.get(name);
        moved.is_none_or(|moved| moved.elapsed() >= MOVE_EVERY)
    }

    async fn set_policy(
        &self,
        write: &mut Write,
        endpoint: &str,
        policy: Option<TrafficPolicy>,
        name: &str,
    ) -> Result<(), InferError> {
        self.set_policy_as(write, endpoint, policy, (name, ACTION))
            .await
    }

    async fn set_policy_as(
        &self,
        write: &mut Write,
        endpoint: &str,
        policy: Option<TrafficPolicy>,
        (name, action): (&str, &str),
    ) -> Result<(), InferError> {
        let comment = format!("experiment {name}");
        let change = CheckedChange {
            endpoint,
            comment: &comment,
            action,
            expected: None,
            policy,
        };
        self.traffic.set_within(write, change).await
    }

    /// The version that answers where no policy decides.
    fn default_version(
        &self,
        endpoint: &str,
        champion: Option<i64>,
    ) -> Result<VersionName, InferError> {
        if champion.is_some() {
            // By its alias: a new champion takes over, as without the experiment.
            return alias(CHAMPION);
        }
        let version = self.serving.version(endpoint, None)?;
        alias(version.number())
    }

    /// Checks that the users of an experiment can be counted: all of their predictions are captured, as they
    /// were sent, until their labels have come.
    fn check_captured(&self, definition: &ExperimentDefinition) -> Result<(), InferError> {
        let endpoint = &definition.endpoint;
        let rate = self.quality.check_captured(endpoint)?;
        if rate < 1.0 {
            let message = format!(
                "{:.1}% of the predictions of \"{endpoint}\" are captured: users who ask often would be seen \
                 more often than others. Set rate = 1.0 in [[capture.endpoint]]",
                100.0 * rate
            );
            return Err(InferError::new(ErrorCode::Conflict, message));
        }
        let kept_s = self.quality.retention().as_secs();
        if 2 * definition.wait_s > kept_s {
            let message = format!(
                "captured predictions are kept for {kept_s} s: wait_s can be half of that at most"
            );
            return Err(invalid(message));
        }
        let is_input = definition
            .covariate
            .as_ref()
            .is_some_and(|name| name.starts_with("input."));
        let mut versions = definition.versions();
        let has_pipeline = |version: &VersionName| {
            let found = self.serving.version(endpoint, Some(version.as_str()));
            found.is_ok_and(|found| found.pipeline().is_some())
        };
        if is_input && versions.any(has_pipeline) {
            let message = "the inputs of a version with a pipeline are what the pipeline made of the request: \
                           use a field.NAME as the covariate";
            return Err(invalid(message));
        }
        Ok(())
    }

    async fn check_versions(&self, definition: &ExperimentDefinition) -> Result<(), InferError> {
        for version in definition.versions() {
            let policy = TrafficPolicy::only(version.clone());
            self.traffic.check(&definition.endpoint, &policy).await?;
        }
        Ok(())
    }

    async fn publish(&self, event: Event) {
        self.events.add(event);
        self.events.persist().await;
        self.traffic.refresh().await;
    }
}

/// Who stops experiments that do harm, and moves users.
pub(super) const ACTOR: &str = "experiments";

/// Where the users of a group begin of whom none takes part in another experiment.
fn free_users(
    name: &str,
    definition: &ExperimentDefinition,
    running: &[StoredExperiment],
) -> Result<Share, InferError> {
    let group = definition.group_name(name);
    let mut taken = Vec::new();
    for other in running {
        let others = read_definition(other)?;
        let is_same_group = others.group_name(&other.name) == group;
        if let Some(problem) = conflict(definition, &others, is_same_group) {
            let message = format!("the experiment {:?} is running: {problem}", other.name);
            return Err(InferError::new(ErrorCode::Conflict, message));
        }
        if is_same_group {
            let first = others.skip.unwrap_or_default().parts();
            taken.push(first..first + others.users.parts());
        }
    }
    taken.sort_by_key(|range| range.start);
    let mut free = 0;
    for range in taken {
        if range.start >= free + definition.users.parts() {
            break;
        }
        free = free.max(range.end);
    }
    let first = Share::from_parts(free);
    let fits = free + definition.users.parts() <= PARTS;
    first.filter(|_| fits).ok_or_else(|| {
        let left = Share::from_parts(PARTS.saturating_sub(free)).unwrap_or_default();
        let message = format!(
            "the experiments of group {group:?} have left {left} of the users in a row, and {name:?} \
             needs {}",
            definition.users
        );
        InferError::new(ErrorCode::Conflict, message)
    })
}

/// Why two experiments cannot run at the same time.
fn conflict(
    one: &ExperimentDefinition,
    other: &ExperimentDefinition,
    is_same_group: bool,
) -> Option<&'static str> {
    if is_same_group && one.unit != other.unit {
        return Some("experiments of one group need the same unit");
    }
    if !is_same_group && one.endpoint == other.endpoint {
        return Some(
            "experiments on one endpoint need the same group, so that they share its users",
        );
    }
    None
}

/// The version of the policy that an experiment has made for an endpoint that had none.
fn made_before(
    endpoint: &str,
    running: &[StoredExperiment],
) -> Result<Option<VersionName>, InferError> {
    for other in running.iter().filter(|other| other.endpoint == endpoint) {
        let made = read_definition(other)?.made_policy;
        if made.is_some() {
            return Ok(made);
        }
    }
    Ok(None)
}

fn used_before(name: &str) -> InferError {
    let message = format!(
        "an experiment {name:?} was started before: users are assigned by the name, so a new experiment \
         needs a new one"
    );
    InferError::new(ErrorCode::Conflict, message)
}

fn moves(arms: &[WrittenVersion], shares: &[Share]) -> bool {
    let arms = arms.iter().zip(shares);
    let mut changes = arms.map(|(arm, share)| {
        let before = arm.weight.unwrap_or_default().parts();
        before.abs_diff(share.parts())
    });
    changes.any(|change| change >= MIN_MOVE)
}

fn with_experiments(
    policy: &TrafficPolicy,
    experiments: Vec<WrittenExperiment>,
) -> Result<TrafficPolicy, InferError> {
    let policy = policy.with_experiments(experiments);
    policy.map_err(|error| invalid(error.to_string()))
}

fn alias(name: &str) -> Result<VersionName, InferError> {
    name.parse()
        .map_err(|error: tidegate_delivery::policy::InvalidVersionName| internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(group: &str, users: &str, skip: &str) -> ExperimentDefinition {
        let written = json!({
            "endpoint": "fraud", "unit": "tenant", "group": group, "users": users, "skip": skip,
            "arms": [{"version": 1, "weight": "50%"}, {"version": 2, "weight": "50%"}],
            "metrics": [{"name": "conversion"}],
        });
        serde_json::from_value(written).unwrap()
    }

    fn running(name: &str, definition: &ExperimentDefinition) -> StoredExperiment {
        StoredExperiment {
            name: name.to_owned(),
            endpoint: "fraud".to_owned(),
            definition: serde_json::to_string(definition).unwrap(),
            started_ms: 0,
            started_by: String::new(),
            ended_ms: None,
            ended_by: String::new(),
            reason: String::new(),
            report: String::new(),
        }
    }

    #[test]
    fn experiments_of_a_group_get_users_of_their_own() {
        let mut on_another_endpoint = definition("other", "100%", "0%");
        on_another_endpoint.endpoint = "churn".to_owned();
        let others = [
            running("a", &definition("g", "20%", "0%")),
            running("b", &definition("g", "30%", "50%")),
            running("c", &on_another_endpoint),
        ];
        let free = |users: &str| free_users("d", &definition("g", users, "0%"), &others);
        assert_eq!(free("30%").unwrap().to_string(), "20%");
        assert_eq!(free("20%").unwrap().to_string(), "20%");
        let error = free("31%").unwrap_err();
        assert_eq!(error.code, ErrorCode::Conflict);
        assert!(error.message.contains("have left 20%"), "{}", error.message);
    }

    #[test]
    fn a_bandit_does_not_move_users_for_nothing() {
        let own = definition("g", "10%", "0%").arms;
        let shares = |text: &str| -> Vec<Share> {
            text.split(' ')
                .map(|share| share.parse().unwrap())
                .collect()
        };
        assert!(!moves(&own, &shares("51.5% 48.5%")));
        assert!(moves(&own, &shares("52% 48%")));
    }
}
