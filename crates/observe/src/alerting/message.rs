//! Messages: what a receiver gets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Alert;

/// One notification about a group of alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Unique. Receivers recognize by it what they already got.
    pub id: String,
    /// The name of its route.
    pub route: String,
    /// Sixteen hexadecimal digits: the same for all messages of a group on a route.
    pub group: String,
    /// The labels that the alerts of the group have in common.
    pub group_labels: BTreeMap<String, String>,
    /// Whether any alert fires.
    pub status: MessageStatus,
    /// Firing alerts, then resolved ones; 100 at most.
    pub alerts: Vec<Alert>,
    /// How many more alerts there are.
    pub left_out: usize,
    /// How many messages of the group the route's limit deferred before this one.
    pub held_back: u64,
    /// When it was made, in Unix milliseconds.
    pub at_ms: u64,
}

/// Whether any alert of a message fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    /// At least one fires.
    Firing,
    /// All of them are resolved.
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
