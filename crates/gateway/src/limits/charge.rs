//! What a request has taken from its limits.

use std::sync::Arc;

use super::limiter::{Charged, Limiter, Unit, rate_of};
use super::status::LimitStatus;
use crate::Denied;
use crate::denied::LimitedBy;

/// What a request has taken from its limits. Its places of requests in work are given back when it is
/// dropped; the rest is used, unless it is [refunded](Charge::refund) before it is
/// [settled](Charge::settle).
#[derive(Debug)]
pub struct Charge {
    limiter: Arc<Limiter>,
    buckets: Vec<Charged>,
    /// How many of the buckets have given a place.
    entered: usize,
    requests: u64,
    rows: u64,
    is_settled: bool,
    /// When it was charged, in milliseconds since 1970: what is refunded goes back to that day.
    charged_ms: i64,
}

impl Charge {
    pub(super) fn new(limiter: Arc<Limiter>, buckets: Vec<Charged>, charged_ms: i64) -> Self {
        Self {
            limiter,
            buckets,
            entered: 0,
            requests: 0,
            rows: 0,
            is_settled: false,
            charged_ms,
        }
    }

    pub(super) fn enter(&mut self) -> Result<(), Denied> {
        for charged in &self.buckets {
            if !charged.bucket.enter() {
                let by = LimitedBy::InFlight;
                return Err(self.limiter.refusal(charged.rule, by, &self.buckets));
            }
            // Counted one by one: a refusal by a later bucket drops the charge, which must leave
            // only the buckets that were entered.
            self.entered += 1;
        }
        Ok(())
    }

    pub(super) async fn take(&mut self, unit: Unit, count: u64) -> Result<(), Denied> {
        // Shared rates first and all at once, so that Redis is asked once.
        if let Some(redis) = &self.limiter.redis {
            let taken = self.limiter.take_shared(redis, &self.buckets, unit, count);
            if let Err((index, empty)) = taken.await {
                let by = unit.too_many(empty);
                let rule = self.buckets[index].rule;
                return Err(self.limiter.refusal(rule, by, &self.buckets));
            }
        }
        for (index, charged) in self.buckets.iter().enumerate() {
            if let Err(by) = self.limiter.take(charged, unit, count).await {
                self.give_back_partly(unit, count, index);
                return Err(self.limiter.refusal(charged.rule, by, &self.buckets));
            }
        }
        match unit {
            Unit::Requests => self.requests += count,
            Unit::Rows => self.rows += count,
        }
        Ok(())
    }

    /// Gives back what was taken before a bucket refused: all of the buckets before it, and the shared
    /// rates of it and of those behind it.
    fn give_back_partly(&self, unit: Unit, count: u64, refused: usize) {
        let (taken, others) = self.buckets.split_at(refused);
        for taken in taken {
            self.limiter.give_back(taken, unit, count, self.charged_ms);
        }
        for rate in others.iter().filter_map(|other| rate_of(other, unit)) {
            if rate.shared.is_some() {
                self.limiter.give_back_rate(rate, count);
            }
        }
    }

    /// Counts the rows of the request, once they are known.
    ///
    /// # Errors
    /// [`Denied::Limited`]. The request stays counted: it was read and decoded.
    pub async fn add_rows(&mut self, rows: u64) -> Result<(), Denied> {
        self.take(Unit::Rows, rows).await
    }

    /// Whether rows were counted.
    pub(crate) fn has_rows(&self) -> bool {
        self.rows > 0
    }

    /// Keeps what was taken from now on: work was done for the request, whatever comes of it.
    pub fn settle(&mut self) {
        self.is_settled = true;
    }

    /// Gives back what was taken, unless it is settled: the server could not do the work.
    pub fn refund(&mut self) {
        if self.is_settled {
            return;
        }
        for charged in &self.buckets {
            for (unit, count) in [(Unit::Requests, self.requests), (Unit::Rows, self.rows)] {
                self.limiter
                    .give_back(charged, unit, count, self.charged_ms);
            }
        }
        // A second refund must give nothing back.
        (self.requests, self.rows) = (0, 0);
    }

    /// What is left of the limits.
    pub fn status(&self) -> LimitStatus {
        self.limiter.status(&self.buckets)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        for charged in &self.buckets[..self.entered] {
            charged.bucket.leave();
        }
    }
}
