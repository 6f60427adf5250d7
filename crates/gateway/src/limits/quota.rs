//! Quotas of a day or month. They are counted in a database that replicas share and that outlives
//! them, and taken from it in leases: a request waits for the database only if a lease is used up.
//!
//! What is leased counts as used before it is. So no crash and no race admits more than the quota; a
//! crash loses at most the rest of a lease.

use std::fmt;

use chrono::{DateTime, Datelike, Days, Months, NaiveTime, Utc};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tidegate_store::{QuotaLease, QuotaUse};

/// The largest lease, as a share of the quota.
const LEASE_SHARE: u64 = 100;
const MAX_LEASE: u64 = 1000;

/// What quotas are counted in, shared by replicas.
pub trait QuotaStore: Send + Sync + fmt::Debug {
    /// Adds to what is used of a quota: as much as is asked for, or as much as is left if that is of
    /// use.
    fn lease<'a>(
        &'a self,
        request: QuotaUse<'a>,
    ) -> BoxFuture<'a, Result<QuotaLease, QuotaUnavailable>>;

    /// Takes back what was leased and not used.
    fn give_back<'a>(
        &'a self,
        quota: &'a str,
        period_ms: i64,
        count: u64,
    ) -> BoxFuture<'a, Result<(), QuotaUnavailable>>;
}

/// Quotas cannot be counted now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("quotas cannot be counted: {0}")]
pub struct QuotaUnavailable(pub String);

/// How long a quota is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Period {
    Day,
    Month,
}

impl Period {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// When the period of a moment begins and ends, in milliseconds since 1970.
    pub(super) fn bounds(self, now_ms: i64) -> (i64, i64) {
        let now = DateTime::<Utc>::from_timestamp_millis(now_ms).unwrap_or_default();
        let today = now.date_naive();
        let (first, next) = match self {
            Self::Day => (today, today.checked_add_days(Days::new(1))),
            Self::Month => {
                let first = today.with_day(1).unwrap_or(today);
                (first, first.checked_add_months(Months::new(1)))
            }
        };
        let begin = first.and_time(NaiveTime::MIN).and_utc().timestamp_millis();
        // The calendar ends in the year 262143.
        let end = next.map_or(i64::MAX, |next| {
            next.and_time(NaiveTime::MIN).and_utc().timestamp_millis()
        });
        (begin, end)
    }
}

/// One quota of one bucket.
#[derive(Debug)]
pub(super) struct Quota {
    /// What it is called in the store.
    pub(super) id: String,
    pub(super) period: Period,
    pub(super) limit: u64,
    /// Held by whoever asks the store.
    pub(super) leasing: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    period_ms: i64,
    end_ms: i64,
    /// Leased and not used yet.
    left: u64,
    /// Used while the store could not be reached.
    owed: u64,
    /// How much of the whole quota was used or leased when the store was asked last.
    used: u64,
    /// Until when the store is not asked again, in milliseconds since 1970, and why.
    pause: Option<(i64, Pause)>,
}

/// What is left of a quota.
#[derive(Clone, Copy, Debug)]
pub(super) struct QuotaStatus {
    pub(super) remaining: u64,
    /// How long the period still is, in milliseconds.
    pub(super) ends_in_ms: i64,
    /// How long the whole period is, in milliseconds.
    pub(super) length_ms: i64,
}

/// Why the store is not asked for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// Nothing is left.
    UsedUp,
    /// It could not be reached.
    Unreachable,
}

/// How long the store is not asked again, in milliseconds: callers who are over their quota, or a
/// store that is away, must not cost each request a question.
const PAUSE_MS: i64 = 1000;

/// The outcome of taking from a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was there.
    Yes,
    /// The lease is used up: the store must be asked.
    NeedsLease,
    /// The lease is used up, and the store was asked a moment ago.
    Paused(Pause),
}

impl Quota {
    pub(super) fn new(id: String, period: Period, limit: u64) -> Self {
        Self {
            id,
            period,
            limit,
            leasing: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        }
    }

    /// Takes from the lease.
    pub(super) fn take(&self, count: u64, now_ms: i64) -> Taken {
        let mut state = self.current(now_ms);
        if state.left < count {
            let pause = state.pause.filter(|(until_ms, _)| now_ms < *until_ms);
            return pause.map_or(Taken::NeedsLease, |(_, why)| Taken::Paused(why));
        }
        state.left -= count;
        Taken::Yes
    }

    /// Uses what the store has not given, since it cannot be reached.
    pub(super) fn owe(&self, count: u64, now_ms: i64) {
        self.current(now_ms).owed += count;
    }

    pub(super) fn give_back(&self, count: u64, period_ms: i64) {
        let mut state = self.state.lock();
        // What was taken from the quota of yesterday must not add to that of today.
        if state.period_ms == period_ms {
            state.left += count;
        }
    }

    pub(super) fn period_ms(&self, now_ms: i64) -> i64 {
        self.current(now_ms).period_ms
    }

    /// What to ask the store for, so that `count` can be taken.
    pub(super) fn request(&self, count: u64, now_ms: i64) -> QuotaUse<'_> {
        let state = *self.current(now_ms);
        let chunk = (self.limit / LEASE_SHARE).clamp(1, MAX_LEASE);
        QuotaUse {
            quota: &self.id,
            period_ms: state.period_ms,
            limit: self.limit,
            want: chunk.max(count.saturating_sub(state.left)),
            least: count.saturating_sub(state.left),
            owed: state.owed,
        }
    }

    /// Adds what the store has given for [`Quota::request`].
    pub(super) fn add(&self, request: QuotaUse<'_>, lease: QuotaLease, now_ms: i64) {
        let mut state = self.state.lock();
        // The day may have ended while the store was asked: what it leased is not for the new one.
        if state.period_ms == request.period_ms {
            state.left += lease.granted;
            state.owed -= request.owed.min(state.owed);
            state.used = lease.used;
            // Others may give some back.
            let is_used_up = lease.granted == 0 && lease.used >= request.limit;
            state.pause = is_used_up.then_some((now_ms + PAUSE_MS, Pause::UsedUp));
        }
    }

    /// Notes that the store could not be reached. Whether that is news.
    pub(super) fn pause(&self, now_ms: i64) -> bool {
        let mut state = self.current(now_ms);
        let was_known = matches!(state.pause, Some((_, Pause::Unreachable)));
        state.pause = Some((now_ms + PAUSE_MS, Pause::Unreachable));
        !was_known
    }

    /// What is left of the whole quota as far as this server knows, and for how long.
    pub(super) fn status(&self, now_ms: i64) -> QuotaStatus {
        let state = *self.current(now_ms);
        let unleased = self.limit.saturating_sub(state.used + state.owed);
        QuotaStatus {
            remaining: unleased + state.left,
            ends_in_ms: state.end_ms - now_ms,
            length_ms: state.end_ms - state.period_ms,
        }
    }

    /// What was leased and is not used, to give it back to the store.
    pub(super) fn surrender(&self) -> Option<(i64, u64)> {
        let mut state = self.state.lock();
        let left = std::mem::take(&mut state.left);
        (left > 0).then_some((state.period_ms, left))
    }

    pub(super) fn has_lease(&self, now_ms: i64) -> bool {
        let state = self.state.lock();
        state.end_ms > now_ms && (state.left > 0 || state.owed > 0)
    }

    /// The state of the period that `now_ms` is in.
    fn current(&self, now_ms: i64) -> parking_lot::MutexGuard<'_, State> {
        let mut state = self.state.lock();
        if !(state.period_ms..state.end_ms).contains(&now_ms) {
            let (period_ms, end_ms) = self.period.bounds(now_ms);
            *state = State {
                period_ms,
                end_ms,
                ..State::default()
            };
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<DateTime<Utc>>().unwrap().timestamp_millis()
    }

    #[test]
    fn days_and_months_are_those_of_utc() {
        let leap_day = ms("2024-02-29T12:00:00Z");
        let day = (ms("2024-02-29T00:00:00Z"), ms("2024-03-01T00:00:00Z"));
        assert_eq!(Period::Day.bounds(leap_day), day);
        let month = (ms("2024-02-01T00:00:00Z"), ms("2024-03-01T00:00:00Z"));
        assert_eq!(Period::Month.bounds(leap_day), month);
        let december = (ms("2026-12-01T00:00:00Z"), ms("2027-01-01T00:00:00Z"));
        assert_eq!(Period::Month.bounds(december.0), december);
        assert_eq!(Period::Month.bounds(december.1 - 1), december);
    }

    #[test]
    fn a_lease_is_used_up_and_a_new_day_begins_without_it() {
        let quota = Quota::new("q".to_owned(), Period::Day, 1000);
        let now = ms("2026-11-27T10:00:00Z");
        assert_eq!(quota.take(1, now), Taken::NeedsLease);
        let request = quota.request(1, now);
        assert_eq!((request.want, request.owed), (10, 0));
        let lease = QuotaLease {
            granted: 10,
            used: 10,
        };
        quota.add(request, lease, now);
        assert_eq!(quota.take(10, now), Taken::Yes);
        assert_eq!(quota.take(1, now), Taken::NeedsLease);
        quota.give_back(4, request.period_ms);
        assert_eq!(quota.status(now).remaining, 994);
        let tomorrow = ms("2026-11-28T00:00:00Z");
        assert_eq!(quota.take(1, tomorrow), Taken::NeedsLease);
        quota.give_back(4, request.period_ms);
        assert_eq!(
            quota.take(1, tomorrow),
            Taken::NeedsLease,
            "that was of yesterday"
        );
    }

    #[test]
    fn what_is_owed_is_asked_for_once() {
        let quota = Quota::new("q".to_owned(), Period::Month, 5);
        let now = ms("2026-11-27T10:00:00Z");
        quota.owe(3, now);
        let request = quota.request(2, now);
        assert_eq!((request.want, request.owed), (2, 3));
        quota.owe(1, now);
        quota.add(
            request,
            QuotaLease {
                granted: 2,
                used: 5,
            },
            now,
        );
        assert_eq!(quota.request(1, now).owed, 1);
    }
}
