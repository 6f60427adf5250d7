//! Taking triggers from step to step.

use serde_json::Value;
use tidegate_datasets::DatasetQuery;
use tidegate_observe::Event;
use tidegate_store::{RetrainTrigger, Store, StoreError, TriggerState};
use tracing::{info, warn};

use super::config::RetrainRule;
use super::message::message;
use super::{LEASE, Retraining, signed, unsigned};
use crate::alerting::Undelivered;
use crate::clock::now_ms;

/// Triggers of a state that are looked at in one step.
const AT_ONCE: u16 = 100;
/// The wait after the first failure; it doubles with each further one.
const FIRST_WAIT_MS: u64 = 5000;
/// The longest wait.
const MAX_WAIT_MS: u64 = 15 * 60_000;

/// A step that has failed.
struct Failure {
    reason: String,
    /// How long to wait, if the receiver says so.
    wait_ms: Option<u64>,
    is_final: bool,
}

impl Retraining {
    pub(super) async fn advance_all(&self, store: &Store) -> Result<(), String> {
        for state in [TriggerState::Preparing, TriggerState::Approved] {
            let triggers = store.triggers_in(state, AT_ONCE).await;
            for trigger in triggers.map_err(|error| error.to_string())? {
                // Those before it may have taken long.
                if !self.hold_lease(store).await? {
                    return Ok(());
                }
                let advancing = self.advance(store, trigger);
                advancing.await.map_err(|error| error.to_string())?;
            }
        }
        let telling = self.tell_all(store);
        telling.await.map_err(|error| error.to_string())
    }

    async fn advance(&self, store: &Store, trigger: RetrainTrigger) -> Result<(), StoreError> {
        if unsigned(trigger.next_ms) > now_ms() {
            return Ok(());
        }
        let Some(rule) = self.rule(&trigger.rule) else {
            // Of another configuration, perhaps of another server.
            return Ok(());
        };
        let before = trigger.state;
        let mut next = trigger.clone();
        let done = match before {
            TriggerState::Preparing => self.prepare(store, rule, &mut next).await,
            _ => self.ask(store, rule, &mut next).await,
        };
        next.changed_ms = signed(now_ms());
        match done {
            Ok(()) => (next.attempts, next.next_ms, next.problem) = (0, 0, String::new()),
            Err(failure) => {
                // The time of a state counts from its beginning.
                next.changed_ms = trigger.changed_ms;
                retry(&mut next, failure, rule.config.give_up_after_s);
            }
        }
        let mut write = store.write(&format!("retrain:{}", trigger.rule)).await?;
        let has_changed = write.change_trigger(before, &next).await?;
        write.commit().await?;
        match has_changed && next.state != before {
            true => self.tell(store, &next).await,
            false => Ok(()),
        }
    }

    /// Makes the data set.
    async fn prepare(
        &self,
        store: &Store,
        rule: &RetrainRule,
        trigger: &mut RetrainTrigger,
    ) -> Result<(), Failure> {
        let config = &rule.config;
        let to_ms = unsigned(trigger.fired_ms).saturating_add(1);
        let query = DatasetQuery {
            endpoint: trigger.endpoint.clone(),
            version: None,
            from_ms: to_ms.saturating_sub(config.window_h.saturating_mul(3_600_000)),
            to_ms,
            labelled: config.labelled,
        };
        let actor = format!("retrain:{}", trigger.rule);
        let creating = self.context.datasets.create(query, &actor, true);
        let created = self.holding_lease(store, creating).await?;
        let (record, _) = created.map_err(|error| Failure::later(error.message.to_string()))?;
        trigger.dataset = record.reference();
        trigger.dataset_digest = record.manifest.digest;
        trigger.state = match config.approval {
            true => TriggerState::Waiting,
            false => TriggerState::Approved,
        };
        Ok(())
    }

    /// Sends the message.
    async fn ask(
        &self,
        store: &Store,
        rule: &RetrainRule,
        trigger: &mut RetrainTrigger,
    ) -> Result<(), Failure> {
        if let Some(webhook) = &rule.webhook {
            let value = message(trigger);
            let sending = webhook.send_json(&self.http, &trigger.id, &value);
            self.holding_lease(store, sending)
                .await?
                .map_err(Failure::from)?;
        }
        trigger.state = TriggerState::Open;
        Ok(())
    }

    /// Runs work that may take longer than the lease. Without the lease it is given up: another server does
    /// it.
    async fn holding_lease<T>(
        &self,
        store: &Store,
        work: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(LEASE / 3) => {
                    // If it cannot be asked for, the next step finds out.
                    if let Ok(false) = self.hold_lease(store).await {
                        let reason = "another server follows the rules by now";
                        return Err(Failure::later(reason.to_owned()));
                    }
                }
            }
        }
    }

    /// Tells what no event has told: of versions that came, and of a process that ended before it could.
    async fn tell_all(&self, store: &Store) -> Result<(), StoreError> {
        for trigger in store.untold_triggers(AT_ONCE).await? {
            self.tell(store, &trigger).await?;
        }
        Ok(())
    }

    /// Tells what has become of a trigger, and notes that it was told. A process that ends in between tells
    /// it twice rather than never.
    pub(super) async fn tell(
        &self,
        store: &Store,
        trigger: &RetrainTrigger,
    ) -> Result<(), StoreError> {
        let (state, id) = (trigger.state.name(), &trigger.id);
        info!(trigger = id, state, "a trigger of retraining goes on");
        if let Some(event) = event_of(trigger) {
            self.context.events.record(event).await;
        }
        store.mark_told(id, trigger.state).await
    }
}

/// The event of the state of a trigger, if it has one.
fn event_of(trigger: &RetrainTrigger) -> Option<Event> {
    let dataset = trigger.dataset.as_str();
    Some(match trigger.state {
        TriggerState::Preparing => {
            let reason: Value = serde_json::from_str(&trigger.reason).unwrap_or_default();
            let message = reason["message"].as_str().unwrap_or_default();
            about("retrain.fired", trigger).with("reason", message)
        }
        TriggerState::Waiting => about("retrain.waiting", trigger).with("dataset", dataset),
        TriggerState::Open => about("retrain.asked", trigger).with("dataset", dataset),
        TriggerState::Closed => {
            about("retrain.closed", trigger).with("version", trigger.closed_by.as_str())
        }
        TriggerState::Failed => {
            let (id, problem) = (&trigger.id, trigger.problem.as_str());
            warn!(trigger = id, problem, "retraining was given up");
            let event = about("retrain.failed", trigger).with("dataset", dataset);
            event.with("reason", problem)
        }
        TriggerState::Approved | TriggerState::Dismissed | TriggerState::Superseded => return None,
    })
}

fn about(name: &str, trigger: &RetrainTrigger) -> Event {
    Event::new(name, now_ms())
        .about(&trigger.endpoint, "")
        .with("rule", trigger.rule.as_str())
        .with("trigger", trigger.id.as_str())
}

/// Waits before the next try, or gives up.
fn retry(trigger: &mut RetrainTrigger, failure: Failure, give_up_after_s: u64) {
    let now_ms = now_ms();
    let since_ms = unsigned(trigger.changed_ms);
    let is_over = now_ms.saturating_sub(since_ms) >= give_up_after_s.saturating_mul(1000);
    trigger.problem = failure.reason;
    if failure.is_final || is_over {
        trigger.state = TriggerState::Failed;
        trigger.changed_ms = signed(now_ms);
        return;
    }
    let doublings = u32::try_from(trigger.attempts).unwrap_or(0).min(16);
    let wait_ms = (FIRST_WAIT_MS << doublings).min(MAX_WAIT_MS);
    let wait_ms = failure
        .wait_ms
        .map_or(wait_ms, |wanted| wanted.clamp(1000, MAX_WAIT_MS));
    trigger.attempts += 1;
    trigger.next_ms = signed(now_ms.saturating_add(wait_ms));
}

impl Failure {
    /// One that is tried again.
    fn later(reason: String) -> Self {
        Self {
            reason,
            wait_ms: None,
            is_final: false,
        }
    }
}

impl From<Undelivered> for Failure {
    fn from(undelivered: Undelivered) -> Self {
        match undelivered {
            Undelivered::Later { reason, wait_ms } => Self {
                reason,
                wait_ms,
                is_final: false,
            },
            Undelivered::Never { reason } => Self {
                reason,
                wait_ms: None,
                is_final: true,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trigger(attempts: i64, changed_ms: u64) -> RetrainTrigger {
        RetrainTrigger {
            id: "drift-1".to_owned(),
            rule: "drift".to_owned(),
            endpoint: "fraud".to_owned(),
            state: TriggerState::Approved,
            reason: "{}".to_owned(),
            fired_ms: 0,
            changed_ms: signed(changed_ms),
            dataset: "fraud@1".to_owned(),
            dataset_digest: String::new(),
            attempts,
            next_ms: 0,
            problem: String::new(),
            decided_by: String::new(),
            closed_by: String::new(),
        }
    }

    fn failure(is_final: bool, wait_ms: Option<u64>) -> Failure {
        Failure {
            reason: "answered 500".to_owned(),
            wait_ms,
            is_final,
        }
    }

    #[test]
    fn waits_double_up_to_a_limit_and_end() {
        let now_ms = now_ms();
        let wait_s = |attempts, wanted| {
            let mut one = trigger(attempts, now_ms);
            retry(&mut one, failure(false, wanted), 3600);
            assert_eq!(one.attempts, attempts + 1);
            (unsigned(one.next_ms) - now_ms + 500) / 1000
        };
        assert_eq!(
            [wait_s(0, None), wait_s(1, None), wait_s(3, None)],
            [5, 10, 40]
        );
        assert_eq!([wait_s(30, None), wait_s(0, Some(60_000))], [900, 60]);
        let mut old = trigger(3, now_ms - 3_600_000);
        retry(&mut old, failure(false, None), 3600);
        assert_eq!(
            (old.state, old.problem.as_str()),
            (TriggerState::Failed, "answered 500")
        );
        let mut refused = trigger(0, now_ms);
        retry(&mut refused, failure(true, None), 3600);
        assert_eq!(refused.state, TriggerState::Failed);
    }

    #[test]
    fn a_message_names_the_data_set_and_the_reason() {
        let mut one = trigger(0, 0);
        one.reason = r#"{"kind": "drift", "message": "a drifted"}"#.to_owned();
        let value = message(&one);
        assert_eq!(value["dataset"]["name"], "fraud");
        assert_eq!(value["dataset"]["version"], 1);
        assert_eq!(
            (&value["message"], &value["reason"]["kind"]),
            (&"a drifted".into(), &"drift".into())
        );
    }
}
