//! The queue of messages to deliver, which are retried until they arrive or are given up.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Message;

/// Wait before the first retry, in milliseconds; doubled with each further one (exponential backoff).
const FIRST_RETRY_MS: u64 = 2000;
/// Longest wait between two retries, in milliseconds.
const LAST_RETRY_MS: u64 = 5 * 60_000;

/// Messages to deliver, the oldest first. Serializable, so that a restart loses none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Outbox(VecDeque<Pending>);

/// A message that was not delivered yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The message.
    pub message: Message,
    /// Failed attempts so far.
    pub tries: u32,
    /// When it is tried next, in Unix milliseconds.
    pub next_ms: u64,
}

impl Outbox {
    /// Adds a message. If there are more than `max` then, the oldest one is removed and returned.
    pub fn add(&mut self, message: Message, max: usize) -> Option<Message> {
        let next_ms = message.at_ms;
        self.0.push_back(Pending {
            message,
            tries: 0,
            next_ms,
        });
        if self.0.len() > max {
            self.0.pop_front().map(|pending| pending.message)
        } else {
            None
        }
    }

    /// The next message of a route. Messages of a route stay in order: "resolved" must not arrive
    /// before "firing".
    pub fn next(&self, route: &str) -> Option<&Pending> {
        self.0.iter().find(|pending| pending.message.route == route)
    }

    /// Removes a message that was delivered, or is given up.
    pub fn remove(&mut self, id: &str) -> Option<Message> {
        let at = self.0.iter().position(|pending| pending.message.id == id)?;
        self.0.remove(at).map(|pending| pending.message)
    }

    /// Schedules a retry after a failed delivery, not before `wait_ms` if the receiver asked for that
    /// (`Retry-After`).
    pub fn retry(&mut self, id: &str, now_ms: u64, wait_ms: Option<u64>) {
        if let Some(pending) = self.0.iter_mut().find(|pending| pending.message.id == id) {
            let backoff_ms = FIRST_RETRY_MS
                // The limit only keeps the shift valid: the longest wait is reached much earlier.
                .saturating_mul(1 << pending.tries.min(16))
                .min(LAST_RETRY_MS);
            pending.tries = pending.tries.saturating_add(1);
            pending.next_ms =
                // The receiver's wish is bounded too: one wrong header must not hold back alerts
                // for hours.
                now_ms.saturating_add(backoff_ms.max(wait_ms.unwrap_or(0).min(LAST_RETRY_MS)));
        }
    }

    /// Removes and returns messages that are older than `before_ms`, or whose route does not exist any
    /// more.
    pub fn expire(&mut self, before_ms: u64, routes: &[&str]) -> Vec<Message> {
        let (current, expired): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|Pending { message, .. }| {
                message.at_ms >= before_ms && routes.contains(&message.route.as_str())
            });
        self.0 = current;
        expired.into_iter().map(|pending| pending.message).collect()
    }

    /// Number of messages of a route.
    pub fn waiting(&self, route: &str) -> usize {
        self.0
            .iter()
            .filter(|pending| pending.message.route == route)
            .count()
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::alerting::MessageStatus;

    fn message(id: &str, route: &str, at_ms: u64) -> Message {
        Message {
            id: id.to_owned(),
            route: route.to_owned(),
            group: "g".to_owned(),
            group_labels: BTreeMap::new(),
            status: MessageStatus::Firing,
            alerts: Vec::new(),
            left_out: 0,
            held_back: 0,
            at_ms,
        }
    }

    #[test]
    fn messages_of_a_route_stay_in_order_and_wait_longer_each_time() {
        let mut outbox = Outbox::default();
        for (id, route) in [("1", "a"), ("2", "b"), ("3", "a")] {
            assert_eq!(outbox.add(message(id, route, 0), 10), None);
        }
        let next = |outbox: &Outbox, route| {
            outbox
                .next(route)
                .map(|next| (next.message.id.clone(), next.next_ms))
        };
        assert_eq!(next(&outbox, "a"), Some(("1".to_owned(), 0)));
        assert_eq!(
            ["a", "b", "c"].map(|route| outbox.waiting(route)),
            [2, 1, 0]
        );
        let mut waits = Vec::new();
        for _ in 0..9 {
            outbox.retry("1", 1000, None);
            waits.push((next(&outbox, "a").unwrap().1 - 1000) / 1000);
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(
            next(&outbox, "b"),
            Some(("2".to_owned(), 0)),
            "another route does not wait"
        );
        outbox.remove("1");
        assert_eq!(next(&outbox, "a"), Some(("3".to_owned(), 0)));
        outbox.retry("3", 0, Some(60_000));
        assert_eq!(
            next(&outbox, "a").unwrap().1,
            60_000,
            "as the receiver asked"
        );
    }

    #[test]
    fn too_many_and_too_old_messages_go() {
        let mut outbox = Outbox::default();
        outbox.add(message("1", "a", 1), 2);
        outbox.add(message("2", "a", 2), 2);
        assert_eq!(
            outbox
                .add(message("3", "a", 3), 2)
                .map(|gone| gone.id)
                .as_deref(),
            Some("1")
        );
        outbox.add(message("4", "gone", 4), 5);
        let gone: Vec<String> = outbox
            .expire(3, &["a"])
            .into_iter()
            .map(|message| message.id)
            .collect();
        assert_eq!(gone, ["2", "4"]);
        assert_eq!(outbox.len(), 1);
    }
}
