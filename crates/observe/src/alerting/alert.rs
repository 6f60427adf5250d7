//! An alert, whatever raised it: an objective or a rule.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::alerts::AlertState;

/// An alert of an objective, of a rule on a metric, or of a rule on events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Its identity: alerts with the same labels are the same alert. Always has `alertname` and
    /// `severity`; `endpoint`, `version` and `tier` where they apply.
    pub labels: BTreeMap<String, String>,
    /// What people read: `summary`, `description`, `runbook_url`, `dashboard_url`.
    pub annotations: BTreeMap<String, String>,
    /// Its state, and since when.
    pub state: AlertState,
    /// When it started firing, if known, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fired_ms: Option<u64>,
}

impl Alert {
    /// An alert in a state.
    pub fn new(
        labels: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
        state: AlertState,
    ) -> Self {
        let fired_ms = match state {
            AlertState::Firing { since_ms } => Some(since_ms),
            _ => None,
        };
        Self {
            labels,
            annotations,
            state,
            fired_ms,
        }
    }

    /// A label; empty where it has none of this name.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// An annotation; empty where it has none of this name.
    pub fn annotation(&self, name: &str) -> &str {
        self.annotations.get(name).map_or("", String::as_str)
    }

    /// The label `alertname`.
    pub fn name(&self) -> &str {
        self.label("alertname")
    }

    /// Whether it fires.
    pub fn is_firing(&self) -> bool {
        matches!(self.state, AlertState::Firing { .. })
    }

    /// When its state began, in Unix milliseconds; `None` while inactive.
    pub fn since_ms(&self) -> Option<u64> {
        match self.state {
            AlertState::Inactive => None,
            AlertState::Pending { since_ms }
            | AlertState::Firing { since_ms }
            | AlertState::Resolved { since_ms } => Some(since_ms),
        }
    }

    /// When it resolved, in Unix milliseconds.
    pub fn resolved_ms(&self) -> Option<u64> {
        match self.state {
            AlertState::Resolved { since_ms } => Some(since_ms),
            _ => None,
        }
    }

    /// Sixteen hexadecimal digits that depend on its labels only.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.labels)
    }
}

/// FNV-1a, 64 bits, over names and values (<http://www.isthe.com/chongo/tech/comp/fnv/>).
pub fn fingerprint(labels: &BTreeMap<String, String>) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        // A byte that UTF-8 never has ends each text, so that "ab" + "c" and "a" + "bc" differ.
        for byte in text.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

/// A moment in the format of RFC 3339, in UTC.
pub fn rfc3339(ms: u64) -> String {
    let time = DateTime::<Utc>::from_timestamp_millis(i64::try_from(ms).unwrap_or(i64::MAX));
    time.unwrap_or(DateTime::<Utc>::MAX_UTC)
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_alone_make_the_fingerprint() {
        let labels = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        // FNV-1a of no bytes is its offset basis.
        assert_eq!(fingerprint(&BTreeMap::new()), "cbf29ce484222325");
        let one = fingerprint(&labels(&[("a", "b"), ("c", "d")]));
        assert_ne!(one, fingerprint(&labels(&[("a", "bc"), ("", "d")])));
        assert_ne!(one, fingerprint(&labels(&[("a", "b"), ("c", "e")])));
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(rfc3339(1_700_000_040_000), "2023-11-14T22:14:00.000Z");
    }
}
