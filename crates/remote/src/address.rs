//! One server of a version, with what is known of it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
    /// Its address, for operators.
    pub(crate) name: String,
    /// What callers know it by.
    pub(crate) label: String,
    /// How its own texts may name it.
    hosts: Vec<String>,
    pub(crate) transport: Transport,
    outstanding: AtomicUsize,
    state: Mutex<AddressState>,
    /// Whether the last attempt failed: the log has the first failure of a row, not each.
    is_failing: AtomicBool,
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
    Healthy { failed_checks: u32 },
    /// Why its last check failed.
    Unhealthy(String),
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
    /// The server at a place of `count` servers.
    pub(crate) fn new(
        name: String,
        (at, count): (usize, usize),
        transport: Transport,
        policy: EjectionPolicy,
    ) -> Self {
        let state = AddressState {
            ejection: Ejection::new(policy),
            health: Health::Healthy { failed_checks: 0 },
        };
        Self {
            label: format!("upstream {} of {count}", at + 1),
            hosts: hosts(&name),
            name,
            transport,
            outstanding: AtomicUsize::new(0),
            state: Mutex::new(state),
            is_failing: AtomicBool::new(false),
            is_only: count == 1,
        }
    }

    /// A failure of this server, as callers may read it.
    pub(crate) fn failed(&self, failure: CallFailure) -> CallFailure {
        failure.of(&self.label, &self.hosts)
    }

    /// Attempts under way.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    pub(crate) fn usability(&self, now: Instant) -> Usability {
        let state = self.state.lock();
        match state.health {
            Health::Different(_) => Usability::Unusable,
            Health::Unhealthy(_) => Usability::Doubtful,
            Health::Healthy { .. } if state.ejection.accepts(now) => Usability::Usable,
            Health::Healthy { .. } => Usability::Doubtful,
        }
    }

    /// Why it gets no requests, with its address; `None` if it does. One that is ejected was asked a
    /// moment ago and will be asked again.
    pub(crate) fn outage(&self) -> Option<String> {
        let name = &self.name;
        match &self.state.lock().health {
            Health::Healthy { .. } => None,
            Health::Unhealthy(why) => Some(format!("the upstream server {name} {why}")),
            Health::Different(difference) => Some(format!(
                "the upstream server {name} has another signature: {difference}"
            )),
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
            (Err(failure), _) => Health::Unhealthy(failure.for_operators()),
        };
        let (after, is_up) = (state.health.clone(), state.is_up());
        drop(state);
        reporter.address_is_up(&self.name, is_up);
        match (&before, &after) {
            (Health::Healthy { .. }, Health::Healthy { .. }) => {}
            (_, Health::Healthy { .. }) => reporter.healthy(&self.name),
            (Health::Unhealthy(_), Health::Unhealthy(_)) => {}
            (_, Health::Unhealthy(why)) => reporter.unhealthy(&self.name, why),
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
            Ok(_) => (CallEnd::Succeeded, "answered", String::new()),
            Err(failure) => (
                call_end(failure, is_blamed),
                failure.outcome(),
                failure.for_operators(),
            ),
        };
        let is_failure = end == CallEnd::Failed;
        let was_failing = match end {
            CallEnd::Unknown => true,
            _ => self.address.is_failing.swap(is_failure, Ordering::Relaxed),
        };
        if is_failure && !was_failing {
            self.reporter.attempt_failed(&self.address.name, &reason);
        }
        self.finish(end, name, &reason);
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

/// How texts may name a server: its URL, host with port, and a host that is no plain word.
fn hosts(url: &str) -> Vec<String> {
    let mut hosts = vec![url.to_owned()];
    let Some((_, rest)) = url.split_once("://") else {
        return hosts;
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    hosts.push(authority.to_owned());
    if host.contains(['.', ':']) {
        hosts.push(host.to_owned());
    }
    // A host without a port may be any word.
    hosts.retain(|host| host.contains(['.', ':']));
    hosts
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_may_name_a_server_by_url_authority_and_address() {
        assert_eq!(
            hosts("http://10.0.0.7:80/x"),
            ["http://10.0.0.7:80/x", "10.0.0.7:80", "10.0.0.7"]
        );
        assert_eq!(hosts("grpc://[::1]:8001")[2], "[::1]");
        assert_eq!(hosts("https://triton"), ["https://triton"]);
    }
}
