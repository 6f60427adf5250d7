//! One thread that sends: many connections on one single-threaded runtime.

mod closed;
mod open;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::client::{Client, Pool};
use crate::failure::{Failure, FailureKind};
use crate::payload::Payload;
use crate::plan::{Pattern, Plan};
use crate::record::{FinishedRequest, Recorder};

/// How long a client waits before it tries to connect again.
const RECONNECT_AFTER: Duration = Duration::from_millis(100);

/// The state that all sending threads of a load share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) plan: Plan,
    /// Sending begins when every thread has opened its connections.
    pub(crate) ready: Barrier,
    start: OnceLock<Instant>,
    pub(crate) stop: AtomicBool,
    /// Why sending stopped before its time.
    pub(crate) ended_early: OnceLock<String>,
}

impl Shared {
    pub(crate) fn new(plan: Plan) -> Self {
        // The threads, and the one that adds up their counts.
        let ready = Barrier::new(plan.threads + 1);
        Self {
            plan,
            ready,
            start: OnceLock::new(),
            stop: AtomicBool::new(false),
            ended_early: OnceLock::new(),
        }
    }

    /// When the load began: the time of the first call.
    pub(crate) fn start(&self) -> Instant {
        *self.start.get_or_init(Instant::now)
    }

    /// Stops sending early; requests in flight still finish.
    pub(crate) fn end_early(&self, reason: &str) {
        self.ended_early.get_or_init(|| reason.to_owned());
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// The state of one sending thread.
#[derive(Debug)]
pub(crate) struct Sender {
    shared: Arc<Shared>,
    thread: usize,
    recorder: Mutex<Recorder>,
    /// The number of requests that are still to be measured.
    budget: Option<AtomicI64>,
    begun: AtomicU64,
    ended: AtomicU64,
    opened: AtomicU64,
}

/// A request to send.
#[derive(Clone, Copy, Debug)]
struct PlannedRequest<'a> {
    phase: Option<usize>,
    /// The intended send time; `None` for now.
    intended: Option<Instant>,
    model: usize,
    payload: &'a Payload,
}

impl Sender {
    pub(crate) fn new(shared: Arc<Shared>, thread: usize) -> Self {
        let plan = &shared.plan;
        // A recorder for each thread, so that sending threads never wait for one another.
        let recorder = Recorder::new(plan.mix.names().count(), plan.is_closed(), plan.deadline);
        let budget = plan
            .requests
            .map(|requests| i64::try_from(plan.share(requests, thread)).unwrap_or(i64::MAX))
            .map(AtomicI64::new);
        let [begun, ended, opened] = [(); 3].map(|()| AtomicU64::new(0));
        Self {
            recorder: Mutex::new(recorder),
            budget,
            shared,
            thread,
            begun,
            ended,
            opened,
        }
    }

    /// Sends until the plan is done and every request has ended.
    pub(crate) fn run(self: &Arc<Self>) -> std::io::Result<()> {
        // One thread and no work stealing: a task that moves between cores would add to the latency
        // that is measured.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                // The others wait at the barrier for every thread, also for one that failed.
                self.shared.ready.wait();
                return Err(error);
            }
        };
        match &self.plan().pattern {
            Pattern::Closed { concurrency } => {
                let clients = self.plan().share(*concurrency as u64, self.thread);
                runtime.block_on(closed::run(self, clients));
                Ok(())
            }
            Pattern::Open(arrivals) => runtime.block_on(open::run(self, arrivals)),
        }
    }

    /// Requests in flight.
    pub(crate) fn in_flight(&self) -> u64 {
        self.begun
            .load(Ordering::Relaxed)
            // Read a moment later: by then, more may have ended than had begun.
            .saturating_sub(self.ended.load(Ordering::Relaxed))
    }

    /// Connections opened so far.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    pub(crate) fn recorder(&self) -> std::sync::MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self) -> &Plan {
        &self.shared.plan
    }

    /// A pool with this thread's share of the connections.
    fn pool(&self) -> Pool {
        let plan = self.plan();
        let connections = plan.share(plan.connections as u64, self.thread).max(1);
        Pool::new(
            &plan.target,
            usize::try_from(connections).unwrap_or(usize::MAX),
        )
    }

    /// Connects before the load begins. If that fails, the first request tries again, and a failure
    /// counts there.
    async fn connect(&self, client: &mut Client) {
        let connected = tokio::time::timeout(self.plan().timeout, client.connect()).await;
        self.opened.fetch_add(
            u64::from(matches!(connected, Ok(Ok(true)))),
            Ordering::Relaxed,
        );
    }

    /// Waits for the other threads, and returns when the load began.
    fn begin(&self) -> Instant {
        self.shared.ready.wait();
        self.shared.start()
    }

    /// Subtracts one request from the number to measure, if there is one.
    fn may_measure(&self) -> bool {
        self.budget
            .as_ref()
            // The number may go below zero: each client takes one more than there is, and stops.
            .is_none_or(|budget| budget.fetch_sub(1, Ordering::Relaxed) > 0)
    }

    /// Sends one request and records its outcome.
    async fn send(&self, client: &mut Client, request: PlannedRequest<'_>) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        // Before connecting: a user waits for the connection too.
        let sent = Instant::now();
        let timeout = self.plan().timeout;
        let result =
            match tokio::time::timeout(timeout, self.exchange(client, request.payload)).await {
                Ok(result) => result,
                Err(_) => Err(Failure::new(
                    FailureKind::Timeout,
                    format!("no answer within {timeout:?}"),
                )),
            };
        let is_unreachable =
            matches!(&result, Err(failure) if failure.kind == FailureKind::Connect);
        let end = Instant::now();
        let elapsed = end.saturating_duration_since(self.shared.start());
        let ended = FinishedRequest {
            phase: request.phase,
            end_phase: self.plan().phase_at(elapsed),
            intended: request.intended.unwrap_or(sent),
            sent,
            end,
            elapsed,
            model: request.model,
            rows: request.payload.rows,
            bytes_sent: request.payload.bytes.len() as u64,
            result,
        };
        // Recorded before it counts as ended, so that no request is in neither of the two.
        let unreachable = self.recorder().record(ended);
        self.ended.fetch_add(1, Ordering::Relaxed);
        if unreachable > timeout {
            self.shared
                .end_early(&format!("no connection could be opened for {timeout:?}"));
        }
        // In a closed loop, a refused connection costs no time: without a pause, clients would do
        // nothing but connect. In an open loop, the schedule sets the pace.
        if is_unreachable && self.plan().is_closed() {
            tokio::time::sleep(RECONNECT_AFTER).await;
        }
    }

    async fn exchange(&self, client: &mut Client, payload: &Payload) -> Result<u64, Failure> {
        if client.connect().await? {
            self.opened.fetch_add(1, Ordering::Relaxed);
        }
        client.exchange(payload).await
    }
}
