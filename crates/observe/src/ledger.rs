//! Counts of good requests over time, in bounded memory.

use std::ops::Add;

use serde::{Deserialize, Serialize};

use crate::window::{HOUR_MS, MINUTE_MS};

/// Counts of good and of all requests of one objective by time: minutes for the last 6 hours, ten
/// minutes for the last 3 days, hours for the last 90 days. Each kind has all counts of its time,
/// and a sum is read from the finest that goes back far enough.
///
/// Times are Unix milliseconds and come from the caller. With little traffic the finer kinds go
/// back further: a ledger holds the newest buckets that have requests in them, 370 minutes, 440 ten
/// minutes and 2,170 hours. So a ledger has at most 2,980 buckets of 24 bytes, 72 kB, and what its
/// vectors hold in reserve, at most as much again. A clock that once runs ahead costs one bucket.
///
/// Ledgers of replicas are [merged](Self::merge) in any order, whole or [by bucket](Self::iter). As
/// JSON (through serde) a full one is some 70 kB.
///
/// ```
/// use tidegate_observe::Ledger;
///
/// let (mut one, mut other) = (Ledger::default(), Ledger::default());
/// one.add(60_000, 9, 10);
/// other.add(60_000, 10, 10);
/// one.merge(&other);
/// let counts = one.sum(0, 120_000);
/// assert_eq!((counts.good, counts.total), (19, 20));
/// assert_eq!(counts.error_rate(), Some(0.05));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ledger {
    minutes: Tier<MINUTE_MS, 370>,
    ten_minutes: Tier<TEN_MINUTES_MS, 440>,
    hours: Tier<HOUR_MS, 2170>,
}

const TEN_MINUTES_MS: u64 = 10 * MINUTE_MS;

impl Ledger {
    /// The width of the buckets of each kind, in milliseconds, and the capacity in buckets.
    pub const TIERS: [(u64, usize); 3] = [(MINUTE_MS, 370), (TEN_MINUTES_MS, 440), (HOUR_MS, 2170)];

    /// Counts `total` requests at a moment, `good` of which were good (at most all of them).
    pub fn add(&mut self, at_ms: u64, good: u64, total: u64) {
        if total == 0 {
            return;
        }
        let counts = Counts {
            // Otherwise the count of bad ones would run below zero.
            good: good.min(total),
            total,
        };
        // Every request counts in all three at once, so that a sum needs only one of them.
        self.minutes.add(at_ms, counts);
        self.ten_minutes.add(at_ms, counts);
        self.hours.add(at_ms, counts);
    }

    /// The counts from `since_ms` to before `until_ms`. The first bucket counts whole: it
    /// reaches back before `since_ms` unless that is the beginning of a bucket. For windows of at
    /// most 6 hours this is a whole minute.
    pub fn sum(&self, since_ms: u64, until_ms: u64) -> Counts {
        if self.minutes.reaches(since_ms) {
            self.minutes.sum(since_ms, until_ms)
        } else if self.ten_minutes.reaches(since_ms) {
            self.ten_minutes.sum(since_ms, until_ms)
        } else {
            self.hours.sum(since_ms, until_ms)
        }
    }

    /// Adds the counts of another replica. Associative and commutative.
    pub fn merge(&mut self, other: &Self) {
        self.minutes.merge(&other.minutes);
        self.ten_minutes.merge(&other.ten_minutes);
        self.hours.merge(&other.hours);
    }

    /// How many buckets it has.
    pub fn buckets(&self) -> usize {
        self.minutes.0.len() + self.ten_minutes.0.len() + self.hours.0.len()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.buckets() == 0
    }

    /// Its buckets, for a store that adds up those of many ledgers.
    pub fn iter(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.minutes
            .iter()
            .chain(self.ten_minutes.iter())
            .chain(self.hours.iter())
    }

    /// Sets a bucket, unless more is known to be in it already; one of no tier's width is
    /// overlooked.
    pub fn raise(&mut self, bucket: Bucket) {
        match bucket.width_ms {
            MINUTE_MS => self.minutes.raise(bucket.index, bucket.counts),
            TEN_MINUTES_MS => self.ten_minutes.raise(bucket.index, bucket.counts),
            HOUR_MS => self.hours.raise(bucket.index, bucket.counts),
            _ => {}
        }
    }
}

/// The counts of one period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The width of the period, in milliseconds.
    pub width_ms: u64,
    /// Unix time over the width.
    pub index: u32,
    /// Its counts.
    pub counts: Counts,
}

/// How many requests there were, and how many of them were good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Good ones.
    pub good: u64,
    /// All that count.
    pub total: u64,
}

impl Counts {
    /// Those that were not good.
    pub fn bad(self) -> u64 {
        self.total - self.good
    }

    /// The share of bad ones; `None` if there were none at all.
    pub fn error_rate(self) -> Option<f64> {
        (self.total > 0).then(|| self.bad() as f64 / self.total as f64)
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        // Good stays at most the total, as both stop at the same number.
        Self {
            good: self.good.saturating_add(other.good),
            total: self.total.saturating_add(other.total),
        }
    }
}

/// The newest `CAPACITY` buckets of `WIDTH_MS` that have requests in them, sorted by index: Unix
/// time over the width.
///
/// Keeping the newest so many of a union commutes with taking unions: a bucket among them is among
/// the newest of every part that has it. Hence merging is associative.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Written>", into = "Vec<Written>")]
struct Tier<const WIDTH_MS: u64, const CAPACITY: usize>(Vec<(u32, Counts)>);

/// Index, good, total.
type Written = (u32, u64, u64);

impl<const WIDTH_MS: u64, const CAPACITY: usize> Tier<WIDTH_MS, CAPACITY> {
    fn add(&mut self, at_ms: u64, counts: Counts) {
        self.add_at(Self::index(at_ms), counts);
        self.forget();
    }

    fn merge(&mut self, other: &Self) {
        for &(index, counts) in &other.0 {
            self.add_at(index, counts);
        }
        self.forget();
    }

    /// Whether no bucket since then has been forgotten.
    fn reaches(&self, since_ms: u64) -> bool {
        self.0.len() < CAPACITY
            || self
                .0
                .first()
                .is_some_and(|&(first, _)| first <= Self::index(since_ms))
    }

    fn sum(&self, since_ms: u64, until_ms: u64) -> Counts {
        // Rounded up at the end: the bucket that `until_ms` lies in counts whole.
        let (first, end) = (
            Self::index(since_ms),
            Self::index(until_ms.saturating_add(WIDTH_MS - 1)),
        );
        let from = self.0.partition_point(|&(index, _)| index < first);
        let within = self.0[from..].iter().take_while(|&&(index, _)| index < end);
        within.fold(Counts::default(), |sum, &(_, counts)| sum + counts)
    }

    fn raise(&mut self, index: u32, counts: Counts) {
        match self.0.binary_search_by_key(&index, |&(index, _)| index) {
            Ok(at) if self.0[at].1.total > counts.total => {}
            Ok(at) => self.0[at].1 = counts,
            Err(at) => self.0.insert(at, (index, counts)),
        }
        self.forget();
    }

    fn iter(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.0.iter().map(|&(index, counts)| Bucket {
            width_ms: WIDTH_MS,
            index,
            counts,
        })
    }

    fn add_at(&mut self, index: u32, counts: Counts) {
        // Nearly always the last bucket or a new one behind it.
        match self.0.binary_search_by_key(&index, |&(index, _)| index) {
            Ok(at) => self.0[at].1 = self.0[at].1 + counts,
            Err(at) => self.0.insert(at, (index, counts)),
        }
    }

    /// Forgets by number, not by age: a clock that once runs ahead costs one bucket, not all of them.
    fn forget(&mut self) {
        self.0.drain(..self.0.len().saturating_sub(CAPACITY));
    }

    fn index(at_ms: u64) -> u32 {
        // Minutes since 1970 fit in 32 bits until after the year 10000.
        u32::try_from(at_ms / WIDTH_MS).unwrap_or(u32::MAX)
    }
}

impl<const WIDTH_MS: u64, const CAPACITY: usize> From<Vec<Written>> for Tier<WIDTH_MS, CAPACITY> {
    /// A tier from what was written, which may be unsorted or longer than a tier.
    fn from(written: Vec<Written>) -> Self {
        let mut tier = Self::default();
        for (index, good, total) in written {
            tier.add_at(
                index,
                Counts {
                    good: good.min(total),
                    total,
                },
            );
        }
        tier.forget();
        tier
    }
}

impl<const WIDTH_MS: u64, const CAPACITY: usize> From<Tier<WIDTH_MS, CAPACITY>> for Vec<Written> {
    fn from(tier: Tier<WIDTH_MS, CAPACITY>) -> Self {
        tier.0
            .into_iter()
            .map(|(index, counts)| (index, counts.good, counts.total))
            .collect()
    }
}

#[cfg(test)]
mod tests;
