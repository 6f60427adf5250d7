//! Counting together with the other replicas of a group.
//!
//! The counts of this server go to the store in numbered additions, each of which is made once: one
//! whose outcome is not known is sent again under its number. After a start, the number of the last
//! addition that the store has says which of the persisted counts are in it already.

use std::collections::HashMap;

use tidegate_observe::{Bucket, Counts, Ledger};
use tidegate_store::SharedCount;

use super::Objectives;
use super::persisted::{Membership, PersistedState};

/// An addition that is to be made.
pub(crate) struct Outgoing {
    pub(crate) replica: String,
    pub(crate) number: i64,
    /// The last addition that is known to have been made.
    pub(crate) acknowledged: i64,
    pub(crate) counts: Vec<SharedCount>,
}

impl PersistedState {
    /// Joins a group or leaves it. The server's own counts from before the first group are added to
    /// those of the group; later they cannot be separated from the counts of others.
    pub(super) fn join(&mut self, group: Option<&str>) {
        let before = self.membership.take();
        if before.as_ref().map(|membership| membership.group.as_str()) == group {
            self.membership = before;
            return;
        }
        let was_alone = before.is_none() && !self.was_in_group;
        for (_, own) in self.all() {
            let mut mine = std::mem::take(&mut own.unsent);
            mine.merge(&std::mem::take(&mut own.sending));
            mine.merge(&std::mem::take(&mut own.fresh));
            match group {
                None => own.ledger.merge(&mine),
                Some(_) if was_alone => {
                    mine.merge(&std::mem::take(&mut own.ledger));
                    own.fresh = mine;
                }
                Some(_) => (own.ledger, own.fresh) = (Ledger::default(), mine),
            }
        }
        self.was_in_group = group.is_some() || self.was_in_group;
        self.membership = group.map(|group| Membership {
            group: group.to_owned(),
            // Random, not the server's name: names may repeat, and a replica's numbers must not.
            replica: format!("{:016x}", fastrand::u64(..)),
            addition: 0,
            is_reconciled: false,
        });
    }

    /// Receives the number of the last addition that the store has.
    fn reconcile(&mut self, last_addition: i64) {
        let Some(membership) = &mut self.membership else {
            return;
        };
        let (is_sent, has_more) = (
            last_addition >= membership.addition,
            last_addition > membership.addition,
        );
        membership.addition = membership.addition.max(last_addition);
        membership.is_reconciled = true;
        for (_, own) in self.all() {
            if is_sent {
                own.sending = Ledger::default();
            }
            // The store is ahead of the state file: an addition was made after the file was written.
            if has_more {
                own.unsent = Ledger::default();
            }
            own.unsent.merge(&std::mem::take(&mut own.fresh));
        }
    }

    /// The addition that is on its way; a new one if there is none.
    fn outgoing(&mut self) -> Option<Outgoing> {
        // An addition whose outcome is unknown is sent again as it was, under its number.
        if self.all().all(|(_, own)| own.sending.is_empty()) {
            let mut has_any = false;
            for (_, own) in self.all() {
                own.sending = std::mem::take(&mut own.unsent);
                has_any |= !own.sending.is_empty();
            }
            self.membership.as_mut()?.addition += i64::from(has_any);
        }
        let mut counts = Vec::new();
        for (objective, own) in self.all() {
            counts.extend(own.sending.iter().map(|bucket| shared(&objective, bucket)));
        }
        let is_under_way = self.all().any(|(_, own)| !own.sending.is_empty());
        let Membership {
            replica, addition, ..
        } = self.membership.as_ref()?;
        Some(Outgoing {
            replica: replica.clone(),
            number: *addition,
            acknowledged: addition - i64::from(is_under_way),
            counts,
        })
    }

    /// What the group had counted when this replica last heard of it.
    fn known(&mut self) -> Vec<SharedCount> {
        let mut known = Vec::new();
        for (objective, own) in self.all() {
            known.extend(own.ledger.iter().map(|bucket| shared(&objective, bucket)));
        }
        known
    }

    /// Takes in what the group has counted by now, and that it has the last addition.
    fn receive(&mut self, counts: Vec<SharedCount>) {
        let mut by_name: HashMap<String, _> = self.all().collect();
        for own in by_name.values_mut() {
            own.sending = Ledger::default();
        }
        for count in counts {
            if let (Some(own), Some(bucket)) = (by_name.get_mut(&count.objective), bucket(&count)) {
                // More than the store has is known where the store was restored from a backup.
                own.ledger.raise(bucket);
            }
        }
    }
}

impl Objectives {
    /// The id of this server in its group.
    pub(crate) fn replica(&self) -> Option<String> {
        self.state
            .lock()
            .membership
            .as_ref()
            .map(|membership| membership.replica.clone())
    }

    /// Receives the number of the last addition of this replica that the store has, and writes it.
    pub(crate) async fn reconcile(&self, last_addition: i64) {
        self.state.lock().reconcile(last_addition);
        self.persist().await;
    }

    /// The counts to add to those of the group.
    pub(crate) fn outgoing(&self) -> Option<Outgoing> {
        self.state.lock().outgoing()
    }

    /// What the group had counted when this replica last heard of it.
    pub(crate) fn known(&self) -> Vec<SharedCount> {
        self.state.lock().known()
    }

    /// Takes in what the group has counted by now, the last addition among it.
    pub(crate) fn receive(&self, counts: Vec<SharedCount>) {
        self.state.lock().receive(counts);
    }
}

fn shared(objective: &str, bucket: Bucket) -> SharedCount {
    let Bucket {
        width_ms,
        index,
        counts,
    } = bucket;
    SharedCount {
        objective: objective.to_owned(),
        width_ms: signed(width_ms),
        bucket: i64::from(index),
        good: signed(counts.good),
        total: signed(counts.total),
    }
}

/// As databases count.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// `None` for a value that no replica writes.
fn bucket(count: &SharedCount) -> Option<Bucket> {
    let total = u64::try_from(count.total).ok()?;
    let good = u64::try_from(count.good).ok()?.min(total);
    let (width_ms, index) = (
        u64::try_from(count.width_ms).ok()?,
        u32::try_from(count.bucket).ok()?,
    );
    Some(Bucket {
        width_ms,
        index,
        counts: Counts { good, total },
    })
}

#[cfg(test)]
mod tests;
