//! What versions did in a short time.

use serde::{Deserialize, Serialize};

use super::arms::Arms;

/// Requests, and those of them that had something: errors, slow answers, missing outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// All requests.
    pub requests: u64,
    /// Those that had it.
    pub events: u64,
}

impl Counts {
    /// So many events in so many requests.
    pub const fn new(events: u64, requests: u64) -> Self {
        Self { requests, events }
    }

    /// Those without it.
    pub const fn others(self) -> u64 {
        self.requests.saturating_sub(self.events)
    }

    /// The share of requests that had it; `None` without requests.
    pub fn share(self) -> Option<f64> {
        (self.requests > 0).then(|| self.events as f64 / self.requests as f64)
    }
}

impl Arms<Counts> {
    /// The requests of both.
    pub const fn requests(self) -> Arms<u64> {
        Arms::new(self.candidate.requests, self.control.requests)
    }

    /// Adds the counts of another window.
    pub const fn add_counts(&mut self, other: Self) {
        self.candidate.requests += other.candidate.requests;
        self.candidate.events += other.candidate.events;
        self.control.requests += other.control.requests;
        self.control.events += other.control.events;
    }

    /// The share of events in both together, drawn towards 1 % while there is little data.
    pub(super) fn pooled_share(self) -> f64 {
        const PRIOR: (f64, f64) = (0.5, 50.0);
        let events = (self.candidate.events + self.control.events) as f64;
        (events + PRIOR.0) / (self.requests().total() as f64 + PRIOR.1)
    }
}
