//! Alerts that are told together on one route.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Route, Timing};
use crate::AlertState;
use crate::alerting::{Alert, Judged};

/// Most alerts of one message.
const MAX_ALERTS: usize = 100;

/// What is told at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// No other message's. Receivers can tell by it what they have had already.
    pub id: String,
    /// The route it is told on.
    pub route: String,
    /// Sixteen hexadecimal digits: the same for all messages of a group on a route.
    pub group: String,
    /// What the alerts have in common by which they were put together.
    pub group_labels: BTreeMap<String, String>,
    /// Whether anything fires.
    pub status: MessageStatus,
    /// What fires, then what has ended; 100 at most.
    pub alerts: Vec<Alert>,
    /// How many more there are.
    pub left_out: usize,
    /// How many messages the route's limit held back before this one.
    pub held_back: u64,
    /// When it was made, in Unix milliseconds.
    pub at_ms: u64,
}

/// Whether anything of a message fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    /// Something does.
    Firing,
    /// Everything has ended.
    Resolved,
}

impl MessageStatus {
    /// `firing` or `resolved`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

impl Message {
    /// The alerts that fire.
    pub fn firing(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.iter().filter(|alert| alert.is_firing())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Group {
    labels: BTreeMap<String, String>,
    /// When its first alert came.
    since_ms: u64,
    /// When it was last looked at with something to tell.
    flushed_ms: Option<u64>,
    /// When it was last told.
    told_ms: Option<u64>,
    /// What was told to fire and not yet to have ended, by fingerprint.
    told: BTreeMap<String, Alert>,
    held_back: u64,
}

/// What a group has to tell.
pub(super) struct News {
    firing: Vec<Alert>,
    over: Vec<Alert>,
    /// Whether all of it has been told before.
    pub(super) is_repeat: bool,
}

impl Group {
    pub(super) fn new(labels: BTreeMap<String, String>, now_ms: u64) -> Self {
        Self {
            labels,
            since_ms: now_ms,
            flushed_ms: None,
            told_ms: None,
            told: BTreeMap::new(),
            held_back: 0,
        }
    }

    pub(super) fn has(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels == *labels
    }

    /// What is to be told now. What was told to fire is told to have ended even where it is
    /// suppressed by then, and where nobody knows it any more: somebody waits for it.
    pub(super) fn news(&self, members: &[&Judged], timing: &Timing, now_ms: u64) -> Option<News> {
        let due_ms = match self.flushed_ms {
            None => self.since_ms.saturating_add(timing.group_wait_ms),
            Some(flushed_ms) => flushed_ms.saturating_add(timing.group_interval_ms),
        };
        if now_ms < due_ms {
            return None;
        }
        let told = members
            .iter()
            .filter(|judged| judged.alert.is_firing() && judged.suppression.is_none());
        let firing: Vec<Alert> = told.map(|judged| judged.alert.clone()).collect();
        let over: Vec<Alert> = self
            .told
            .iter()
            .filter_map(|(key, told)| ended(key, told, members, now_ms))
            .collect();
        let is_new = firing
            .iter()
            .any(|alert| !self.told.contains_key(&alert.fingerprint()));
        let repeats = || {
            self.told_ms
                .is_none_or(|told_ms| now_ms >= told_ms.saturating_add(timing.repeat_interval_ms))
        };
        let is_repeat = !is_new && over.is_empty();
        (!is_repeat || !firing.is_empty() && repeats()).then_some(News {
            firing,
            over,
            is_repeat,
        })
    }

    pub(super) fn told_ms(&self) -> Option<u64> {
        self.told_ms
    }

    /// There is something to tell, and no room for it.
    pub(super) fn hold_back(&mut self, now_ms: u64) {
        self.flushed_ms = Some(now_ms);
        self.held_back += 1;
    }

    /// Puts what is told into a message, and remembers that it was told.
    pub(super) fn tell(&mut self, news: News, route: &Route, key: &str, now_ms: u64) -> Message {
        (self.flushed_ms, self.told_ms) = (Some(now_ms), Some(now_ms));
        for alert in &news.over {
            self.told.remove(&alert.fingerprint());
        }
        self.told.extend(
            news.firing
                .iter()
                .map(|alert| (alert.fingerprint(), alert.clone())),
        );
        let status = if news.firing.is_empty() {
            MessageStatus::Resolved
        } else {
            MessageStatus::Firing
        };
        let mut alerts = news.firing;
        alerts.extend(news.over);
        let left_out = alerts.len().saturating_sub(MAX_ALERTS);
        alerts.truncate(MAX_ALERTS);
        let labels = BTreeMap::from([
            ("route".to_owned(), route.name.clone()),
            ("group".to_owned(), key.to_owned()),
        ]);
        let group = crate::alerting::alert::fingerprint(&labels);
        Message {
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

    /// Whether it can be forgotten: nobody waits for its end, and news of it need not wait any
    /// more.
    pub(super) fn is_done(&self, timing: &Timing, now_ms: u64) -> bool {
        let due_ms = match self.flushed_ms {
            None => self.since_ms.saturating_add(timing.group_wait_ms),
            Some(flushed_ms) => flushed_ms.saturating_add(timing.group_interval_ms),
        };
        self.told.is_empty() && now_ms >= due_ms
    }
}

/// A told alert as it has ended, if it has.
fn ended(key: &str, told: &Alert, members: &[&Judged], now_ms: u64) -> Option<Alert> {
    match members
        .iter()
        .find(|judged| judged.alert.fingerprint() == key)
    {
        Some(judged) if judged.alert.is_firing() => None,
        Some(judged) if judged.alert.ended_ms().is_some() => Some(Alert {
            fired_ms: told.fired_ms,
            ..judged.alert.clone()
        }),
        _ => Some(Alert {
            state: AlertState::Resolved { since_ms: now_ms },
            ..told.clone()
        }),
    }
}
