//! Dispatch: which messages are sent now. Groups alerts, waits, repeats, limits, and sends nothing
//! twice.

mod group;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use self::group::{Group, GroupUpdate};
use super::alert::fingerprint;
use super::{Alert, Message, Route, TriagedAlert};
use crate::window::HOUR_MS;

/// The state of every route: which alerts were notified, and when. Serializable, so that a restart
/// neither loses nor repeats messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Dispatch(BTreeMap<String, RouteState>);

/// The state of one route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct RouteState {
    groups: BTreeMap<String, Group>,
    /// When the messages of the last hour were made.
    sent_ms: VecDeque<u64>,
}

/// What one route has told people of one group of alerts, and not yet that it ended. Replicas share
/// it, so that another one can tell the end of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenNotification {
    /// The route's name.
    pub route: String,
    /// The labels that the alerts are grouped by.
    pub labels: BTreeMap<String, String>,
    /// The alerts that were sent as firing and not yet as resolved, by fingerprint.
    pub alerts: BTreeMap<String, Alert>,
}

impl OpenNotification {
    /// The same on every replica for the same group of the same route.
    pub fn key(&self) -> String {
        group::message_group(&self.route, &fingerprint(&self.labels))
    }
}

/// The result of one [`Dispatch::step`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dispatched {
    /// The messages to send now.
    pub messages: Vec<Message>,
    /// How many more the limits of the routes deferred. They are made again once the limit allows it.
    pub limited: u64,
}

impl Dispatch {
    /// Decides what is sent now. `alerts` are all alerts that fire or resolved recently.
    pub fn step(&mut self, routes: &[Route], alerts: &[TriagedAlert], now_ms: u64) -> Dispatched {
        self.0
            // A route that comes back later must not remember what it sent before it was removed.
            .retain(|name, _| routes.iter().any(|route| route.name == *name));
        let mut dispatched = Dispatched::default();
        for route in routes {
            let state = self.0.entry(route.name.clone()).or_default();
            state.step(route, alerts, now_ms, &mut dispatched);
        }
        dispatched
    }
}

impl Dispatch {
    /// What people were told and still wait for the end of, as far as `accepts` says so.
    pub fn open_notifications(
        &self,
        accepts: impl Fn(&Alert) -> bool,
    ) -> impl Iterator<Item = OpenNotification> {
        let groups = self.0.iter().flat_map(|(route, state)| {
            let groups = state.groups.values();
            groups.map(move |group| (route, group))
        });
        groups.filter_map(move |(route, group)| {
            let alerts = group.notified(&accepts);
            (!alerts.is_empty()).then(|| OpenNotification {
                route: route.clone(),
                labels: group.labels().clone(),
                alerts,
            })
        })
    }

    /// Takes over what another replica has told and cannot tell the end of any more. The next step
    /// sends the end of those that do not fire.
    pub fn adopt(&mut self, open: OpenNotification, now_ms: u64) {
        let state = self.0.entry(open.route).or_default();
        let group = state
            .groups
            .entry(fingerprint(&open.labels))
            .or_insert_with(|| Group::new(open.labels, now_ms));
        group.adopt(open.alerts);
    }
}

impl RouteState {
    fn step(
        &mut self,
        route: &Route,
        alerts: &[TriagedAlert],
        now_ms: u64,
        dispatched: &mut Dispatched,
    ) {
        self.sent_ms
            .retain(|sent_ms| now_ms.saturating_sub(*sent_ms) < HOUR_MS);
        let accepted: Vec<&TriagedAlert> = alerts
            .iter()
            .filter(|triaged| route.accepts(triaged))
            .collect();
        self.open_groups(route, &accepted, now_ms);
        for (key, update) in self.due_updates(route, &accepted, now_ms) {
            let Some(group) = self.groups.get_mut(&key) else {
                continue;
            };
            if self.sent_ms.len() >= route.timing.max_messages_per_hour {
                group.defer(now_ms);
                dispatched.limited += 1;
            } else {
                self.sent_ms.push_back(now_ms);
                let message = group.message(update, route, &key, now_ms);
                dispatched.messages.push(message);
            }
        }
        self.groups
            .retain(|_, group| !group.is_done(&route.timing, now_ms));
    }

    /// Opens a group for each combination of group labels that has a firing alert. An alert that is
    /// suppressed or resolved opens none.
    fn open_groups(&mut self, route: &Route, alerts: &[&TriagedAlert], now_ms: u64) {
        for triaged in alerts.iter().filter(|triaged| triaged.is_unsuppressed()) {
            let labels = group_labels(&route.timing.group_by, triaged);
            self.groups
                .entry(fingerprint(&labels))
                .or_insert_with(|| Group::new(labels, now_ms));
        }
    }

    /// The groups that have something to send, the most important first.
    fn due_updates(
        &self,
        route: &Route,
        alerts: &[&TriagedAlert],
        now_ms: u64,
    ) -> Vec<(String, GroupUpdate)> {
        let mut due = Vec::new();
        for (key, group) in &self.groups {
            let members = alerts.iter().copied();
            let members: Vec<&TriagedAlert> = members
                .filter(|triaged| group.has(&group_labels(&route.timing.group_by, triaged)))
                .collect();
            if let Some(update) = group.update(&members, &route.timing, now_ms) {
                due.push((group.sent_ms(), key.clone(), update));
            }
        }
        // If the limit does not allow all of them, new alerts go before repeated ones, and groups
        // that waited longest go first.
        due.sort_by_key(|(sent_ms, _, update)| (update.is_repeat, *sent_ms));
        due.into_iter()
            .map(|(_, key, update)| (key, update))
            .collect()
    }
}

fn group_labels(names: &[String], triaged: &TriagedAlert) -> BTreeMap<String, String> {
    names
        .iter()
        .map(|name| (name.clone(), triaged.alert.label(name).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests;
