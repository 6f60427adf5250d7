//! Who is told what, and when: grouping, waiting, repeating, and not telling anything twice.

mod group;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use self::group::{Group, News};
use super::{Judged, Matcher};
use crate::Severity;
use crate::alerting::alert::fingerprint;
use crate::window::HOUR_MS;

pub use self::group::{Message, MessageStatus};

/// A way on which alerts are told, as far as deciding goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What it is called.
    pub name: String,
    /// The severities that it takes; every one if empty.
    pub severities: Vec<Severity>,
    /// What alerts must fulfil.
    pub matchers: Vec<Matcher>,
    /// How it tells them.
    pub timing: Timing,
}

/// How alerts are put together and how often they are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Alerts with the same values of these labels are told together.
    pub group_by: Vec<String>,
    /// How long the first alert of a group waits for others, in milliseconds.
    pub group_wait_ms: u64,
    /// How long after a message news of the same group wait, in milliseconds.
    pub group_interval_ms: u64,
    /// After how long what still fires is told again, in milliseconds.
    pub repeat_interval_ms: u64,
    /// Most messages in an hour.
    pub max_messages_per_hour: usize,
}

impl Route {
    /// Whether it takes an alert.
    pub fn takes(&self, judged: &Judged) -> bool {
        let alert = &judged.alert;
        let severity = |severity: &Severity| severity.name() == alert.label("severity");
        (self.severities.is_empty() || self.severities.iter().any(severity))
            && Matcher::all_match(&self.matchers, &alert.labels)
    }
}

/// What was told on every route. Serializable, so that a restart neither forgets nor repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Dispatch(BTreeMap<String, Told>);

/// What was told on one route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    groups: BTreeMap<String, Group>,
    /// When the messages of the last hour were made.
    sent_ms: VecDeque<u64>,
}

/// What a look at the alerts came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dispatched {
    /// The messages to be sent.
    pub messages: Vec<Message>,
    /// How many more the routes' limits held back; they are made anew when there is room.
    pub limited: u64,
}

impl Dispatch {
    /// Says what is to be told now. `alerts` is every alert that fires or has ended not long ago.
    pub fn step(&mut self, routes: &[Route], alerts: &[Judged], now_ms: u64) -> Dispatched {
        self.0
            .retain(|name, _| routes.iter().any(|route| route.name == *name));
        let mut dispatched = Dispatched::default();
        for route in routes {
            self.0.entry(route.name.clone()).or_default().step(
                route,
                alerts,
                now_ms,
                &mut dispatched,
            );
        }
        dispatched
    }
}

impl Told {
    fn step(&mut self, route: &Route, alerts: &[Judged], now_ms: u64, dispatched: &mut Dispatched) {
        self.sent_ms
            .retain(|sent_ms| now_ms.saturating_sub(*sent_ms) < HOUR_MS);
        let mine: Vec<&Judged> = alerts.iter().filter(|judged| route.takes(judged)).collect();
        for judged in mine
            .iter()
            .filter(|judged| judged.alert.is_firing() && judged.suppression.is_none())
        {
            let labels = group_labels(&route.timing.group_by, judged);
            self.groups
                .entry(fingerprint(&labels))
                .or_insert_with(|| Group::new(labels, now_ms));
        }
        let mut due: Vec<(&String, &mut Group, News)> = Vec::new();
        for (key, group) in &mut self.groups {
            let is_member =
                |judged: &&Judged| group.has(&group_labels(&route.timing.group_by, judged));
            let members: Vec<&Judged> = mine.iter().copied().filter(is_member).collect();
            if let Some(news) = group.news(&members, &route.timing, now_ms) {
                due.push((key, group, news));
            }
        }
        // Where there is not room for all, what is not known yet goes before what is only repeated.
        due.sort_by_key(|(_, group, news)| (news.is_repeat, group.told_ms()));
        for (key, group, news) in due {
            if self.sent_ms.len() >= route.timing.max_messages_per_hour {
                group.hold_back(now_ms);
                dispatched.limited += 1;
            } else {
                self.sent_ms.push_back(now_ms);
                dispatched
                    .messages
                    .push(group.tell(news, route, key, now_ms));
            }
        }
        self.groups
            .retain(|_, group| !group.is_done(&route.timing, now_ms));
    }
}

fn group_labels(names: &[String], judged: &Judged) -> BTreeMap<String, String> {
    names
        .iter()
        .map(|name| (name.clone(), judged.alert.label(name).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests;
