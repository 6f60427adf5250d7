//! A group: the alerts that one route sends together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::AlertState;
use crate::alerting::alert::fingerprint;
use crate::alerting::{Alert, Message, MessageStatus, Route, Timing, TriagedAlert};

/// Maximum number of alerts in one message.
const MAX_ALERTS: usize = 100;

// The serialized names are those of earlier state files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Group {
    labels: BTreeMap<String, String>,
    /// When its first alert came.
    since_ms: u64,
    /// When it last had something to send, whether the limit allowed it or not.
    flushed_ms: Option<u64>,
    /// When its last message was made.
    #[serde(rename = "told_ms")]
    sent_ms: Option<u64>,
    /// Alerts that were sent as firing and not yet as resolved, by fingerprint.
    #[serde(rename = "told")]
    notified: BTreeMap<String, Alert>,
    held_back: u64,
}

/// What a group has to send.
pub(super) struct GroupUpdate {
    firing: Vec<Alert>,
    resolved: Vec<Alert>,
    /// Whether it repeats the last message.
    pub(super) is_repeat: bool,
}

impl Group {
    pub(super) fn new(labels: BTreeMap<String, String>, now_ms: u64) -> Self {
        Self {
            labels,
            since_ms: now_ms,
            flushed_ms: None,
            sent_ms: None,
            notified: BTreeMap::new(),
            held_back: 0,
        }
    }

    pub(super) fn has(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels == *labels
    }

    pub(super) fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// The alerts that were sent as firing and not yet as resolved.
    pub(super) fn notified(&self, accepts: &impl Fn(&Alert) -> bool) -> BTreeMap<String, Alert> {
        let notified = self.notified.iter();
        notified
            .filter(|(_, alert)| accepts(alert))
            .map(|(key, alert)| (key.clone(), alert.clone()))
            .collect()
    }

    /// Adds alerts that another replica has sent as firing.
    pub(super) fn adopt(&mut self, alerts: BTreeMap<String, Alert>) {
        for (key, alert) in alerts {
            self.notified.entry(key).or_insert(alert);
        }
    }

    pub(super) fn sent_ms(&self) -> Option<u64> {
        self.sent_ms
    }

    /// What is to be sent now, if anything.
    pub(super) fn update(
        &self,
        members: &[&TriagedAlert],
        timing: &Timing,
        now_ms: u64,
    ) -> Option<GroupUpdate> {
        if now_ms < self.due_ms(timing) {
            return None;
        }
        let unsuppressed = members.iter().filter(|triaged| triaged.is_unsuppressed());
        let firing: Vec<Alert> = unsuppressed.map(|triaged| triaged.alert.clone()).collect();
        // Somebody was notified of these and waits for their end. So it is sent even if the alert is
        // suppressed meanwhile, or does not exist any more.
        let resolved: Vec<Alert> = self
            .notified
            .iter()
            .filter_map(|(key, notified)| resolved(key, notified, members, now_ms))
            .collect();
        let is_repeat = resolved.is_empty() && firing.iter().all(|alert| self.has_notified(alert));
        if is_repeat && (firing.is_empty() || !self.repeats(timing, now_ms)) {
            return None;
        }
        Some(GroupUpdate {
            firing,
            resolved,
            is_repeat,
        })
    }

    /// The route's limit does not allow a message now.
    pub(super) fn defer(&mut self, now_ms: u64) {
        // As if it had been sent: else it would try again every time, and count as deferred each
        // time.
        self.flushed_ms = Some(now_ms);
        self.held_back += 1;
    }

    /// Makes the message of an update, and remembers what was sent.
    pub(super) fn message(
        &mut self,
        update: GroupUpdate,
        route: &Route,
        key: &str,
        now_ms: u64,
    ) -> Message {
        self.remember(&update, now_ms);
        let status = match update.firing.is_empty() {
            true => MessageStatus::Resolved,
            false => MessageStatus::Firing,
        };
        let mut alerts = update.firing;
        alerts.extend(update.resolved);
        let left_out = alerts.len().saturating_sub(MAX_ALERTS);
        // Firing ones come first, so resolved ones are cut first.
        alerts.truncate(MAX_ALERTS);
        let group = message_group(&route.name, key);
        Message {
            // A group sends at most one message at a moment, so this is unique.
            id: format!("{group}-{now_ms}"),
            route: route.name.clone(),
            group,
            group_labels: self.labels.clone(),
            status,
            alerts,
            left_out,
            held_back: std::mem::take(&mut self.held_back),
            at_ms: now_ms,
        }
    }

    /// Whether the group can be removed: nobody waits for a resolution, and a new alert would not
    /// have to wait for the interval.
    pub(super) fn is_done(&self, timing: &Timing, now_ms: u64) -> bool {
        self.notified.is_empty() && now_ms >= self.due_ms(timing)
    }

    /// When the group may send its next message.
    fn due_ms(&self, timing: &Timing) -> u64 {
        match self.flushed_ms {
            None => self.since_ms.saturating_add(timing.group_wait_ms),
            Some(flushed_ms) => flushed_ms.saturating_add(timing.group_interval_ms),
        }
    }

    fn repeats(&self, timing: &Timing, now_ms: u64) -> bool {
        self.sent_ms
            .is_none_or(|sent_ms| now_ms >= sent_ms.saturating_add(timing.repeat_interval_ms))
    }

    fn has_notified(&self, alert: &Alert) -> bool {
        self.notified.contains_key(&alert.fingerprint())
    }

    fn remember(&mut self, update: &GroupUpdate, now_ms: u64) {
        (self.flushed_ms, self.sent_ms) = (Some(now_ms), Some(now_ms));
        for alert in &update.resolved {
            self.notified.remove(&alert.fingerprint());
        }
        for alert in &update.firing {
            self.notified.insert(alert.fingerprint(), alert.clone());
        }
    }
}

/// The same on every server for the same group of the same route: receivers such as PagerDuty use it
/// as the key of an incident.
pub(super) fn message_group(route: &str, key: &str) -> String {
    fingerprint(&BTreeMap::from([
        ("route".to_owned(), route.to_owned()),
        ("group".to_owned(), key.to_owned()),
    ]))
}

/// The resolved form of an alert that was sent as firing; `None` while it fires.
fn resolved(key: &str, notified: &Alert, members: &[&TriagedAlert], now_ms: u64) -> Option<Alert> {
    let member = members
        .iter()
        .find(|triaged| triaged.alert.fingerprint() == key);
    match member {
        Some(triaged) if triaged.alert.is_firing() => None,
        Some(triaged) if triaged.alert.resolved_ms().is_some() => Some(Alert {
            // A resolved alert does not say since when it fired; the one that was sent does.
            fired_ms: notified.fired_ms,
            ..triaged.alert.clone()
        }),
        _ => Some(Alert {
            state: AlertState::Resolved { since_ms: now_ms },
            ..notified.clone()
        }),
    }
}
