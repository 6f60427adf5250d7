//! One exchange with the store: changes of this replica are sent, those of others are applied.

use std::time::{Duration, Instant};

use tidegate_observe::Ledger;
use tidegate_store::{Addition, Note, Store, StoreError, Tier};
use tracing::{info, warn};

use super::{ALERTS_LEASE, Member};
use crate::alerting::OtherSender;
use crate::clock;
use crate::group_notes::GroupNote;

/// Exchanges that the replica that sends alerts may miss before another one does…
const LEASE_EXCHANGES: u32 = 3;
/// …and the shortest time after which one does.
const SHORTEST_LEASE: Duration = Duration::from_secs(5);
/// How long ago a replica may have exchanged to count as running.
const SEEN_WITHIN_MS: i64 = 60_000;
/// Every so many exchanges the store is pruned.
const PRUNE_EVERY: u64 = 60;
/// Counts of this age are removed: a bit more than the longest window of an objective, 90 days.
const LONGEST_MS: i64 = 91 * 86_400_000;

impl Member {
    pub(super) async fn exchange(&self) -> Result<(), StoreError> {
        let store = self.store().await?;
        // Up to now, not up to the last time that objectives were evaluated.
        self.objectives.count();
        let Some(outgoing) = self.objectives.outgoing() else {
            return Ok(());
        };
        // First: the lease must be renewed in time even where sending counts takes long.
        self.hold_lease(&store, &outgoing.replica).await?;
        let addition = Addition {
            group: &self.group,
            replica: &outgoing.replica,
            name: &self.name,
            number: outgoing.number,
            acknowledged: outgoing.acknowledged,
            seen: self.state.lock().seen,
            counts: &outgoing.counts,
        };
        if !store.add_counts(addition).await? {
            self.restore_counts(&store, addition).await?;
            // Nothing of the database as it is now was read yet.
            let addition = Addition {
                seen: 0,
                ..addition
            };
            store.add_counts(addition).await?;
        }
        self.send_notes(&store).await?;

        let seen = self.first_unread_change();
        let mut news = store.shared_news(&self.group, seen).await?;
        let is_other_history = {
            let state = self.state.lock();
            state.exchanges > 0 && state.epoch != news.epoch
        };
        if news.change < seen || is_other_history {
            // It is another database than before, or an older state of it.
            news = store.shared_news(&self.group, 0).await?;
        }
        self.objectives.receive(news.counts);
        for note in news.notes {
            self.apply(&note).await;
        }

        let replicas = store.replicas(&self.group, SEEN_WITHIN_MS).await?;
        let exchanges = {
            let mut state = self.state.lock();
            state.seen = news.change;
            state.epoch = news.epoch;
            state.replicas = replicas;
            state.exchanged_ms = Some(clock::now_ms());
            state.exchanges += 1;
            state.exchanges
        };
        // Only now is the name of a replica known that has sent alerts since this exchange.
        self.publish_alert_sender();
        // The first exchange prunes too: a server that restarts often would never reach another.
        if exchanges % PRUNE_EVERY == 1 {
            store
                .prune_shared(&self.group, &tiers(), LONGEST_MS)
                .await?;
        }
        Ok(())
    }

    /// Gives the database what this replica knows of the group's counts.
    async fn restore_counts(
        &self,
        store: &Store,
        addition: Addition<'_>,
    ) -> Result<(), StoreError> {
        let group = &self.group;
        warn!(
            group,
            "the database of the group was restored or replaced: this server writes its known counts to it"
        );
        store.raise_counts(addition, &self.objectives.known()).await
    }

    /// The open database. The first time, the last addition that it has is compared with the state
    /// file of objectives.
    async fn store(&self) -> Result<Store, StoreError> {
        let open = self.state.lock().store.clone();
        if let Some(store) = open {
            store.check_file()?;
            return Ok(store);
        }
        let store = Store::open(&self.database).await?;
        if let Some(replica) = self.objectives.replica() {
            let last_addition = store.last_addition(&self.group, &replica).await?;
            self.objectives.reconcile(last_addition).await;
        }
        self.state.lock().store = Some(store.clone());
        Ok(store)
    }

    /// Takes the lease of sending alerts if nobody has it.
    async fn hold_lease(&self, store: &Store, replica: &str) -> Result<(), StoreError> {
        let length = (LEASE_EXCHANGES * self.exchange_every).max(SHORTEST_LEASE);
        // The lease may begin as soon as the store is asked: until then it is certain.
        let until = Instant::now() + length;
        let length_ms = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        let sender = store
            .hold_lease(&self.group, ALERTS_LEASE, replica, length_ms)
            .await?;
        {
            let mut state = self.state.lock();
            replica.clone_into(&mut state.own);
            let before = state.alert_sender.replace((sender, until));
            let was_own = before.is_some_and(|(before, _)| before == replica);
            if state.alert_sender() == Some(replica) && !was_own {
                info!(
                    group = self.group,
                    "this server sends the alerts of the group"
                );
            }
        }
        self.publish_alert_sender();
        Ok(())
    }

    /// Informs alerting which other replica sends the alerts of the group.
    fn publish_alert_sender(&self) {
        let other = {
            let state = self.state.lock();
            let sender = state.alert_sender.as_ref();
            sender
                .filter(|(sender, _)| *sender != state.own)
                .map(|(sender, until)| OtherSender {
                    name: state.name_of(sender),
                    until: *until,
                })
        };
        self.alerting.set_other_sender(other);
    }

    async fn send_notes(&self, store: &Store) -> Result<(), StoreError> {
        for note in self.outbox.waiting() {
            store.leave_note(&self.group, &note).await?;
            self.outbox.sent(&note);
        }
        Ok(())
    }

    /// The change after which to read.
    fn first_unread_change(&self) -> i64 {
        if self.outbox.take_reread_counts() {
            0
        } else {
            self.state.lock().seen
        }
    }

    /// Applies a note of another replica. One of this replica's own changes nothing.
    async fn apply(&self, note: &Note) {
        if let Err(problem) = self.try_to_apply(note).await {
            warn!(
                kind = note.kind,
                name = note.name,
                problem,
                "a change of another replica cannot be applied here"
            );
        }
    }

    async fn try_to_apply(&self, note: &Note) -> Result<(), String> {
        let note = GroupNote::read(note).map_err(|error| error.to_string())?;
        match note {
            Some(GroupNote::Silence(silence)) => {
                self.alerting.apply_silence(silence, clock::now_ms()).await;
            }
            // Where the objective is another one, nothing waits.
            Some(GroupNote::Thaw { slo, thaw }) => {
                let _ = self.objectives.apply_thaw(&slo, &thaw).await;
            }
            Some(GroupNote::Objective(objective)) => self
                .objectives
                .apply_objective(objective)
                .await
                .map_err(|error| error.to_string())?,
            // A replica that does not have it has nothing to do.
            Some(GroupNote::ObjectiveRemoved(name)) => {
                let _ = self.objectives.apply_removal(&name).await;
            }
            Some(GroupNote::Notified(open)) => {
                self.alerting.apply_notification(&open.key(), Some(open));
            }
            Some(GroupNote::NotificationEnded(key)) => {
                self.alerting.apply_notification(&key, None);
            }
            // A newer build may know what this is.
            None => {}
        }
        Ok(())
    }
}

/// The buckets that the store keeps: as many as a ledger.
fn tiers() -> [Tier; 3] {
    Ledger::TIERS.map(|(width_ms, buckets)| Tier {
        width_ms: i64::try_from(width_ms).unwrap_or(i64::MAX),
        buckets: i64::try_from(buckets).unwrap_or(i64::MAX),
    })
}
