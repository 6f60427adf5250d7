//! What people were told of the alerts that all replicas of a group have, shared among them: if the
//! one that told is gone, another one tells the end of it.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_observe::alerting::{Alert, Dispatch, OpenNotification};

use super::Alerting;
use crate::group_notes::GroupNote;

/// How long a replica sends alerts before it ends what its predecessor told: by then it has
/// evaluated the group's counts itself.
const TAKE_OVER_MS: u64 = 10_000;

/// Most ended notifications that are remembered.
const MAX_ENDED: usize = 1000;

/// What the replica that sends alerts has told, as the others know it.
#[derive(Debug, Default)]
pub(super) struct SharedNotifications {
    /// By [`OpenNotification::key`].
    open: BTreeMap<String, OpenNotification>,
    /// Since when this replica sends the alerts.
    sender_since_ms: Option<u64>,
    /// What this replica has shared and ended since: its own notes come back to it late.
    ended: BTreeMap<String, OpenNotification>,
}

impl SharedNotifications {
    /// Takes in what another replica has told; `None` where it has told the end.
    pub(super) fn apply(&mut self, key: &str, open: Option<OpenNotification>) {
        match open {
            Some(open) if self.ended.get(key) == Some(&open) => {}
            Some(open) => drop(self.open.insert(key.to_owned(), open)),
            None => drop(self.open.remove(key)),
        }
    }

    /// Notes whether this replica sends the alerts. Once it does for a while, it takes over what
    /// others have told of alerts that do not fire.
    pub(super) fn take_over(
        &mut self,
        dispatch: &mut Dispatch,
        alerts: &[Alert],
        is_sender: bool,
        now_ms: u64,
    ) {
        if !is_sender {
            self.sender_since_ms = None;
            return;
        }
        self.sender_since_ms.get_or_insert(now_ms);
        if !self.has_taken_over(now_ms) {
            return;
        }
        let firing = alerts.iter().filter(|alert| alert.is_firing());
        let firing: BTreeSet<String> = firing.map(Alert::fingerprint).collect();
        for open in self.open.values() {
            let mut open = open.clone();
            // What fires is sent by this replica itself.
            open.alerts.retain(|key, _| !firing.contains(key));
            if !open.alerts.is_empty() {
                dispatch.adopt(open, now_ms);
            }
        }
    }

    /// What the other replicas are to be told of changes since the last time.
    pub(super) fn changes(&mut self, dispatch: &Dispatch, now_ms: u64) -> Vec<GroupNote> {
        if !self.has_taken_over(now_ms) {
            return Vec::new();
        }
        let open = dispatch.open_notifications(is_shared);
        let open: BTreeMap<_, _> = open.map(|open| (open.key(), open)).collect();
        let known = std::mem::take(&mut self.open).into_iter();
        let (lasting, ended): (BTreeMap<_, _>, BTreeMap<_, _>) =
            known.partition(|(key, _)| open.contains_key(key));
        let keys = ended.keys().cloned();
        let mut notes: Vec<GroupNote> = keys.map(GroupNote::NotificationEnded).collect();
        if self.ended.len() >= MAX_ENDED {
            self.ended.clear();
        }
        self.ended.extend(ended);
        let changed = open
            .iter()
            .filter(|(key, open)| lasting.get(*key) != Some(*open));
        notes.extend(changed.map(|(_, open)| GroupNote::Notified(open.clone())));
        self.open = open;
        notes
    }

    fn has_taken_over(&self, now_ms: u64) -> bool {
        self.sender_since_ms
            .is_some_and(|since_ms| now_ms.saturating_sub(since_ms) >= TAKE_OVER_MS)
    }
}

/// Whether all replicas have an alert; every other one is about one replica alone.
fn is_shared(alert: &Alert) -> bool {
    !alert.label("slo").is_empty()
}

impl Alerting {
    /// Takes in what another replica has told people; `None` where it has told the end.
    pub(crate) fn apply_notification(&self, key: &str, open: Option<OpenNotification>) {
        self.state.lock().shared.apply(key, open);
    }
}

#[cfg(test)]
mod tests {
    use tidegate_observe::alerting::{Message, MessageStatus, Route, Timing, TriagedAlert};
    use tidegate_observe::{AlertState, Severity};

    use super::*;

    fn route() -> Route {
        Route {
            name: "us".to_owned(),
            severities: vec![Severity::Page],
            matchers: Vec::new(),
            timing: Timing {
                group_by: vec!["slo".to_owned()],
                group_wait_ms: 0,
                group_interval_ms: 0,
                repeat_interval_ms: 3_600_000,
                max_messages_per_hour: 100,
            },
        }
    }

    fn alert() -> Alert {
        let labels = [
            ("alertname", "burn"),
            ("severity", "page"),
            ("slo", "available"),
        ];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Alert {
            labels: labels.into_iter().collect(),
            annotations: BTreeMap::new(),
            state: AlertState::Firing { since_ms: 0 },
            fired_ms: None,
        }
    }

    fn step(dispatch: &mut Dispatch, alerts: &[Alert], now_ms: u64) -> Vec<Message> {
        let triaged: Vec<TriagedAlert> = alerts
            .iter()
            .map(|alert| TriagedAlert {
                alert: alert.clone(),
                suppression: None,
            })
            .collect();
        dispatch.step(&[route()], &triaged, now_ms).messages
    }

    #[test]
    fn a_replica_that_takes_over_ends_what_its_predecessor_told() {
        let (mut dispatch, mut teller) = (Dispatch::default(), SharedNotifications::default());
        teller.take_over(&mut dispatch, &[alert()], true, 0);
        assert_eq!(step(&mut dispatch, &[alert()], 20_000).len(), 1);
        let notes = teller.changes(&dispatch, 20_000);
        let [GroupNote::Notified(open)] = notes.as_slice() else {
            panic!("{notes:?}")
        };
        assert!(teller.changes(&dispatch, 25_000).is_empty(), "nothing new");

        // Another replica hears of it. Then the first one is gone, and the alert with it.
        let (mut dispatch, mut other) = (Dispatch::default(), SharedNotifications::default());
        other.apply(&open.key(), Some(open.clone()));
        other.take_over(&mut dispatch, &[], false, 30_000);
        assert!(
            other.changes(&dispatch, 30_000).is_empty(),
            "it is not the sender"
        );
        other.take_over(&mut dispatch, &[], true, 35_000);
        assert!(step(&mut dispatch, &[], 35_000).is_empty());
        assert!(other.changes(&dispatch, 35_000).is_empty());
        other.take_over(&mut dispatch, &[], true, 45_000);
        let messages = step(&mut dispatch, &[], 45_000);
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].status, MessageStatus::Resolved);
        let notes = other.changes(&dispatch, 45_000);
        assert!(
            matches!(notes.as_slice(), [GroupNote::NotificationEnded(key)] if *key == open.key())
        );
        other.take_over(&mut dispatch, &[], true, 50_000);
        assert!(step(&mut dispatch, &[], 50_000).is_empty(), "once");
    }

    #[test]
    fn what_still_fires_is_not_ended() {
        let (mut dispatch, mut shared) = (Dispatch::default(), SharedNotifications::default());
        step(&mut dispatch, &[alert()], 0);
        let open = dispatch.open_notifications(is_shared).next().unwrap();
        let mut dispatch = Dispatch::default();
        shared.apply(&open.key(), Some(open));
        shared.take_over(&mut dispatch, &[alert()], true, 0);
        shared.take_over(&mut dispatch, &[alert()], true, 60_000);
        let messages = step(&mut dispatch, &[alert()], 60_000);
        assert_eq!(messages[0].status, MessageStatus::Firing);
    }
}
