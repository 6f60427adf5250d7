//! A version that other servers run: its servers, and the life of a request to them.
//!
//! ```text
//! run ─► place in flight ─► breaker ─► attempt ──────────────► answer, checked
//!                                       ▲   │ (hedge: a second one after p95)
//!                                       └───┘ fails before its answer began, and the budget allows it
//! ```

mod attempts;
mod health;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_core::{Manifest, Signature, Tensor};
use tidegate_engines::{FinishedRun, RunContext, UpstreamFailure};
use tidegate_gateway::{Breaker, BreakerTicket, CallEnd};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::address::{Address, call_end};
use crate::balancer::Balancer;
use crate::call::Call;
use crate::config::RemoteConfig;
use crate::failure::CallFailure;
use crate::latency::Latencies;
use crate::remotes::Remotes;
use crate::reporter::Reporter;
use crate::retry_budget::RetryBudget;
use crate::transport::{Transport, TransportContext, declared};

/// A server that does not answer for this long, or for twice the time of most requests, is to blame
/// for it; before, the caller was in a hurry.
const BLAMED_AFTER: Duration = Duration::from_secs(1);

/// One version, with its servers.
pub(crate) struct RemoteVersion {
    config: RemoteConfig,
    transports: TransportContext,
    addresses: Vec<Address>,
    balancer: Balancer,
    signature: OnceLock<LoadedSignature>,
    declared: Option<Signature>,
    breaker: Mutex<Breaker>,
    budget: Mutex<RetryBudget>,
    latencies: Mutex<Latencies>,
    places: Semaphore,
    waiting: AtomicUsize,
    reporter: Reporter,
}

struct LoadedSignature {
    signature: Arc<Signature>,
    /// Whether no server said it, so that people's words are all there is.
    is_declared: bool,
}

/// A request that the breaker let through. One that is dropped before its end was given up.
struct BreakerPass<'a> {
    version: &'a RemoteVersion,
    ticket: Option<BreakerTicket>,
    began: Instant,
}

/// A request that waits for its place.
struct Waiting<'a>(&'a AtomicUsize);

impl RemoteVersion {
    /// From within a runtime.
    pub(crate) fn new(
        manifest: &Manifest,
        config: RemoteConfig,
        remotes: Arc<Remotes>,
    ) -> Result<Self, String> {
        let transports = TransportContext::new(&config)?;
        let count = config.endpoints.len();
        let mut addresses = Vec::with_capacity(count);
        for (at, endpoint) in config.endpoints.iter().enumerate() {
            let transport = Transport::new(endpoint, &config, &transports)?;
            let name = endpoint.name.clone();
            addresses.push(Address::new(name, (at, count), transport, config.ejection));
        }
        Ok(Self {
            addresses,
            transports,
            balancer: Balancer::new(config.panic_share),
            signature: OnceLock::new(),
            declared: declared(manifest),
            breaker: Mutex::new(Breaker::new(config.breaker)),
            budget: Mutex::new(RetryBudget::new(config.retry_share)),
            latencies: Mutex::default(),
            places: Semaphore::new(config.max_in_flight),
            waiting: AtomicUsize::new(0),
            reporter: Reporter::new(remotes),
            config,
        })
    }

    /// Says under which name and number it is served.
    pub(crate) fn serves(&self, model: &str, version: &str) {
        self.reporter.serves(model, version);
    }

    /// Requests that wait for a place.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Runs one request.
    pub(crate) async fn run(
        &self,
        inputs: Vec<Option<Tensor>>,
        context: RunContext,
    ) -> Result<FinishedRun, CallFailure> {
        let now = Instant::now();
        let most = now + self.config.request_timeout;
        let deadline = context.deadline.map_or(most, |deadline| deadline.min(most));
        let call = Call {
            signature: self.loaded_signature().signature.clone(),
            inputs,
            deadline,
            trace: context.trace,
            has_batch_axis: self.config.has_batch_axis,
        };
        let _place = self.place(deadline).await?;
        let started = Instant::now();
        if started >= deadline {
            // Nobody waits for it: no server is asked.
            return Err(CallFailure::timed_out("the deadline has passed"));
        }
        let pass = self.pass_breaker(started)?;
        let outcome = self.attempts(&call).await;
        pass.end(&outcome);
        let outputs = outcome?;
        Ok(FinishedRun { outputs, started })
    }

    fn loaded_signature(&self) -> &LoadedSignature {
        self.signature
            .get()
            .expect("a version runs after it was loaded")
    }

    /// Waits for a place among the requests in flight.
    async fn place(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, CallFailure> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        // Counts down when it is dropped: also for a request that goes away while it waits.
        let _waiting = Waiting(&self.waiting);
        if waiting >= self.config.max_waiting {
            let problem = format!("{waiting} requests wait for the upstream servers already");
            return Err(CallFailure::new(UpstreamFailure::Overloaded, problem));
        }
        let late = "the deadline passed before the request could be sent to an upstream server";
        match tokio::time::timeout_at(deadline.into(), self.places.acquire()).await {
            Ok(place) => Ok(place.expect("the places are never closed")),
            Err(_) => Err(CallFailure::timed_out(late)),
        }
    }

    fn pass_breaker(&self, now: Instant) -> Result<BreakerPass<'_>, CallFailure> {
        let begun = self.breaker.lock().begin(now);
        let (ticket, change) = begun.map_err(|refusal| {
            let seconds = refusal.retry_in.as_secs_f64();
            CallFailure::new(
                UpstreamFailure::Unavailable,
                format!(
                    "too many requests to the upstream servers failed: they are asked again in \
                     {seconds:.1} s"
                ),
            )
        })?;
        if let Some(change) = change {
            self.reporter.breaker(change);
        }
        Ok(BreakerPass {
            version: self,
            ticket: Some(ticket),
            began: now,
        })
    }

    /// Whether a server is to blame that has not answered for so long.
    fn is_blamed(&self, took: Duration) -> bool {
        let p95 = self.latencies.lock().p95().unwrap_or_default();
        // A short deadline of a client is no proof that the server is slow.
        took >= BLAMED_AFTER.max(2 * p95).min(self.config.request_timeout)
    }
}

impl BreakerPass<'_> {
    fn end(mut self, outcome: &Result<Vec<Tensor>, CallFailure>) {
        let took = self.began.elapsed();
        let end = match outcome {
            Ok(_) => CallEnd::Succeeded,
            Err(failure) => call_end(failure, self.version.is_blamed(took)),
        };
        self.finish(end, took);
    }

    fn finish(&mut self, end: CallEnd, took: Duration) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let now = Instant::now();
        let change = self.version.breaker.lock().end(ticket, end, took, now);
        if let Some(change) = change {
            self.version.reporter.breaker(change);
        }
    }
}

impl Drop for BreakerPass<'_> {
    fn drop(&mut self) {
        self.finish(CallEnd::Unknown, Duration::ZERO);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for RemoteVersion {
    fn drop(&mut self) {
        let names = self.addresses.iter().map(|address| address.name.as_str());
        self.reporter.forget(names);
    }
}
