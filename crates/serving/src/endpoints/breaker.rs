//! Circuit breakers of versions that this process runs.
//!
//! A version of a configured endpoint has a breaker of its own for as long as it is loaded. Without a
//! configuration there is none, and a request costs one branch more.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::{IntCounterVec, IntGaugeVec};
use tidegate_core::Tensor;
use tidegate_gateway::{
    Breaker, BreakerChange, BreakerPolicy, BreakerState, BreakerTicket, CallEnd,
};
use tokio::sync::Notify;
use tracing::{info, warn};

use super::config::{EndpointConfig, EndpointError};
use crate::{ErrorCode, InferError, MetricRegistry, Model};

/// Events that nobody takes are dropped, the oldest first.
const MAX_EVENTS: usize = 1000;
/// For so long one run of the sample speaks for the version: wrong inputs that come quickly must not
/// cost more runs than they are.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Longest that a failed request waits for the run of the sample.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// The breakers of all versions: their policies, events and metrics.
pub struct Breakers {
    policies: OnceLock<HashMap<String, BreakerPolicy>>,
    events: Mutex<VecDeque<BreakerEvent>>,
    has_events: Notify,
    /// The breakers of the versions that requests can reach, by model and version, by their ids. The
    /// breaker of an earlier load still counts the requests that it let through, but has no gauge.
    shown: Mutex<HashMap<String, HashMap<String, u64>>>,
    next_id: AtomicU64,
    state: IntGaugeVec,
    changes: IntCounterVec,
}

/// A breaker that changed its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerEvent {
    /// The model.
    pub model: String,
    /// Its version.
    pub version: String,
    /// From what to what, and why.
    pub change: BreakerChange,
}

impl Breakers {
    pub(crate) fn new(registry: &MetricRegistry) -> Self {
        Self {
            policies: OnceLock::new(),
            events: Mutex::default(),
            has_events: Notify::new(),
            shown: Mutex::default(),
            next_id: AtomicU64::new(0),
            state: registry.gauge_vec(
                "tidegate_breaker_state",
                "The circuit breaker of a version: 0 closed, 1 half open, 2 open",
                &["model", "version"],
            ),
            changes: registry.counter_vec(
                "tidegate_breaker_changes_total",
                "Changes of the circuit breaker of a version, by its new state: `closed`, `half_open` \
                 or `open`",
                &["model", "version", "state"],
            ),
        }
    }

    /// Gives the versions of these endpoints breakers, as they are loaded from now on.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn configure(&self, endpoints: &[EndpointConfig]) -> Result<(), EndpointError> {
        let policies = EndpointConfig::breakers(endpoints)?;
        // A second configuration has no effect: versions may be loaded by the first.
        let _ = self.policies.set(policies);
        Ok(())
    }

    /// The breaker of a version that is being loaded, if its endpoint has one.
    pub(crate) fn for_version(
        self: &Arc<Self>,
        model: &str,
        version: &str,
        sample: Option<Sample>,
    ) -> Option<VersionBreaker> {
        let policy = self.policies.get()?.get(model)?;
        Some(VersionBreaker {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            model: model.to_owned(),
            version: version.to_owned(),
            breaker: Mutex::new(Breaker::new(*policy)),
            sample,
            last_probe: tokio::sync::Mutex::default(),
            breakers: self.clone(),
        })
    }

    /// Shows the breakers of the versions of a model that requests can reach, and no others of it, after
    /// these have changed. `published` reads the model: of two changes at once, the one that is shown last
    /// sees both. Counters stay: they never fall.
    pub(crate) fn show(&self, model: &str, published: impl FnOnce() -> Option<Arc<Model>>) {
        if self
            .policies
            .get()
            .is_none_or(|policies| !policies.contains_key(model))
        {
            return;
        }
        let mut shown = self.shown.lock();
        let published = published();
        let versions = published.iter().flat_map(|model| model.versions());
        let breakers = versions.filter_map(|version| version.breaker());
        self.show_breakers(&mut shown, model, breakers);
    }

    fn show_breakers<'a>(
        &self,
        shown: &mut HashMap<String, HashMap<String, u64>>,
        model: &str,
        breakers: impl Iterator<Item = &'a VersionBreaker>,
    ) {
        let before = shown.remove(model).unwrap_or_default();
        let mut now = HashMap::new();
        for breaker in breakers {
            now.insert(breaker.version.clone(), breaker.id);
            self.set_gauge(breaker);
        }
        for version in before.keys().filter(|version| !now.contains_key(*version)) {
            // An error means that there was nothing to remove.
            let _ = self.state.remove_label_values(&[model, version]);
        }
        if !now.is_empty() {
            shown.insert(model.to_owned(), now);
        }
    }

    /// Sets the gauge of a breaker that has changed, if it is shown.
    fn changed(&self, breaker: &VersionBreaker) {
        let shown = self.shown.lock();
        let id = shown
            .get(&breaker.model)
            .and_then(|versions| versions.get(&breaker.version));
        if id == Some(&breaker.id) {
            self.set_gauge(breaker);
        }
    }

    /// The next events, once there are some.
    pub async fn next_events(&self) -> Vec<BreakerEvent> {
        loop {
            let events: Vec<BreakerEvent> = self.events.lock().drain(..).collect();
            if !events.is_empty() {
                return events;
            }
            self.has_events.notified().await;
        }
    }

    /// As it is now: of two changes, the later one may be told first.
    fn set_gauge(&self, breaker: &VersionBreaker) {
        let value = match breaker.breaker.lock().state() {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        };
        let labels = [breaker.model.as_str(), &breaker.version];
        self.state.with_label_values(&labels).set(value);
    }

    fn add(&self, event: BreakerEvent) {
        let mut events = self.events.lock();
        if events.len() == MAX_EVENTS {
            events.pop_front();
        }
        events.push_back(event);
        drop(events);
        self.has_events.notify_one();
    }
}

/// The breaker of one version.
pub(crate) struct VersionBreaker {
    id: u64,
    model: String,
    version: String,
    breaker: Mutex<Breaker>,
    /// Inputs that ran while the version was loaded, if some did.
    sample: Option<Sample>,
    /// When the sample was last run, and whether it ran. Locked while it runs, so that failures that
    /// come together are judged by one run.
    last_probe: tokio::sync::Mutex<Option<(Instant, bool)>>,
    breakers: Arc<Breakers>,
}

/// Inputs of one row, in the order of the signature.
pub(crate) type Sample = Vec<Option<Tensor>>;

/// Who is to blame for a run that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The version: its sample fails too, or there is none.
    Version,
    /// The inputs: the sample runs.
    Inputs,
    /// Nobody knows: the sample could not be run.
    Unknown,
}

/// A request that the breaker let through. One that is dropped before its end was given up.
pub(crate) struct BreakerPass<'a> {
    breaker: &'a VersionBreaker,
    ticket: Option<BreakerTicket>,
    began: Instant,
}

impl VersionBreaker {
    /// Whether it lets no request through, but to try.
    pub(crate) fn is_open(&self) -> bool {
        self.breaker.lock().state() != BreakerState::Closed
    }

    /// Lets a request through.
    ///
    /// # Errors
    /// [`ErrorCode::BreakerOpen`].
    pub(crate) fn pass(&self) -> Result<BreakerPass<'_>, InferError> {
        let began = Instant::now();
        let begun = self.breaker.lock().begin(began);
        let (ticket, change) = begun.map_err(|refusal| {
            let message = format!(
                "too many requests to {}:{} failed or were slow: one is let through in {:.1} s",
                self.model,
                self.version,
                refusal.retry_in.as_secs_f64()
            );
            InferError::new(ErrorCode::BreakerOpen, message)
        })?;
        self.note(change);
        Ok(BreakerPass {
            breaker: self,
            ticket: Some(ticket),
            began,
        })
    }

    /// Finds out whether the inputs of a run are to blame for its failure: any caller can send inputs that
    /// a model rejects, and must not shut others out by them. `run` runs the sample.
    pub(crate) async fn blame<F>(&self, run: impl FnOnce(Sample) -> F) -> Blame
    where
        F: Future<Output = Result<(), InferError>>,
    {
        let Some(sample) = &self.sample else {
            return Blame::Version;
        };
        let mut last = self.last_probe.lock().await;
        let recent = last.filter(|(at, _)| at.elapsed() < PROBE_INTERVAL);
        let runs = match recent {
            Some((_, runs)) => runs,
            None => match tokio::time::timeout(PROBE_TIMEOUT, run(sample.clone())).await {
                Ok(Ok(())) => true,
                Ok(Err(error)) if is_failed_run(error.code) => false,
                // It was not run, as the queue is full: that is said of overload, and not of the version.
                Ok(Err(_)) | Err(_) => return Blame::Unknown,
            },
        };
        if recent.is_none() {
            *last = Some((Instant::now(), runs));
        }
        match runs {
            true => Blame::Inputs,
            false => Blame::Version,
        }
    }

    fn note(&self, change: Option<BreakerChange>) {
        let Some(change) = change else {
            return;
        };
        let (model, version) = (self.model.as_str(), self.version.as_str());
        let BreakerChange {
            calls,
            failed,
            slow,
            ..
        } = change;
        let state = change.to.name();
        match change.to {
            BreakerState::Open => warn!(
                model,
                version, calls, failed, slow, "circuit breaker open: requests are refused"
            ),
            BreakerState::HalfOpen | BreakerState::Closed => {
                info!(
                    model,
                    version, calls, failed, slow, state, "circuit breaker changed"
                );
            }
        }
        self.breakers.changed(self);
        let labels = [model, version, state];
        self.breakers.changes.with_label_values(&labels).inc();
        self.breakers.add(BreakerEvent {
            model: model.to_owned(),
            version: version.to_owned(),
            change,
        });
    }
}

impl BreakerPass<'_> {
    /// Counts how the request ended that had this deadline.
    pub(crate) fn end<T>(self, outcome: &Result<T, InferError>, deadline: Option<Instant>) {
        let now = Instant::now();
        let end = match outcome {
            Ok(_) => CallEnd::Succeeded,
            Err(error) => call_end(error.code, deadline.is_some_and(|deadline| deadline <= now)),
        };
        self.end_as(end, now);
    }

    /// Counts a run that failed at `now`.
    pub(crate) fn end_failed(self, blame: Blame, now: Instant) {
        let end = match blame {
            Blame::Version => CallEnd::Failed,
            Blame::Inputs => CallEnd::Excused,
            Blame::Unknown => CallEnd::Unknown,
        };
        self.end_as(end, now);
    }

    fn end_as(mut self, end: CallEnd, now: Instant) {
        let took = now - self.began;
        self.finish(end, took);
    }

    fn finish(&mut self, end: CallEnd, took: Duration) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let ended = self
            .breaker
            .breaker
            .lock()
            .end(ticket, end, took, Instant::now());
        self.breaker.note(ended);
    }
}

impl Drop for BreakerPass<'_> {
    fn drop(&mut self) {
        self.finish(CallEnd::Unknown, Duration::ZERO);
    }
}

/// Whether an error is of a run that the inputs may have made fail.
pub(crate) fn is_failed_run(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::ExecutionFailed | ErrorCode::Internal)
}

/// Whether the version is to blame for an error.
///
/// What was refused without a run says nothing of the version: a breaker that opened because of
/// overload would take away the capacity that is left. So a deadline counts only once it has passed:
/// until then nobody has waited in vain.
fn call_end(code: ErrorCode, deadline_has_passed: bool) -> CallEnd {
    match code {
        ErrorCode::ExecutionFailed
        | ErrorCode::Internal
        | ErrorCode::UpstreamFailed
        | ErrorCode::UpstreamInvalid
        | ErrorCode::UpstreamUnavailable => CallEnd::Failed,
        ErrorCode::DeadlineExceeded if deadline_has_passed => CallEnd::Failed,
        _ => CallEnd::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::BreakerSpec;

    use super::*;

    fn breakers() -> Arc<Breakers> {
        let breakers = Arc::new(Breakers::new(&MetricRegistry::new()));
        let endpoint = EndpointConfig {
            name: "fraud".into(),
            breaker: Some(BreakerSpec {
                min_requests: 2,
                ..BreakerSpec::default()
            }),
            ..EndpointConfig::default()
        };
        breakers.configure(&[endpoint]).unwrap();
        breakers
    }

    fn fail(breaker: &VersionBreaker, code: ErrorCode, deadline: Option<Instant>) {
        let pass = breaker.pass().unwrap();
        pass.end::<()>(&Err(InferError::new(code, "no")), deadline);
    }

    #[tokio::test]
    async fn a_version_that_fails_is_refused_and_says_so() {
        let breakers = breakers();
        assert!(breakers.for_version("digits", "1", None).is_none());
        let breaker = breakers.for_version("fraud", "3", None).unwrap();
        fail(&breaker, ErrorCode::ExecutionFailed, None);
        fail(&breaker, ErrorCode::ExecutionFailed, None);
        let refused = breaker.pass().err().unwrap();
        assert_eq!(refused.code, ErrorCode::BreakerOpen);
        assert!(refused.message.contains("fraud:3"), "{refused}");
        let events = breakers.next_events().await;
        let [event] = events.as_slice() else {
            panic!("{events:?}")
        };
        assert_eq!(
            (event.model.as_str(), event.version.as_str()),
            ("fraud", "3")
        );
        assert_eq!(event.change.to, BreakerState::Open);
        assert_eq!((event.change.calls, event.change.failed), (2, 2));
    }

    /// The gauges by version.
    fn gauges(breakers: &Breakers) -> Vec<(String, i64)> {
        let family = prometheus::core::Collector::collect(&breakers.state).remove(0);
        let series = family.get_metric().iter().map(|metric| {
            let labels = metric.get_label().iter();
            let version = labels.last().unwrap().value().to_owned();
            (version, metric.get_gauge().get_value() as i64)
        });
        series.collect()
    }

    fn show(breakers: &Breakers, versions: &[&VersionBreaker]) {
        let mut shown = breakers.shown.lock();
        breakers.show_breakers(&mut shown, "fraud", versions.iter().copied());
    }

    #[test]
    fn only_versions_that_requests_can_reach_have_a_gauge() {
        let breakers = breakers();
        let [old, two] =
            ["1", "2"].map(|version| breakers.for_version("fraud", version, None).unwrap());
        assert!(gauges(&breakers).is_empty(), "they are only loaded");
        show(&breakers, &[&old, &two]);
        let late = old.pass().unwrap();
        fail(&old, ErrorCode::ExecutionFailed, None);
        let new = breakers.for_version("fraud", "1", None).unwrap();
        show(&breakers, &[&new]);
        assert_eq!(gauges(&breakers), [("1".to_owned(), 0)]);
        // It opens the breaker of the load before.
        late.end::<()>(
            &Err(InferError::new(ErrorCode::ExecutionFailed, "no")),
            None,
        );
        assert!(old.pass().is_err());
        assert_eq!(gauges(&breakers), [("1".to_owned(), 0)]);
        breakers.show("fraud", || None);
        fail(&new, ErrorCode::ExecutionFailed, None);
        fail(&new, ErrorCode::ExecutionFailed, None);
        assert!(gauges(&breakers).is_empty());
    }

    #[test]
    fn no_other_change_is_shown_between_reading_the_versions_and_showing_them() {
        let breakers = breakers();
        let mut was_locked = false;
        breakers.show("fraud", || {
            was_locked = breakers.shown.is_locked();
            None
        });
        assert!(was_locked);
    }

    #[test]
    fn no_error_of_the_client_counts_against_a_version() {
        let codes = ErrorCode::ALL.iter();
        for code in codes.filter(|code| code.http_status() < 500) {
            assert_eq!(call_end(*code, true), CallEnd::Unknown, "{}", code.name());
        }
    }

    #[test]
    fn what_was_refused_without_a_run_opens_nothing() {
        let breaker = breakers().for_version("fraud", "3", None).unwrap();
        let later = Instant::now() + Duration::from_secs(60);
        for _ in 0..10 {
            fail(&breaker, ErrorCode::QueueFull, None);
            fail(&breaker, ErrorCode::DeadlineExceeded, Some(later));
            fail(&breaker, ErrorCode::InvalidParameter, None);
            drop(breaker.pass().unwrap());
        }
        assert!(breaker.pass().is_ok());
    }

    #[test]
    fn answers_that_never_come_open_it() {
        let breaker = breakers().for_version("fraud", "3", None).unwrap();
        for _ in 0..2 {
            fail(&breaker, ErrorCode::DeadlineExceeded, Some(Instant::now()));
        }
        assert!(breaker.pass().is_err());
    }

    fn run(code: Option<ErrorCode>) -> std::future::Ready<Result<(), InferError>> {
        std::future::ready(match code {
            None => Ok(()),
            Some(code) => Err(InferError::new(code, "no")),
        })
    }

    async fn blame(sample: Option<Sample>, code: Option<ErrorCode>) -> Blame {
        let breaker = breakers().for_version("fraud", "1", sample).unwrap();
        breaker.blame(|_| run(code)).await
    }

    #[tokio::test]
    async fn inputs_are_to_blame_while_the_sample_runs() {
        let sample = Some(vec![None]);
        assert_eq!(blame(sample.clone(), None).await, Blame::Inputs);
        let failed = Some(ErrorCode::ExecutionFailed);
        assert_eq!(blame(sample.clone(), failed).await, Blame::Version);
        let full = Some(ErrorCode::QueueFull);
        assert_eq!(blame(sample, full).await, Blame::Unknown);
        assert_eq!(blame(None, None).await, Blame::Version, "no sample");
    }

    #[tokio::test]
    async fn failures_that_come_together_are_judged_by_one_run() {
        let breakers = breakers();
        let breaker = breakers
            .for_version("fraud", "1", Some(vec![None]))
            .unwrap();
        assert_eq!(breaker.blame(|_| run(None)).await, Blame::Inputs);
        // A second run would fail.
        let again = |_| run(Some(ErrorCode::ExecutionFailed));
        assert_eq!(breaker.blame(again).await, Blame::Inputs);
    }

    #[test]
    fn wrong_inputs_do_not_open_a_breaker() {
        let breakers = breakers();
        let breaker = breakers.for_version("fraud", "1", None).unwrap();
        for _ in 0..10 {
            breaker
                .pass()
                .unwrap()
                .end_failed(Blame::Inputs, Instant::now());
        }
        assert!(breaker.pass().is_ok());
        for _ in 0..2 {
            breaker
                .pass()
                .unwrap()
                .end_failed(Blame::Version, Instant::now());
        }
        assert!(breaker.pass().is_err());
    }
}
