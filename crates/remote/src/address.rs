//! One server of a version, with what is known of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tidegate_core::Tensor;
use tidegate_engines::UpstreamFailure;
use tidegate_gateway::CallEnd;

use crate::config::EjectionPolicy;
use crate::ejection::{Ejection, EjectionTicket};
use crate::failure::CallFailure;
use crate::reporter::Reporter;
use crate::transport::Transport;

/// So many failed checks in a row make a server unhealthy: one may be chance.
const UNHEALTHY_AFTER: u32 = 2;

/// One server.
pub(crate) struct Address {
    pub(crate) name: String,
    pub(crate) transport: Transport,
    outstanding: AtomicUsize,
    state: Mutex<AddressState>,
    /// A version on a single server cannot do without it.
    is_only: bool,
}

struct AddressState {
    ejection: Ejection,
    health: Health,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Health {
    /// The last checks failed so many times, fewer than make it unhealthy.
    Healthy {
        failed_checks: u32,
    },
    Unhealthy,
    /// It has another signature than the version: it would answer wrongly.
    Different(String),
}

/// Whether a server gets requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usability {
    Usable,
    /// Only where too few others are usable.
    Doubtful,
    /// Never.
    Unusable,
}

/// An attempt under way. One that is dropped before its end was given up.
pub(crate) struct Attempt<'a> {
    address: &'a Address,
    reporter: &'a Reporter,
    ticket: Option<EjectionTicket>,
}

impl Address {
    pub(crate) fn new(
        name: String,
        transport: Transport,
        policy: EjectionPolicy,
        is_only: bool,
    ) -> Self {
        let state = AddressState {
            ejection: Ejection::new(policy),
            health: Health::Healthy { failed_checks: 0 },
        };
        Self {
            name,
            transport,
            outstanding: AtomicUsize::new(0),
            state: Mutex::new(state),
            is_only,
        }
    }

    /// Attempts under way.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    pub(crate) fn usability(&self, now: Instant) -> Usability {
        let state = self.state.lock();
        match state.health {
            Health::Different(_) => Usability::Unusable,
            Health::Unhealthy => Usability::Doubtful,
            Health::Healthy { .. } if state.ejection.accepts(now) => Usability::Usable,
            Health::Healthy { .. } => Usability::Doubtful,
        }
    }

    /// In what its signature differs, if it does.
    pub(crate) fn difference(&self) -> Option<String> {
        match &self.state.lock().health {
            Health::Different(difference) => Some(difference.clone()),
            _ => None,
        }
    }

    pub(crate) fn begin<'a>(&'a self, reporter: &'a Reporter) -> Attempt<'a> {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        reporter.attempt_begins(&self.name);
        let ticket = self.state.lock().ejection.begin(Instant::now());
        Attempt {
            address: self,
            reporter,
            ticket: Some(ticket),
        }
    }

    fn end(&self, ticket: EjectionTicket, end: CallEnd, reason: &str, reporter: &Reporter) {
        self.outstanding.fetch_sub(1, Ordering::Relaxed);
        // An only address is never ejected: there is no other to turn to.
        if self.is_only {
            return;
        }
        let mut state = self.state.lock();
        let change = state.ejection.end(ticket, end, Instant::now());
        let is_up = state.is_up();
        drop(state);
        if let Some(change) = change {
            reporter.ejection(&self.name, change, reason);
            reporter.address_is_up(&self.name, is_up);
        }
    }

    /// Notes what a check found: why the server is not ready, or in what its signature differs.
    pub(crate) fn checked(&self, found: Result<Option<String>, CallFailure>, reporter: &Reporter) {
        let mut state = self.state.lock();
        let before = state.health.clone();
        let reason = found.as_ref().err().map(|failure| failure.message.clone());
        state.health = match (found, &before) {
            (Ok(None), _) => Health::Healthy { failed_checks: 0 },
            (Ok(Some(difference)), _) => Health::Different(difference),
            (Err(_), Health::Healthy { failed_checks }) if failed_checks + 1 < UNHEALTHY_AFTER => {
                Health::Healthy {
                    failed_checks: failed_checks + 1,
                }
            }
            // It may still be the server that answered wrongly.
            (Err(_), Health::Different(difference)) => Health::Different(difference.clone()),
            (Err(_), _) => Health::Unhealthy,
        };
        let (after, is_up) = (state.health.clone(), state.is_up());
        drop(state);
        reporter.address_is_up(&self.name, is_up);
        match (&before, &after) {
            (Health::Healthy { .. }, Health::Healthy { .. }) => {}
            (_, Health::Healthy { .. }) => reporter.healthy(&self.name),
            (Health::Unhealthy, Health::Unhealthy) => {}
            (_, Health::Unhealthy) => reporter.unhealthy(&self.name, &reason.unwrap_or_default()),
            (before, Health::Different(difference)) if *before != after => {
                reporter.signature_differs(&self.name, difference);
            }
            (_, Health::Different(_)) => {}
        }
    }
}

impl AddressState {
    fn is_up(&self) -> bool {
        matches!(self.health, Health::Healthy { .. }) && !self.ejection.is_out()
    }
}

impl Attempt<'_> {
    /// Counts how it ended; `is_blamed` says whether a time-out is the server's.
    pub(crate) fn end(mut self, outcome: &Result<Vec<Tensor>, CallFailure>, is_blamed: bool) {
        let (end, name, reason) = match outcome {
            Ok(_) => (CallEnd::Succeeded, "answered", ""),
            Err(failure) => (
                call_end(failure, is_blamed),
                failure.outcome(),
                failure.message.as_str(),
            ),
        };
        self.finish(end, name, reason);
    }

    fn finish(&mut self, end: CallEnd, outcome: &str, reason: &str) {
        if let Some(ticket) = self.ticket.take() {
            self.address.end(ticket, end, reason, self.reporter);
            self.reporter.attempt_ends(&self.address.name, outcome);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.finish(CallEnd::Unknown, "given_up", "");
    }
}

/// What a failure says of the server. Inputs that it refuses are the caller's, and a server that has
/// too many requests works.
pub(crate) fn call_end(failure: &CallFailure, is_blamed: bool) -> CallEnd {
    match failure.kind {
        UpstreamFailure::Unavailable | UpstreamFailure::Invalid | UpstreamFailure::Failed => {
            CallEnd::Failed
        }
        UpstreamFailure::TimedOut if is_blamed => CallEnd::Failed,
        UpstreamFailure::TimedOut | UpstreamFailure::Overloaded => CallEnd::Unknown,
        UpstreamFailure::Rejected => CallEnd::Succeeded,
    }
}
