//! Traffic policies: which version answers a request that names none.
//!
//! ```text
//! TrafficTable ──snapshot──► EndpointTraffic ──choose──► Chosen ──► the version that answers
//!  (set by the server)        policy + router               └─────► ShadowCopy ──► ShadowQueue
//! ```
//!
//! Requests read a snapshot without a lock. A server without any policy reads one flag.

mod cascade;
mod endpoint_traffic;
mod output_watch;
mod shadow_copy;
mod shadow_queue;
mod shadow_report;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use http::HeaderMap;
use prometheus::IntCounterVec;
use tidegate_gateway::Caller;

pub use self::cascade::{CascadeCounts, RunningCascade};
pub(crate) use self::cascade::{CascadeMetrics, FirstOutcome};
pub(crate) use self::endpoint_traffic::Chosen;
pub use self::endpoint_traffic::{EndpointTraffic, TrafficError, named_versions};
pub use self::output_watch::{OutputValue, OutputWatch, WatchedOutput, WatchedVersion};
pub(crate) use self::shadow_copy::ShadowCopy;
use self::shadow_queue::ShadowQueue;
pub use self::shadow_report::{ShadowReport, WorstDisagreement};
use crate::{Exchange, Serving, Target};

/// The traffic policies that are in force, by endpoint.
pub struct TrafficTable {
    /// Whether there are any: this flag is all that requests read where there are none.
    is_active: AtomicBool,
    endpoints: ArcSwap<Endpoints>,
    /// What is noted of the outputs of endpoints whose versions are compared.
    watches: ArcSwap<Watches>,
    shadows: ShadowQueue,
    cascades: CascadeMetrics,
}

type Endpoints = HashMap<String, Arc<EndpointTraffic>>;
type Watches = HashMap<String, Arc<OutputWatch>>;

impl TrafficTable {
    /// No policies yet.
    pub(crate) fn new(shadow_requests: IntCounterVec, cascades: CascadeMetrics) -> Self {
        Self {
            is_active: AtomicBool::new(false),
            endpoints: ArcSwap::default(),
            watches: ArcSwap::default(),
            shadows: ShadowQueue::new(shadow_requests, cascades.audits.clone()),
            cascades,
        }
    }

    /// Puts these policies in force in place of all others, at once.
    pub fn replace(&self, endpoints: Vec<Arc<EndpointTraffic>>) {
        let endpoints = endpoints.into_iter();
        let endpoints: Endpoints = endpoints
            .map(|traffic| (traffic.endpoint().to_owned(), traffic))
            .collect();
        self.shadows.keep_reports_of(&endpoints);
        let is_active = !endpoints.is_empty();
        self.endpoints.store(Arc::new(endpoints));
        // After the policies: whoever sees the flag finds them.
        self.is_active.store(is_active, Ordering::Release);
    }

    /// The policy of an endpoint that is in force.
    pub fn of(&self, endpoint: &str) -> Option<Arc<EndpointTraffic>> {
        self.endpoints.load().get(endpoint).cloned()
    }

    /// Every policy that is in force.
    pub fn all(&self) -> Vec<Arc<EndpointTraffic>> {
        self.endpoints.load().values().cloned().collect()
    }

    /// Notes the outputs of these endpoints from now on, and of no others: those that policies have
    /// chosen the version for.
    pub fn watch_outputs(&self, endpoints: impl IntoIterator<Item = (String, Arc<OutputWatch>)>) {
        self.watches
            .store(Arc::new(endpoints.into_iter().collect()));
    }

    /// What the shadows of an endpoint have answered, by version.
    pub fn shadow_reports(&self, endpoint: &str) -> BTreeMap<String, ShadowReport> {
        self.shadows.reports(endpoint)
    }

    /// Runs the copies of requests that shadows get, on a thread of its own with the lowest priority.
    /// The thread ends when `serving` is dropped.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start_shadows(serving: &Arc<Serving>) -> std::io::Result<()> {
        shadow_queue::start(serving)
    }

    /// What policies may look at in a request; `None` if there are no policies.
    #[inline]
    pub(crate) fn headers<'e, E: Exchange>(&self, exchange: &'e E) -> Option<&'e HeaderMap> {
        if !self.is_active.load(Ordering::Acquire) {
            return None;
        }
        Some(exchange.credentials().headers())
    }

    /// The version that the endpoint's policy chooses; `None` where there is no policy, and for a request
    /// that names a version.
    #[cold]
    pub(crate) fn choose(
        &self,
        target: &Target,
        caller: &Caller,
        headers: &HeaderMap,
    ) -> Option<Box<Chosen>> {
        if target.version.is_some() {
            return None;
        }
        let endpoints = self.endpoints.load();
        let traffic = endpoints.get(&target.endpoint)?;
        let watch = self.watches.load().get(&target.endpoint).cloned();
        Some(Box::new(traffic.choose(caller, headers, watch)))
    }

    /// The policy of an endpoint with a cascade; `None` for a request that names a version.
    #[inline]
    pub(crate) fn cascade(&self, target: &Target) -> Option<Arc<EndpointTraffic>> {
        if !self.is_active.load(Ordering::Acquire) || target.version.is_some() {
            return None;
        }
        let endpoints = self.endpoints.load();
        let traffic = endpoints.get(&target.endpoint)?;
        traffic.cascade().map(|_| traffic.clone())
    }

    /// Counts what became of a request in the first version of a cascade.
    pub(crate) fn count_first(&self, traffic: &EndpointTraffic, outcome: FirstOutcome) {
        if let Some(cascade) = traffic.cascade() {
            cascade.count(outcome);
        }
        let labels = [traffic.endpoint(), outcome.name()];
        self.cascades.requests.with_label_values(&labels).inc();
    }

    pub(crate) fn shadows(&self) -> &ShadowQueue {
        &self.shadows
    }
}

/// The versions that policies name, by model: the fleet keeps them loaded.
pub type RequiredVersions = BTreeMap<String, BTreeSet<String>>;
