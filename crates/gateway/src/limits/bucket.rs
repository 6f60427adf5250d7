//! What one rule counts for one tenant, principal or endpoint.

use std::sync::atomic::{AtomicU32, Ordering};

use super::config::LimitConfig;
use super::quota::{Period, Quota};
use super::rate::RateBucket;

#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) requests: Option<RateBucket>,
    pub(super) rows: Option<RateBucket>,
    pub(super) max_in_flight: Option<u32>,
    in_flight: AtomicU32,
    pub(super) request_quotas: Vec<Quota>,
    pub(super) row_quotas: Vec<Quota>,
}

impl Bucket {
    /// `id` tells it from all other buckets.
    pub(super) fn new(config: &LimitConfig, id: &str) -> Self {
        Self {
            requests: rate(config.requests_per_second, config.burst_requests),
            rows: rate(config.rows_per_second, config.burst_rows),
            max_in_flight: config.max_in_flight,
            in_flight: AtomicU32::new(0),
            request_quotas: quotas(
                id,
                "requests",
                config.requests_per_day,
                config.requests_per_month,
            ),
            row_quotas: quotas(id, "rows", config.rows_per_day, config.rows_per_month),
        }
    }

    /// Takes a place for a request in work.
    pub(super) fn enter(&self) -> bool {
        let Some(max) = self.max_in_flight else {
            return true;
        };
        let next = |in_flight: u32| (in_flight < max).then_some(in_flight + 1);
        self.in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok()
    }

    /// Gives the place of [`Bucket::enter`] back.
    pub(super) fn leave(&self) {
        if self.max_in_flight.is_some() {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn quotas(&self) -> impl Iterator<Item = &Quota> {
        self.request_quotas.iter().chain(&self.row_quotas)
    }

    /// Whether a new bucket in its place would count the same.
    pub(super) fn is_idle(&self, now_ns: u64, now_ms: i64) -> bool {
        let rates = [&self.requests, &self.rows];
        self.in_flight() == 0
            && rates.into_iter().flatten().all(|rate| rate.is_full(now_ns))
            && !self.quotas().any(|quota| quota.has_lease(now_ms))
    }
}

fn rate(per_second: Option<f64>, burst: Option<u64>) -> Option<RateBucket> {
    let per_second = per_second?;
    // The burst of a rate below one a second is one: else nothing would ever pass.
    let burst = burst.unwrap_or_else(|| per_second.ceil().max(1.0) as u64);
    Some(RateBucket::new(per_second, burst))
}

fn quotas(id: &str, unit: &str, day: Option<u64>, month: Option<u64>) -> Vec<Quota> {
    let periods = [(Period::Day, day), (Period::Month, month)];
    let set = periods.into_iter().filter_map(|(period, limit)| {
        let id = format!("{id}{unit}\n{}", period.name());
        Some(Quota::new(id, period, limit?))
    });
    set.collect()
}
