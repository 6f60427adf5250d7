//! Changes of rollouts: each is one transaction, with all that it does to traffic and aliases.

mod end;

use tidegate_delivery::policy::{Shadow, Share, Split, TrafficPolicy};
use tidegate_delivery::rollout::{
    ActionKind, Command, CommandKind, Evidence, NotStarted, Phase, Rollout, RolloutSpec, Target,
    Traffic as Weights, decide,
};
use tidegate_observe::Event;
use tidegate_serving::{ErrorCode, InferError};
use tidegate_store::{AuditEntry, MoveCause, RolloutWindow, Store, Write};

use super::evidence::Seen;
use super::persisted::{PersistedRollouts, RolledBack, target};
use super::{Rollouts, SETTLE_S, internal};
use crate::traffic::{CheckedChange, ROLLOUT, json, unavailable};

/// The alias of the version that answers where no policy decides.
pub(super) const CHAMPION: &str = "champion";
/// Who makes the decisions.
const ACTOR: &str = "rollouts";

/// A rollout that somebody asked for.
pub(super) struct Begun {
    pub(super) rollout: Rollout,
    /// Whether it waits for another one.
    pub(super) is_queued: bool,
}

/// A transaction on rollouts.
struct Change<'a> {
    owner: &'a Rollouts,
    write: Write,
    persisted: PersistedRollouts,
    /// When it began, by the database's clock.
    now_ms: u64,
    events: Vec<Event>,
    has_changed: bool,
}

impl Rollouts {
    /// Decides for every rollout by what servers have written.
    pub(super) async fn decide(
        &self,
        store: &Store,
        windows: &[RolloutWindow],
    ) -> Result<(), InferError> {
        let mut change = Change::begin(self, store, ACTOR).await?;
        let now_s = (change.now_ms / 1000).cast_signed();
        let active = change.persisted.rollouts.active.clone();
        for rollout in active {
            let seen = Seen::new(&rollout, windows, now_s - SETTLE_S);
            let gates = self.gates(&rollout, change.now_ms);
            let notes = change.persisted.notes.entry(rollout.id.clone());
            let notes = notes.or_default();
            seen.choose_bins(&rollout, notes);
            notes.waits_for = [gates.clone(), seen.unready(now_s)].concat();
            let mut evidence = seen.evidence(&rollout, now_s);
            evidence.gates = gates;
            change.apply(&rollout, evidence).await?;
        }
        change.retire().await?;
        change.commit().await
    }

    /// Starts a rollout, or queues it behind that of its endpoint.
    ///
    /// # Errors
    /// What is wrong with it, [`ErrorCode::Conflict`] for a version that was found bad.
    pub(super) async fn begin(
        &self,
        store: &Store,
        actor: &str,
        spec: RolloutSpec,
        force: bool,
    ) -> Result<Begun, InferError> {
        if let Some(same) = spec.targets.iter().find(|target| target.from == target.to) {
            let Target { endpoint, to, .. } = same;
            let message = format!("version {to} answers the requests of \"{endpoint}\" already");
            return Err(InferError::new(ErrorCode::Conflict, message));
        }
        spec.check()
            .map_err(|error| InferError::new(ErrorCode::InvalidParameter, error.to_string()))?;
        // A policy that cannot get the copies of the first step is refused here, not every second.
        let mut change = Change::begin(self, store, actor).await?;
        change.check_policy(&spec).await?;
        let rollouts = &change.persisted.rollouts;
        let mut all = rollouts.active.iter().chain(&rollouts.queue);
        let same_version = all.find(|one| {
            let target = target(one);
            !one.is_over()
                && (&target.endpoint, &target.to)
                    == (&spec.targets[0].endpoint, &spec.targets[0].to)
        });
        if let Some(other) = same_version {
            // Asked for twice, it is one. Checks that nobody named depend on what was loaded.
            if (&other.spec.steps, other.spec.strategy) == (&spec.steps, spec.strategy) {
                return Ok(change.begun(other.clone()));
            }
            let Target { endpoint, to, .. } = target(other);
            let message = format!("another rollout of version {to} of \"{endpoint}\" is under way");
            return Err(InferError::new(ErrorCode::Conflict, message));
        }
        let Target { endpoint, to, .. } = &spec.targets[0];
        change.persisted.asked_for += 1;
        let id = format!("{endpoint}-{to}-{}", change.persisted.asked_for);
        let what = format!("rollout of version {to} asked for by {actor}");
        let started = change
            .persisted
            .rollouts
            .start(&id, spec, force, change.now_ms);
        started.map_err(refused)?;
        let rollout = change.find(&id)?;
        change.note("rollout.started", &rollout, &what);
        change.admit(&rollout).await?;
        let rollout = change.find(&id)?;
        change.has_changed = true;
        let begun = change.begun(rollout);
        change.commit().await?;
        Ok(begun)
    }

    /// Does to the rollout of an endpoint what somebody asks for.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] if none is under way.
    pub(super) async fn command(
        &self,
        store: &Store,
        endpoint: &str,
        actor: &str,
        kind: CommandKind,
    ) -> Result<Rollout, InferError> {
        let windows = self.windows(store).await?;
        let mut change = Change::begin(self, store, actor).await?;
        let rollout = change.persisted.of(endpoint).cloned();
        let rollout = rollout.filter(|rollout| !rollout.is_over());
        let rollout = rollout.ok_or_else(|| no_rollout(endpoint))?;
        let is_queued = change.persisted.is_queued(&rollout);
        if is_queued && kind != CommandKind::Abort {
            let message = "it waits for the end of another rollout: it can only be aborted";
            return Err(InferError::new(ErrorCode::Conflict, message));
        }
        if kind == CommandKind::Abort {
            // Whoever takes traffic back must not start the next rollout by that.
            change.drop_queued(endpoint, actor);
        }
        if is_queued {
            change.commit().await?;
            return Ok(rollout);
        }
        let now_s = (change.now_ms / 1000).cast_signed();
        let evidence = Evidence {
            epoch: rollout.epoch,
            is_ready: Seen::new(&rollout, &windows, now_s).is_ready(now_s),
            gates: self.gates(&rollout, change.now_ms),
            commands: vec![Command {
                number: rollout.next_command(),
                kind,
                by: actor.to_owned(),
            }],
            ..Evidence::default()
        };
        let after = change.apply(&rollout, evidence).await?;
        if after.phase == rollout.phase || !has_obeyed(kind, &after) {
            let what = after.events.last().map_or("", |event| event.what.as_str());
            return Err(InferError::new(ErrorCode::Conflict, what.to_owned()));
        }
        change.commit().await?;
        Ok(after)
    }
}

/// Whether a rollout is as somebody wanted it.
const fn has_obeyed(kind: CommandKind, after: &Rollout) -> bool {
    matches!(
        (kind, &after.phase),
        (CommandKind::Pause, Phase::Paused { .. })
            | (CommandKind::Resume, Phase::Running | Phase::Waiting)
            | (CommandKind::Promote, Phase::Promoted)
            | (CommandKind::Abort, Phase::Aborted { .. })
            | (CommandKind::Retry, Phase::Waiting)
    )
}

impl<'a> Change<'a> {
    async fn begin(owner: &'a Rollouts, store: &Store, actor: &str) -> Result<Self, InferError> {
        let mut write = store.write(actor).await.map_err(unavailable)?;
        let state = write.rollouts().await.map_err(unavailable)?;
        let now_ms = write.now_ms().cast_unsigned();
        Ok(Self {
            owner,
            persisted: PersistedRollouts::read(state.as_deref()).map_err(internal)?,
            write,
            now_ms,
            events: Vec::new(),
            has_changed: false,
        })
    }

    fn begun(&self, rollout: Rollout) -> Begun {
        let mut active = self.persisted.rollouts.active.iter();
        let is_queued = active.all(|one| one.id != rollout.id);
        Begun { rollout, is_queued }
    }

    fn find(&self, id: &str) -> Result<Rollout, InferError> {
        let rollouts = &self.persisted.rollouts;
        let mut all = rollouts.active.iter().chain(&rollouts.queue);
        let found = all.find(|rollout| rollout.id == id).cloned();
        found.ok_or_else(|| internal("the rollout is gone"))
    }

    /// Removes the rollouts of an endpoint that wait for others.
    fn drop_queued(&mut self, endpoint: &str, actor: &str) {
        let is_of_endpoint = |rollout: &mut Rollout| target(rollout).endpoint == endpoint;
        let queue = &mut self.persisted.rollouts.queue;
        let dropped: Vec<Rollout> = queue.extract_if(.., is_of_endpoint).collect();
        for rollout in dropped {
            let what = format!("it waited for another rollout, which {actor} aborted: removed");
            self.note("rollout.changed", &rollout, &what);
            self.has_changed = true;
        }
    }

    /// Checks that a rollout can change the policy of its endpoint as it will have to.
    async fn check_policy(&mut self, spec: &RolloutSpec) -> Result<(), InferError> {
        let target = &spec.targets[0];
        let traffic = &self.owner.traffic;
        let current = traffic
            .policy_within(&mut self.write, &target.endpoint)
            .await?;
        let weights = Weights {
            answers: Share::NONE,
            copies: Share::ALL,
        };
        with_weights(current, target, weights)
            .map(drop)
            .map_err(|error| InferError::new(ErrorCode::InvalidParameter, error.message))
    }

    /// A rollout that need not wait for others takes charge of the policy of its endpoint: the new version is
    /// named in it, so that every server loads it before it gets requests.
    async fn admit(&mut self, rollout: &Rollout) -> Result<(), InferError> {
        let notes = self.persisted.notes.entry(rollout.id.clone()).or_default();
        let mut active = self.persisted.rollouts.active.iter_mut();
        let Some(admitted) = active.find(|one| one.id == rollout.id) else {
            return Ok(());
        };
        if std::mem::replace(&mut notes.is_in_charge, true) {
            return Ok(());
        }
        let traffic = &self.owner.traffic;
        let endpoint = target(rollout).endpoint.clone();
        let before = traffic.policy_within(&mut self.write, &endpoint).await?;
        let stored = self.write.traffic_of(&endpoint).await;
        let stored = stored.map_err(unavailable)?;
        notes.was_set = stored.is_some_and(|change| !change.policy.is_empty());
        notes.policy_before.clone_from(&before);
        // Whatever was promoted or set meanwhile: it begins from what answers now.
        let alias = self.write.alias(&endpoint, CHAMPION).await;
        let champion = alias.map_err(unavailable)?;
        let from = self.owner.answering(&endpoint, before.as_ref(), champion)?;
        let to = &target(rollout).to;
        if from == *to {
            let message = format!("version {to} answers the requests of \"{endpoint}\" already");
            return Err(InferError::new(ErrorCode::Conflict, message));
        }
        admitted.spec.targets[0].from = from;
        let admitted = admitted.clone();
        self.persisted.rolled_back.remove(&endpoint);
        self.set_traffic(&admitted, admitted.traffic()).await
    }

    /// Decides for one rollout, and carries out what comes of it.
    async fn apply(
        &mut self,
        before: &Rollout,
        mut evidence: Evidence,
    ) -> Result<Rollout, InferError> {
        let notes = self.persisted.notes.entry(before.id.clone());
        evidence.done_action = notes.or_default().done_action;
        let (after, actions) = decide(before, &evidence, self.now_ms);
        for action in actions {
            self.carry_out(&after, action.kind).await?;
            if let Some(notes) = self.persisted.notes.get_mut(&after.id) {
                notes.done_action = action.number;
            }
        }
        for event in after.events_since(before) {
            self.note("rollout.changed", &after, &event.what);
        }
        self.audit_change(before, &after).await?;
        let active = &mut self.persisted.rollouts.active;
        if let Some(place) = active.iter_mut().find(|one| one.id == after.id) {
            self.has_changed |= *place != after;
            place.clone_from(&after);
        }
        Ok(after)
    }

    async fn carry_out(&mut self, rollout: &Rollout, action: ActionKind) -> Result<(), InferError> {
        let Target { from, to, .. } = target(rollout).clone();
        match action {
            ActionKind::SetTraffic(weights) => self.set_traffic(rollout, weights).await?,
            ActionKind::MoveAliases => {
                self.move_champion(rollout, &from, &to, MoveCause::Set)
                    .await?;
            }
            ActionKind::RestoreAliases => {
                self.move_champion(rollout, &to, &from, MoveCause::Rollback)
                    .await?;
            }
            ActionKind::MarkBad { .. } => {
                self.persisted.rollouts.mark_bad(&rollout.spec.targets);
                let bad = RolledBack {
                    version: to.to_string(),
                    at_ms: self.now_ms,
                };
                let endpoint = target(rollout).endpoint.clone();
                self.persisted.rolled_back.insert(endpoint, bad);
            }
            ActionKind::Alert { summary, .. } => self.note("rollout.alert", rollout, &summary),
        }
        self.has_changed = true;
        Ok(())
    }

    async fn set_traffic(&mut self, rollout: &Rollout, weights: Weights) -> Result<(), InferError> {
        let target = target(rollout);
        let traffic = &self.owner.traffic;
        let endpoint = &target.endpoint;
        let current = traffic.policy_within(&mut self.write, endpoint).await?;
        let change = CheckedChange {
            endpoint,
            comment: &reason(rollout),
            action: ROLLOUT,
            expected: None,
            policy: Some(with_weights(current, target, weights)?),
        };
        self.has_changed = true;
        traffic.set_within(&mut self.write, change).await
    }

    /// Moves the alias of the default version, if it names the version that is left.
    async fn move_champion(
        &mut self,
        rollout: &Rollout,
        from: &tidegate_delivery::policy::VersionName,
        to: &tidegate_delivery::policy::VersionName,
        cause: MoveCause,
    ) -> Result<(), InferError> {
        let endpoint = &target(rollout).endpoint;
        let alias = self.write.alias(endpoint, CHAMPION).await;
        let Some(number) = alias.map_err(unavailable)? else {
            return Ok(());
        };
        let (Ok(left), Ok(next)) = (from.as_str().parse::<i64>(), to.as_str().parse::<i64>())
        else {
            return Ok(());
        };
        if number != left {
            return Ok(());
        }
        let moved =
            tidegate_registry::move_alias(&mut self.write, endpoint, CHAMPION, Some(next), cause);
        moved.await.map_err(|error| internal(error.to_string()))
    }

    /// The end of a rollout and whatever it decided by itself are in the audit log; what people asked for is
    /// there as their action.
    async fn audit_change(&mut self, before: &Rollout, after: &Rollout) -> Result<(), InferError> {
        if before.phase == after.phase && before.step == after.step {
            return Ok(());
        }
        let action = match &after.phase {
            Phase::Waiting | Phase::Running => "rollout.step",
            Phase::Paused { .. } => "rollout.paused",
            Phase::Promoted => "rollout.promoted",
            Phase::Aborted { .. } => "rollout.aborted",
        };
        let entry = AuditEntry::new(self.write.actor(), action, "ok");
        let entry = entry.about("endpoint", &target(after).endpoint);
        let states = (state(before), state(after));
        let entry = entry.with_states(&states.0, &states.1);
        let added = self.write.append_audit(&entry).await;
        added.map(drop).map_err(unavailable)
    }

    fn note(&mut self, name: &'static str, rollout: &Rollout, what: &str) {
        let target = target(rollout);
        let event = Event::new(name, self.now_ms)
            .about(&target.endpoint, target.to.as_str())
            .with("rollout", rollout.id.as_str())
            .with("what", what);
        self.events.push(event);
    }

    async fn commit(mut self) -> Result<(), InferError> {
        if !self.has_changed {
            return Ok(());
        }
        let state = json(&self.persisted)?;
        // A state that could not be read again would stop every rollout for ever.
        PersistedRollouts::read(Some(&state)).map_err(internal)?;
        let set = self.write.set_rollouts(&state).await;
        set.map_err(unavailable)?;
        self.write.commit().await.map_err(unavailable)?;
        self.owner.publish(self.events).await;
        Ok(())
    }
}

/// A policy with the weights of a rollout; everything else in it stays.
fn with_weights(
    current: Option<TrafficPolicy>,
    target: &Target,
    weights: Weights,
) -> Result<TrafficPolicy, InferError> {
    let current = current.unwrap_or_else(|| TrafficPolicy::only(target.from.clone()));
    let split = Split::between(target.from.clone(), target.to.clone(), weights.answers);
    let mut shadows: Vec<Shadow> = current.shadows().to_vec();
    shadows.retain(|shadow| shadow.version != target.to);
    if weights.copies > Share::NONE {
        shadows.push(Shadow {
            version: target.to.clone(),
            share: weights.copies,
        });
    }
    let changed = current.with_split(split).with_shadows(shadows);
    changed.map_err(|error| internal(error.to_string()))
}

/// Why the traffic is as it is, for the history of the policy.
fn reason(rollout: &Rollout) -> String {
    let id = &rollout.id;
    let text = match &rollout.phase {
        Phase::Aborted { reason } | Phase::Paused { reason } => format!("rollout {id}: {reason}"),
        Phase::Promoted => format!("rollout {id}: promoted"),
        Phase::Waiting => format!("rollout {id}: waits for the version to be ready"),
        Phase::Running => format!("rollout {id}: step {}", rollout.step + 1),
    };
    text.chars().take(MAX_COMMENT_CHARS).collect()
}

/// Comments have at most 1024 bytes.
const MAX_COMMENT_CHARS: usize = 256;

fn state(rollout: &Rollout) -> serde_json::Value {
    let weight = rollout.traffic().answers.to_string();
    serde_json::json!({
        "rollout": rollout.id,
        "state": rollout.phase,
        "step": rollout.step + 1,
        "weight": weight,
    })
}

fn refused(error: NotStarted) -> InferError {
    let code = match error {
        NotStarted::Invalid(_) => ErrorCode::InvalidParameter,
        NotStarted::DuplicateId(_) | NotStarted::BadVersion { .. } | NotStarted::QueueFull => {
            ErrorCode::Conflict
        }
    };
    InferError::new(code, error.to_string())
}

pub(super) fn no_rollout(endpoint: &str) -> InferError {
    let message = format!("no rollout of \"{endpoint}\" is under way");
    InferError::new(ErrorCode::NotFound, message)
}
