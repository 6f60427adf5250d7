//! Looking at the rules: which of them fire.

use serde_json::{Value, json};
use tidegate_observe::Event;
use tidegate_observe::alerting::rfc3339;
use tidegate_store::{AuditEntry, RetrainTrigger, Store, StoreError, TriggerState};
use tracing::info;

use super::config::{RetrainConfig, RetrainRule};
use super::reason::{Facts, Reason};
use super::{Retraining, signed, unsigned};
use crate::clock::now_ms;

const WEEK_MS: u64 = 7 * 24 * 3_600_000;
/// Triggers of a rule that are looked at: a rule has few that are not over.
const LAST_TRIGGERS: u16 = 100;

impl Retraining {
    pub(super) async fn look_at_rules(&self, store: &Store) -> Result<(), String> {
        for rule in &self.rules {
            let looking = self.look_at(store, rule);
            looking.await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn look_at(&self, store: &Store, rule: &RetrainRule) -> Result<(), StoreError> {
        let config = &rule.config;
        let now_ms = now_ms();
        let triggers = store.triggers(Some(&config.name), LAST_TRIGGERS).await?;
        let facts = self.facts(store, config, triggers.first(), now_ms).await?;
        let Some(reason) = Reason::of(config, &facts) else {
            let mut state = self.state.lock();
            state.reason_since_ms.remove(&config.name);
            state.held_back.remove(&config.name);
            return Ok(());
        };
        if !self.has_lasted(config, now_ms) {
            return Ok(());
        }
        match held_back(store, config, &triggers, now_ms).await? {
            Some(why) => {
                self.hold_back(config, &reason, why, now_ms).await;
                Ok(())
            }
            None => self.fire(store, config, &reason, &triggers).await,
        }
    }

    async fn facts(
        &self,
        store: &Store,
        config: &RetrainConfig,
        last: Option<&RetrainTrigger>,
        now_ms: u64,
    ) -> Result<Facts, StoreError> {
        let quality = &self.context.quality;
        let fired_ms = last.map(|trigger| trigger.fired_ms);
        let since_ms = match fired_ms {
            Some(fired_ms) => fired_ms,
            None => store.rule_since(&config.name).await?,
        };
        let new_labels = match config.new_labels {
            None => 0,
            Some(wanted) => {
                let store = quality.store().await;
                // The database of labels may be another one.
                let store = store.map_err(|error| StoreError::Unavailable(error.to_string()))?;
                let counting = store.labels_after(&config.endpoint, since_ms, signed(wanted));
                counting.await?
            }
        };
        let drifted_after_ms = unsigned(fired_ms.unwrap_or(0));
        Ok(Facts {
            now_ms,
            since_ms: unsigned(since_ms),
            drift: quality.drifted(&config.endpoint, drifted_after_ms),
            measured: quality.measured(&config.endpoint, &config.accuracy_metric),
            estimated: quality.estimated(&config.endpoint, &config.accuracy_metric),
            new_labels: unsigned(new_labels),
        })
    }

    /// Whether there has been a reason for long enough.
    fn has_lasted(&self, config: &RetrainConfig, now_ms: u64) -> bool {
        let mut state = self.state.lock();
        let since_ms = state.reason_since_ms.entry(config.name.clone());
        let since_ms = *since_ms.or_insert(now_ms);
        now_ms.saturating_sub(since_ms) >= config.debounce_s.saturating_mul(1000)
    }

    /// Tells once why a rule with a reason does not fire.
    async fn hold_back(&self, config: &RetrainConfig, reason: &Reason, why: String, now_ms: u64) {
        let before = self
            .state
            .lock()
            .held_back
            .insert(config.name.clone(), why.clone());
        if before.as_ref() == Some(&why) {
            return;
        }
        info!(rule = config.name, why, "a rule of retraining is held back");
        let event = Event::new("retrain.held_back", now_ms)
            .about(&config.endpoint, "")
            .with("rule", config.name.as_str())
            .with("why", why)
            .with("reason", reason.message.as_str());
        self.context.events.record(event).await;
    }

    async fn fire(
        &self,
        store: &Store,
        config: &RetrainConfig,
        reason: &Reason,
        earlier: &[RetrainTrigger],
    ) -> Result<(), StoreError> {
        let actor = format!("retrain:{}", config.name);
        let mut write = store.write(&actor).await?;
        let fired_ms = write.now_ms();
        let trigger = RetrainTrigger {
            id: trigger_id(&config.name, unsigned(fired_ms)),
            rule: config.name.clone(),
            endpoint: config.endpoint.clone(),
            state: TriggerState::Preparing,
            reason: reason.to_json().to_string(),
            fired_ms,
            changed_ms: fired_ms,
            dataset: String::new(),
            dataset_digest: String::new(),
            attempts: 0,
            next_ms: 0,
            problem: String::new(),
            decided_by: String::new(),
            closed_by: String::new(),
        };
        write.add_trigger(&trigger).await?;
        for open in earlier.iter().filter(|one| one.state == TriggerState::Open) {
            let superseded = RetrainTrigger {
                state: TriggerState::Superseded,
                changed_ms: fired_ms,
                ..open.clone()
            };
            write
                .change_trigger(TriggerState::Open, &superseded)
                .await?;
        }
        let entry = AuditEntry::new(&actor, "retrain.fire", "ok").about("trigger", &trigger.id);
        let entry = entry.with_states(&Value::Null, &json!({"reason": reason.to_json()}));
        write.append_audit(&entry).await?;
        write.commit().await?;
        self.state.lock().reason_since_ms.remove(&config.name);
        self.state.lock().held_back.remove(&config.name);
        info!(
            rule = config.name,
            trigger = trigger.id,
            reason = reason.message,
            "retraining"
        );
        self.tell(store, &trigger).await
    }
}

/// Why a rule with a reason does not fire, if it does not.
async fn held_back(
    store: &Store,
    config: &RetrainConfig,
    triggers: &[RetrainTrigger],
    now_ms: u64,
) -> Result<Option<String>, StoreError> {
    if let Some(pending) = triggers.iter().find(|one| one.state.is_pending()) {
        let state = pending.state.name();
        return Ok(Some(format!("its trigger {} is {state}", pending.id)));
    }
    if let Some(last) = triggers.first() {
        let until_ms = unsigned(last.fired_ms).saturating_add(config.cooldown_s * 1000);
        if now_ms < until_ms {
            return Ok(Some(format!("it cools down until {}", rfc3339(until_ms))));
        }
    }
    let week_ms = signed(now_ms.saturating_sub(WEEK_MS));
    let fired = unsigned(store.fired_since(&config.name, week_ms).await?);
    Ok((fired >= config.max_per_week)
        .then(|| format!("it fired {fired} times in seven days, which is all it may")))
}

/// Names sort by time, and are short enough to be typed: `drift-20261128T035501Z`.
fn trigger_id(rule: &str, fired_ms: u64) -> String {
    let time = rfc3339(fired_ms);
    let digits = time.split('.').next().unwrap_or_default();
    let digits = digits.replace(['-', ':'], "");
    format!("{rule}-{digits}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_trigger_has_its_time() {
        let id = trigger_id("drift", 1_795_833_301_250);
        assert_eq!(id, "drift-20261128T023501Z");
    }
}
