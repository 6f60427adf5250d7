//! What one rule counts for one tenant, principal or endpoint.

use std::sync::atomic::{AtomicU32, Ordering};

use super::config::LimitConfig;
use super::quota::{Period, Quota};
use super::rate::RateBucket;
use super::shared_rate::SharedRate;

#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) requests: Option<Rate>,
    pub(super) rows: Option<Rate>,
    pub(super) max_in_flight: Option<u32>,
    in_flight: AtomicU32,
    pub(super) request_quotas: Vec<Quota>,
    pub(super) row_quotas: Vec<Quota>,
}

/// A rate.
#[derive(Debug)]
pub(super) struct Rate {
    /// What this server counts alone.
    pub(super) own: RateBucket,
    /// What servers count together in Redis, if they do; while Redis is away, the own bucket is used.
    pub(super) shared: Option<SharedRate>,
}

impl Bucket {
    /// `id` tells it from all other buckets. Its rates can be those of all servers together.
    pub(super) fn new(config: &LimitConfig, id: &str, is_shared: bool) -> Self {
        let [requests, rows] =
            ["requests", "rows"].map(|unit| is_shared.then(|| format!("{id}{unit}")));
        Self {
            requests: config
                .requests_per_second
                .map(|per_second| Rate::new(per_second, config.burst_requests, requests)),
            rows: config
                .rows_per_second
                .map(|per_second| Rate::new(per_second, config.burst_rows, rows)),
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
            // Relaxed is enough: each update is atomic by itself, and the count guards no other
            // memory.
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

    pub(super) fn rates(&self) -> impl Iterator<Item = &Rate> {
        [&self.requests, &self.rows].into_iter().flatten()
    }

    /// Whether a new bucket in its place would count the same.
    pub(super) fn is_idle(&self, now_ns: u64, now_ms: i64) -> bool {
        self.in_flight() == 0
            && self.rates().all(|rate| rate.is_idle(now_ns))
            && !self.quotas().any(|quota| quota.has_lease(now_ms))
    }
}

impl Rate {
    /// `shared` is the name under which servers count it together.
    fn new(per_second: f64, burst: Option<u64>, shared: Option<String>) -> Self {
        // The burst of a rate below one a second is one: else nothing would ever pass.
        let burst = burst.unwrap_or_else(|| per_second.ceil().max(1.0) as u64);
        Self {
            own: RateBucket::new(per_second, burst),
            shared: shared.map(|name| SharedRate::new(name, per_second, burst)),
        }
    }

    fn is_idle(&self, now_ns: u64) -> bool {
        let shared = self.shared.as_ref();
        self.own.is_full(now_ns) && shared.is_none_or(|shared| shared.is_idle(now_ns))
    }
}

fn quotas(id: &str, unit: &str, day: Option<u64>, month: Option<u64>) -> Vec<Quota> {
    let periods = [(Period::Day, day), (Period::Month, month)];
    let set = periods.into_iter().filter_map(|(period, limit)| {
        let id = format!("{id}{unit}\n{}", period.name());
        Some(Quota::new(id, period, limit?))
    });
    set.collect()
}
