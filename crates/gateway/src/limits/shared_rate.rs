//! A rate that servers share through Redis: tokens are leased in small amounts, so that few requests
//! wait for Redis.
//!
//! A lease lasts for a moment. What is not used by then goes back with the next lease. So at any time
//! each server holds at most one lease, and over any time the servers together admit at most what the
//! bucket gives, and the leases that they held at its begin.

use std::time::Duration;

use parking_lot::Mutex;
use tidegate_redis::{Lease, LeaseRequest};

use super::rate::Empty;

/// How long leased tokens can be used.
const LEASE_LIFE: Duration = Duration::from_millis(200);
/// The largest lease: the tokens that come in this time, in seconds, and this share of a burst.
const LEASE_SECONDS: f64 = 0.05;
const LEASE_SHARE: u64 = 10;
/// Longest that Redis is not asked after it had too few tokens: other servers may return some.
const MAX_PAUSE: Duration = Duration::from_millis(500);
const NS_PER_US: u64 = 1000;

/// The part of a rate that this server has leased.
#[derive(Debug)]
pub(super) struct SharedRate {
    /// What it is called in Redis.
    bucket: String,
    per_second: f64,
    burst: u64,
    max_lease: u64,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Leased and not used yet.
    left: u64,
    /// When the lease ends, by the limiter's clock.
    ends_ns: u64,
    /// The size of the next lease.
    size: u64,
    /// A lease is being asked for, by whoever took the last token.
    is_leasing: bool,
    /// Redis had too few: until when it is not asked again, and for how many tokens that holds.
    refused: Option<Refusal>,
    /// When the bucket would be full, as Redis said last.
    full_at_ns: u64,
}

#[derive(Clone, Copy, Debug)]
struct Refusal {
    need: u64,
    until_ns: u64,
    enough_at_ns: u64,
}

/// The outcome of taking from a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FromLease {
    /// It was there.
    Taken,
    /// Redis must be asked.
    Needs(Ask),
    /// Redis had too few a moment ago.
    Refused(Empty),
}

/// What Redis is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    want: u64,
    need: u64,
    returned: u64,
    /// Whether this is the one request that asks for a whole lease.
    is_leader: bool,
}

impl SharedRate {
    /// `bucket` tells it from all other rates.
    pub(super) fn new(bucket: String, per_second: f64, burst: u64) -> Self {
        let of_time = (per_second * LEASE_SECONDS) as u64;
        Self {
            bucket,
            per_second,
            burst,
            max_lease: of_time.min(burst / LEASE_SHARE).max(1),
            state: Mutex::new(State {
                size: 1,
                ..State::default()
            }),
        }
    }

    /// Takes from the lease.
    pub(super) fn take(&self, count: u64, now_ns: u64) -> FromLease {
        let mut state = self.state.lock();
        let is_alive = now_ns < state.ends_ns;
        if is_alive && state.left >= count {
            state.left -= count;
            return FromLease::Taken;
        }
        if let Some(refused) = state.refused.filter(|refused| now_ns < refused.until_ns)
            && count >= refused.need
        {
            let wait_ns = refused.enough_at_ns.saturating_sub(now_ns);
            return FromLease::Refused(Empty { wait_ns });
        }
        if std::mem::replace(&mut state.is_leasing, true) {
            // It does not wait for the other request: Redis answers both as soon as one.
            return FromLease::Needs(Ask {
                want: count,
                need: count,
                returned: 0,
                is_leader: false,
            });
        }
        // Doubled for a server that uses up its leases, and as small as can be for one that does not.
        state.size = match is_alive {
            true => (state.size * 2).min(self.max_lease),
            false => state.size.saturating_sub(state.left).max(1),
        };
        FromLease::Needs(Ask {
            want: count.max(state.size),
            need: count,
            returned: std::mem::take(&mut state.left),
            is_leader: true,
        })
    }

    pub(super) fn request(&self, ask: Ask) -> LeaseRequest<'_> {
        LeaseRequest {
            bucket: &self.bucket,
            per_second: self.per_second,
            burst: self.burst,
            want: ask.want,
            need: ask.need,
            returned: ask.returned,
        }
    }

    /// Notes what Redis has given, of which the request uses what it needs, unless another bucket had
    /// too few.
    pub(super) fn add(&self, ask: Ask, lease: Lease, now_ns: u64) {
        let mut state = self.state.lock();
        state.full_at_ns = now_ns.saturating_add(lease.full_in_us.saturating_mul(NS_PER_US));
        if ask.is_leader {
            state.is_leasing = false;
            state.ends_ns = now_ns + LEASE_LIFE.as_nanos() as u64;
        }
        state.left += lease.given.saturating_sub(ask.need);
        state.refused = (lease.wait_us > 0).then(|| {
            let wait_ns = lease.wait_us.saturating_mul(NS_PER_US);
            Refusal {
                need: ask.need,
                until_ns: now_ns + wait_ns.min(MAX_PAUSE.as_nanos() as u64),
                enough_at_ns: now_ns.saturating_add(wait_ns),
            }
        });
    }

    /// Nobody has answered. What was sent to be returned counts as used: Redis may have it, or not.
    pub(super) fn give_up(&self, ask: Ask, was_sent: bool) {
        let mut state = self.state.lock();
        if ask.is_leader {
            state.is_leasing = false;
        }
        if !was_sent {
            state.left += ask.returned;
        }
    }

    /// Puts tokens back into the lease, from where they go back to Redis with the next one.
    pub(super) fn give_back(&self, count: u64) {
        self.state.lock().left += count;
    }

    /// What is left for all servers, as far as this one knows, and in how many nanoseconds all is
    /// there again.
    pub(super) fn remaining(&self, now_ns: u64) -> (u64, u64) {
        let state = *self.state.lock();
        let full_in_ns = state.full_at_ns.saturating_sub(now_ns);
        let lacking = (full_in_ns as f64 / 1e9 * self.per_second - 1e-6).ceil() as u64;
        let left = self.burst.saturating_sub(lacking) + state.left;
        (left.min(self.burst), full_in_ns)
    }

    /// What was leased and is not used, to return it.
    pub(super) fn surrender(&self) -> Option<LeaseRequest<'_>> {
        let left = std::mem::take(&mut self.state.lock().left);
        (left > 0).then(|| {
            self.request(Ask {
                want: 0,
                need: 0,
                returned: left,
                is_leader: false,
            })
        })
    }

    /// Whether nothing is lost if it is forgotten.
    pub(super) fn is_idle(&self, now_ns: u64) -> bool {
        let state = self.state.lock();
        now_ns >= state.full_at_ns && !state.is_leasing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const LIFE: u64 = LEASE_LIFE.as_nanos() as u64;

    fn rate() -> SharedRate {
        // Leases of at most 5 of 1000 tokens a second.
        SharedRate::new("a".to_owned(), 1000.0, 50)
    }

    fn ask(rate: &SharedRate, now_ns: u64) -> Ask {
        match rate.take(1, now_ns) {
            FromLease::Needs(ask) => ask,
            other => panic!("{other:?}"),
        }
    }

    fn all(ask: Ask) -> Lease {
        Lease {
            given: ask.want,
            ..Lease::default()
        }
    }

    #[test]
    fn leases_grow_while_they_are_used_up() {
        let rate = rate();
        let mut sizes = Vec::new();
        for _ in 0..4 {
            let ask = ask(&rate, SECOND);
            sizes.push(ask.want);
            rate.add(ask, all(ask), SECOND);
            for _ in 1..ask.want {
                assert_eq!(rate.take(1, SECOND), FromLease::Taken);
            }
        }
        assert_eq!(sizes, [1, 2, 4, 5]);
    }

    #[test]
    fn what_is_not_used_in_time_is_returned_and_the_next_lease_is_smaller() {
        let rate = rate();
        for want in [1, 2, 4] {
            let ask = ask(&rate, SECOND);
            assert_eq!(ask.want, want);
            rate.add(ask, all(ask), SECOND);
            while want < 4 && rate.state.lock().left > 0 {
                assert_eq!(rate.take(1, SECOND), FromLease::Taken);
            }
        }
        let late = ask(&rate, SECOND + LIFE);
        assert_eq!((late.returned, late.want), (3, 1));
    }

    #[test]
    fn one_request_asks_for_a_lease_and_others_for_themselves() {
        let rate = rate();
        let leader = ask(&rate, SECOND);
        let other = ask(&rate, SECOND);
        assert!(leader.is_leader && !other.is_leader);
        assert_eq!((other.want, other.returned), (1, 0));
        rate.add(other, all(other), SECOND);
        rate.give_up(leader, true);
        assert!(ask(&rate, SECOND).is_leader, "the first one has gone");
    }

    #[test]
    fn after_a_refusal_redis_is_not_asked_for_a_while() {
        let rate = rate();
        let first = ask(&rate, SECOND);
        let empty = Lease {
            wait_us: 2_000_000,
            ..Lease::default()
        };
        rate.add(first, empty, SECOND);
        let wait_ns = 2 * SECOND - 100;
        let refused = FromLease::Refused(Empty { wait_ns });
        assert_eq!(rate.take(1, SECOND + 100), refused);
        // Others may have returned some.
        assert!(ask(&rate, SECOND + SECOND / 2).is_leader);
    }

    #[test]
    fn what_was_not_sent_is_not_lost() {
        let rate = rate();
        rate.give_back(3);
        let unsent = ask(&rate, SECOND);
        assert_eq!(unsent.returned, 3);
        rate.give_up(unsent, false);
        assert_eq!(rate.surrender().unwrap().returned, 3);
        assert_eq!(rate.surrender(), None);
    }

    #[test]
    fn what_is_left_counts_the_bucket_and_the_lease() {
        let rate = rate();
        assert_eq!(rate.remaining(SECOND), (50, 0));
        let first = ask(&rate, SECOND);
        let lease = Lease {
            given: 3,
            left: 20,
            full_in_us: 30_000,
            wait_us: 0,
        };
        rate.add(first, lease, SECOND);
        assert_eq!(rate.remaining(SECOND), (22, 30_000_000));
        assert_eq!(rate.remaining(SECOND + 30_000_000).1, 0);
    }
}
