//! Finds the limits of a request, and takes from them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_redis::RedisClient;
use tidegate_store::now_ms;
use tracing::warn;

use super::bucket::{Bucket, Rate};
use super::charge::Charge;
use super::config::{LimitError, LimitsConfig, WhenUnavailable};
use super::quota::{Pause, Quota, QuotaStore, Taken};
use super::rate::Empty;
use super::rule::Rule;
use super::status::{LimitStatus, PolicyNames, PolicyStatus};
use crate::denied::{Limited, LimitedBy};
use crate::{Caller, Denied};

const NS_PER_SECOND: u64 = 1_000_000_000;
/// As many as most limits have.
const POLICIES_A_BUCKET: usize = 3;
/// Longest that a request waits for the database of quotas.
const LEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// All limits of a server.
#[derive(Debug)]
pub struct Limiter {
    rules: Vec<Rule>,
    quotas: Arc<dyn QuotaStore>,
    /// Where servers count rates together; `None` if each counts its own.
    pub(super) redis: Option<Arc<RedisClient>>,
    when_unavailable: WhenUnavailable,
    /// The clock of rates begins here: it never jumps.
    start: Instant,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Requests,
    Rows,
}

impl Unit {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Rows => "rows",
        }
    }

    pub(super) fn too_many(self, empty: Empty) -> LimitedBy {
        LimitedBy::Rate {
            unit: self.name(),
            wait_s: empty.wait_ns.div_ceil(NS_PER_SECOND),
        }
    }

    /// The unit in headers, where requests are not named.
    fn in_headers(self) -> Option<&'static str> {
        match self {
            Self::Requests => None,
            Self::Rows => Some("rows"),
        }
    }
}

/// A bucket that a request is charged to, and the name of its rule.
#[derive(Debug)]
pub(super) struct Charged {
    pub(super) rule: usize,
    pub(super) bucket: Arc<Bucket>,
}

impl Limiter {
    /// The limits of a configuration, with their quotas counted in `quotas`.
    ///
    /// # Errors
    /// What is wrong with a limit.
    pub fn new(config: &LimitsConfig, quotas: Arc<dyn QuotaStore>) -> Result<Self, LimitError> {
        let mut rules: Vec<Rule> = Vec::new();
        for limit in &config.rule {
            let rule = Rule::parse(limit)?;
            if rules.iter().any(|known| known.name() == rule.name()) {
                return Err(LimitError::Duplicate(rule.name().to_owned()));
            }
            rules.push(rule);
        }
        Ok(Self {
            rules,
            quotas,
            redis: None,
            when_unavailable: config.when_unavailable,
            start: Instant::now(),
        })
    }

    /// The same, with rates that are those of all servers together.
    #[must_use]
    pub fn with_shared_rates(mut self, redis: Arc<RedisClient>) -> Self {
        for rule in &mut self.rules {
            rule.is_shared = true;
        }
        self.redis = Some(redis);
        self
    }

    /// Counts one request of a caller to an endpoint; `None` if no limit is about it.
    ///
    /// # Errors
    /// [`Denied::Limited`]; then nothing was counted.
    pub async fn charge(
        self: &Arc<Self>,
        caller: &Caller,
        endpoint: &str,
    ) -> Result<Option<Charge>, Denied> {
        let (now_ns, now_ms) = (self.now_ns(), now_ms());
        let mut buckets = Vec::with_capacity(self.rules.len());
        for (index, rule) in self.rules.iter().enumerate() {
            let found = rule.bucket(caller, endpoint, now_ns, now_ms);
            let found = found.map_err(|_| {
                Denied::Unavailable(
                    "a limit counts too many tenants, principals or endpoints apart",
                )
            })?;
            buckets.extend(found.map(|bucket| Charged {
                rule: index,
                bucket,
            }));
        }
        if buckets.is_empty() {
            return Ok(None);
        }
        // All buckets were found before: a rule that can count no more callers has taken nothing
        // yet.
        let mut charge = Charge::new(self.clone(), buckets, now_ms);
        // Places first: a refusal for them asks neither Redis nor the database.
        charge.enter()?;
        charge.take(Unit::Requests, 1).await?;
        Ok(Some(charge))
    }

    /// Gives everything back that was leased and not used, to the database and to Redis. For the end of
    /// a server.
    pub async fn surrender_leases(&self) {
        self.surrender_rates().await;
        for bucket in self.all_buckets() {
            for quota in bucket.quotas() {
                let request = quota.request(0, now_ms());
                if request.owed > 0
                    && let Ok(lease) = self.quotas.lease(request).await
                {
                    quota.add(request, lease, now_ms());
                }
                if let Some((period_ms, count)) = quota.surrender() {
                    // Without it the rest of a lease counts as used.
                    let given = self.quotas.give_back(&quota.id, period_ms, count).await;
                    if let Err(error) = given {
                        warn!(quota = quota.id, count, %error, "a lease was not given back");
                    }
                }
            }
        }
    }

    pub(super) fn all_buckets(&self) -> Vec<Arc<Bucket>> {
        self.rules.iter().flat_map(Rule::all_buckets).collect()
    }

    pub(super) fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Takes from one bucket, or nothing. Tokens of shared rates are there already.
    pub(super) async fn take(
        &self,
        charged: &Charged,
        unit: Unit,
        count: u64,
    ) -> Result<(), LimitedBy> {
        let (rate, quotas) = parts(&charged.bucket, unit);
        if let Some(rate) = rate.filter(|rate| rate.shared.is_none()) {
            let taken = rate.own.take(count, self.now_ns());
            taken.map_err(|empty| unit.too_many(empty))?;
        }
        for index in 0..quotas.len() {
            if let Err(refused) = self.take_quota(&charged.bucket, unit, index, count).await {
                let now_ms = now_ms();
                for taken in &quotas[..index] {
                    taken.give_back(count, taken.period_ms(now_ms));
                }
                // What all buckets gave together is given back together; see `Charge::take`.
                if let Some(rate) = rate.filter(|rate| rate.shared.is_none()) {
                    rate.own.give_back(count);
                }
                return Err(refused);
            }
        }
        Ok(())
    }

    /// Gives back what was taken of a bucket.
    pub(super) fn give_back(&self, charged: &Charged, unit: Unit, count: u64, charged_ms: i64) {
        let (rate, quotas) = parts(&charged.bucket, unit);
        if let Some(rate) = rate {
            self.give_back_rate(rate, count);
        }
        for quota in quotas {
            quota.give_back(count, quota.period.bounds(charged_ms).0);
        }
    }

    async fn take_quota(
        &self,
        bucket: &Arc<Bucket>,
        unit: Unit,
        index: usize,
        count: u64,
    ) -> Result<(), LimitedBy> {
        let quota = &parts(bucket, unit).1[index];
        let taken = match quota.take(count, now_ms()) {
            Taken::NeedsLease => {
                // A task of its own: if the client goes away meanwhile, what the database gives must
                // not get lost.
                let (bucket, store) = (bucket.clone(), self.quotas.clone());
                let leasing = tokio::spawn(async move {
                    let quota = &parts(&bucket, unit).1[index];
                    take_with_lease(quota, store.as_ref(), count).await
                });
                leasing.await.unwrap_or(Taken::Paused(Pause::Unreachable))
            }
            taken => taken,
        };
        match taken {
            Taken::Yes => Ok(()),
            Taken::Paused(Pause::Unreachable) => match self.when_unavailable {
                WhenUnavailable::Allow => {
                    quota.owe(count, now_ms());
                    Ok(())
                }
                WhenUnavailable::Refuse => Err(LimitedBy::QuotaUnavailable),
            },
            Taken::Paused(Pause::UsedUp) | Taken::NeedsLease => {
                let status = quota.status(now_ms());
                Err(LimitedBy::Quota {
                    unit: unit.name(),
                    period: quota.period.name(),
                    left: status.remaining,
                    asked: count,
                    wait_s: seconds(status.ends_in_ms),
                })
            }
        }
    }

    /// Why a request is refused, with what is left of all its limits.
    pub(super) fn refusal(&self, rule: usize, by: LimitedBy, buckets: &[Charged]) -> Denied {
        if by == LimitedBy::QuotaUnavailable {
            return Denied::Unavailable("the database of quotas cannot be reached");
        }
        Denied::Limited(Box::new(Limited {
            limit: self.rules[rule].name().to_owned(),
            by,
            status: self.status(buckets),
        }))
    }

    pub(super) fn status(&self, buckets: &[Charged]) -> LimitStatus {
        let (now_ns, now_ms) = (self.now_ns(), now_ms());
        let mut policies = Vec::with_capacity(POLICIES_A_BUCKET * buckets.len());
        for charged in buckets {
            let names = self.rules[charged.rule].policies();
            for unit in [Unit::Requests, Unit::Rows] {
                self.add_rate(&mut policies, names, charged, unit, now_ns);
                add_quotas(&mut policies, names, charged, unit, now_ms);
            }
            if let Some(max) = charged.bucket.max_in_flight {
                let remaining = max.saturating_sub(charged.bucket.in_flight());
                policies.push(PolicyStatus {
                    name: names.in_flight.clone(),
                    quota: u64::from(max),
                    unit: Some("concurrent-requests"),
                    window_s: None,
                    remaining: u64::from(remaining),
                    reset_s: None,
                });
            }
        }
        LimitStatus { policies }
    }

    fn add_rate(
        &self,
        policies: &mut Vec<PolicyStatus>,
        names: &PolicyNames,
        charged: &Charged,
        unit: Unit,
        now_ns: u64,
    ) {
        let Some(rate) = rate_of(charged, unit) else {
            return;
        };
        let (remaining, full_in_ns) = self.remaining(rate, now_ns);
        policies.push(PolicyStatus {
            name: names.rate(unit),
            quota: rate.own.burst(),
            unit: unit.in_headers(),
            window_s: Some(rate.own.window_s()),
            remaining,
            reset_s: Some(full_in_ns.div_ceil(NS_PER_SECOND)),
        });
    }
}

/// The rate of a bucket, if it has one.
pub(super) fn rate_of(charged: &Charged, unit: Unit) -> Option<&Rate> {
    parts(&charged.bucket, unit).0
}

fn parts(bucket: &Bucket, unit: Unit) -> (Option<&Rate>, &[Quota]) {
    match unit {
        Unit::Requests => (bucket.requests.as_ref(), &bucket.request_quotas),
        Unit::Rows => (bucket.rows.as_ref(), &bucket.row_quotas),
    }
}

/// Takes from a quota, with as many leases as that needs. [`Taken::NeedsLease`] if too little is left.
async fn take_with_lease(quota: &Quota, store: &dyn QuotaStore, count: u64) -> Taken {
    // One at a time: those who wait find what the first one got.
    let _leasing = quota.leasing.lock().await;
    loop {
        let now_ms = now_ms();
        match quota.take(count, now_ms) {
            Taken::NeedsLease => {}
            taken => return taken,
        }
        let request = quota.request(count, now_ms);
        match tokio::time::timeout(LEASE_TIMEOUT, store.lease(request)).await {
            Ok(Ok(lease)) => {
                quota.add(request, lease, now_ms);
                if lease.granted < request.least {
                    return quota.take(count, now_ms);
                }
            }
            Ok(Err(error)) => return unreachable(quota, &error.0, now_ms),
            Err(_) => return unreachable(quota, "the database does not answer", now_ms),
        }
    }
}

fn unreachable(quota: &Quota, problem: &str, now_ms: i64) -> Taken {
    if quota.pause(now_ms) {
        warn!(quota = quota.id, problem, "a quota cannot be counted now");
    }
    Taken::Paused(Pause::Unreachable)
}

fn add_quotas(
    policies: &mut Vec<PolicyStatus>,
    names: &PolicyNames,
    charged: &Charged,
    unit: Unit,
    now_ms: i64,
) {
    for quota in parts(&charged.bucket, unit).1 {
        let status = quota.status(now_ms);
        policies.push(PolicyStatus {
            name: names.quota(unit, quota.period),
            quota: quota.limit,
            unit: unit.in_headers(),
            window_s: Some(seconds(status.length_ms)),
            remaining: status.remaining,
            reset_s: Some(seconds(status.ends_in_ms)),
        });
    }
}

/// Whole seconds, rounded up.
fn seconds(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0).div_ceil(1000)
}

#[cfg(test)]
mod tests;
