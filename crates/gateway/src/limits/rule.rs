//! A limit as it was configured: which requests it counts, and what it allows.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::bucket::Bucket;
use super::config::{LimitConfig, LimitError};
use super::status::PolicyNames;
use crate::Caller;

const MAX_NAME_BYTES: usize = 64;
/// Most counts that one rule with a `*` keeps apart.
const MAX_BUCKETS: usize = 100_000;
/// About one in eleven days. Below it, times would not fit into the clock of a bucket.
const MIN_RATE: f64 = 1e-6;
const MAX_RATE: f64 = 1e9;
const MAX_COUNT: u64 = 1_000_000_000_000_000;

/// Which tenants, principals or endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Selector {
    /// All together.
    All,
    /// Each on its own.
    Each,
    /// This one.
    Only(String),
}

impl Selector {
    fn of(text: Option<&str>) -> Self {
        match text {
            None => Self::All,
            Some("*") => Self::Each,
            Some(name) => Self::Only(name.to_owned()),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Only(own) => own == name,
            // Those of no tenant are counted together: a limit of each tenant must not leave out
            // callers for whom nobody has named one.
            Self::Each | Self::All => true,
        }
    }
}

#[derive(Debug)]
pub(super) struct Rule {
    config: LimitConfig,
    policies: PolicyNames,
    tenant: Selector,
    principal: Selector,
    endpoint: Selector,
    /// Whether servers count its rates together.
    pub(super) is_shared: bool,
    buckets: RwLock<HashMap<String, Arc<Bucket>>>,
}

impl Rule {
    pub(super) fn parse(config: &LimitConfig) -> Result<Self, LimitError> {
        check(config)?;
        Ok(Self {
            tenant: Selector::of(config.tenant.as_deref()),
            principal: Selector::of(config.principal.as_deref()),
            endpoint: Selector::of(config.endpoint.as_deref()),
            policies: PolicyNames::new(&config.name),
            config: config.clone(),
            is_shared: false,
            buckets: RwLock::default(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.config.name
    }

    pub(super) fn policies(&self) -> &PolicyNames {
        &self.policies
    }

    /// The bucket of a request; `None` if the rule is not about it.
    ///
    /// # Errors
    /// If there are too many counts already.
    pub(super) fn bucket(
        &self,
        caller: &Caller,
        endpoint: &str,
        now_ns: u64,
        now_ms: i64,
    ) -> Result<Option<Arc<Bucket>>, TooManyBuckets> {
        if !self.tenant.matches(caller.tenant()) || !self.endpoint.matches(endpoint) {
            return Ok(None);
        }
        let principal = match self.principal {
            Selector::All => String::new(),
            _ => caller.principal().to_string(),
        };
        if !self.principal.matches(&principal) {
            return Ok(None);
        }
        let key = self.key(caller.tenant(), &principal, endpoint);
        if let Some(bucket) = self.buckets.read().get(&key) {
            return Ok(Some(bucket.clone()));
        }
        self.new_bucket(key, now_ns, now_ms).map(Some)
    }

    /// What tells the count of a request from the others of the rule. Names have no control
    /// characters, so that two requests never share a key by chance.
    fn key(&self, tenant: &str, principal: &str, endpoint: &str) -> String {
        let mut key = String::new();
        let parts = [
            (&self.tenant, tenant),
            (&self.principal, principal),
            (&self.endpoint, endpoint),
        ];
        for (selector, name) in parts {
            if *selector == Selector::Each {
                key.push_str(name);
            }
            key.push('\n');
        }
        key
    }

    fn new_bucket(
        &self,
        key: String,
        now_ns: u64,
        now_ms: i64,
    ) -> Result<Arc<Bucket>, TooManyBuckets> {
        let mut buckets = self.buckets.write();
        if buckets.len() >= MAX_BUCKETS {
            // Only at the bound: a pass over all of them takes long, and requests wait for the
            // lock.
            buckets.retain(|_, bucket| !bucket.is_idle(now_ns, now_ms));
            if buckets.len() >= MAX_BUCKETS {
                return Err(TooManyBuckets);
            }
        }
        let id = format!("{}\n{key}", self.config.name);
        let bucket = buckets
            .entry(key)
            .or_insert_with(|| Arc::new(Bucket::new(&self.config, &id, self.is_shared)));
        Ok(bucket.clone())
    }

    pub(super) fn all_buckets(&self) -> Vec<Arc<Bucket>> {
        self.buckets.read().values().cloned().collect()
    }
}

/// A rule counts too many tenants, principals or endpoints apart.
#[derive(Debug)]
pub(super) struct TooManyBuckets;

fn check(config: &LimitConfig) -> Result<(), LimitError> {
    let name = &config.name;
    if !(1..=MAX_NAME_BYTES).contains(&name.len()) || !name.bytes().all(is_name_byte) {
        return Err(LimitError::Name(
            name.chars().take(MAX_NAME_BYTES).collect(),
        ));
    }
    let rates = [
        ("requests_per_second", config.requests_per_second),
        ("rows_per_second", config.rows_per_second),
    ];
    for (key, rate) in rates {
        // NaN is in no range.
        if rate.is_some_and(|rate| !(MIN_RATE..=MAX_RATE).contains(&rate)) {
            return Err(LimitError::Rate(name.clone(), key));
        }
    }
    let counts = [
        ("burst_requests", config.burst_requests),
        ("burst_rows", config.burst_rows),
        ("max_in_flight", config.max_in_flight.map(u64::from)),
        ("requests_per_day", config.requests_per_day),
        ("requests_per_month", config.requests_per_month),
        ("rows_per_day", config.rows_per_day),
        ("rows_per_month", config.rows_per_month),
    ];
    for (key, count) in counts {
        if count.is_some_and(|count| !(1..MAX_COUNT).contains(&count)) {
            return Err(LimitError::Count(name.clone(), key));
        }
    }
    let bursts = [
        (config.burst_requests, rates[0], "burst_requests"),
        (config.burst_rows, rates[1], "burst_rows"),
    ];
    for (burst, (rate_key, rate), burst_key) in bursts {
        if burst.is_some() && rate.is_none() {
            return Err(LimitError::Burst(name.clone(), burst_key, rate_key));
        }
    }
    let has_rate = rates.iter().any(|(_, rate)| rate.is_some());
    if !has_rate && counts[2..].iter().all(|(_, count)| count.is_none()) {
        return Err(LimitError::Nothing(name.clone()));
    }
    Ok(())
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte)
}
