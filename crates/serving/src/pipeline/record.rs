//! The one record of each request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::exchange::Received;
use crate::observation::{Observation, Observations, Outcome};
use crate::traffic::{Chosen, ShadowCopy};
use crate::version_counters::VersionCounters;
use crate::{ErrorCode, FallbackStatus, InferRequest, Prediction, RequestTrace, Timing};

/// Collects the progress of a request, and records it at the end with its outcome.
///
/// If it is dropped before an end, it records that the client went away. No code of the pipeline
/// can see that outcome, because the future of the request is dropped with the connection. A client
/// that goes away before its whole request has arrived is not recorded.
pub(crate) struct RequestRecord<'a> {
    observations: &'a Observations,
    /// When the request had arrived; `None` before.
    received: Option<Instant>,
    trace: Option<Box<RequestTrace>>,
    counters: Option<Arc<VersionCounters>>,
    chosen: Option<Arc<VersionCounters>>,
    is_evidence: bool,
    rows: usize,
    timing: Timing,
    fallback: Option<Box<FallbackStatus>>,
    /// What its endpoint's capture notes of it; `None` if the endpoint is not captured, or if nothing that a
    /// version has predicted is the answer.
    pub(crate) prediction: Option<Arc<Prediction>>,
    /// The first version of a cascade, before it is asked.
    pub(super) first_of_cascade: Option<Box<Chosen>>,
    /// What the decoded request takes of the memory budget, while the first version of a cascade is asked.
    pub(super) request_bytes: usize,
    /// A copy for shadows, once the request is answered.
    pub(super) shadow_copy: Option<Box<ShadowCopy>>,
    /// When encoding began, of requests with a trace.
    encoding: Option<Instant>,
    has_ended: bool,
}

impl<'a> RequestRecord<'a> {
    pub(super) fn new(observations: &'a Observations) -> Self {
        Self {
            observations,
            received: None,
            trace: None,
            counters: None,
            chosen: None,
            is_evidence: false,
            rows: 0,
            timing: Timing::default(),
            fallback: None,
            prediction: None,
            first_of_cascade: None,
            request_bytes: 0,
            shadow_copy: None,
            encoding: None,
            has_ended: false,
        }
    }

    /// All of the request has arrived.
    pub(super) fn received(&mut self, at: Instant, trace: Option<Box<RequestTrace>>) {
        self.received = Some(at);
        self.trace = trace;
    }

    /// The decoded request for the first version of a cascade; it stays for the version after it.
    pub(super) fn keep_for_second(&mut self, received: &Received) -> InferRequest {
        self.request_bytes = received.memory.bytes();
        received.request.clone()
    }

    /// Forgets what the first version of a cascade did: it is not the one that answers.
    pub(super) fn forget_first(&mut self) {
        self.unrouted();
        self.executed(0, Timing::default());
        self.shadow_copy = None;
        if let Some(prediction) = &self.prediction {
            prediction.forget_version();
        }
    }

    /// Its place in a trace, if it has one.
    pub(super) fn trace(&self) -> Option<&RequestTrace> {
        self.trace.as_deref()
    }

    /// A version will answer it.
    pub(super) fn routed(&mut self, counters: &Arc<VersionCounters>) {
        self.counters = Some(counters.clone());
    }

    /// The weights of the endpoint's policy have chosen this version for it, which is compared with others.
    pub(crate) fn chosen(&mut self, counters: &Arc<VersionCounters>, is_evidence: bool) {
        self.chosen = Some(counters.clone());
        self.is_evidence = is_evidence;
    }

    /// No version will answer it, but the configuration.
    pub(super) fn unrouted(&mut self) {
        self.counters = None;
    }

    /// Another choice than the first has answered it.
    pub(super) fn fell_back(&mut self, fallback: &FallbackStatus) {
        self.fallback = Some(Box::new(fallback.clone()));
    }

    /// Its rows were run.
    pub(super) fn executed(&mut self, rows: usize, timing: Timing) {
        self.rows = rows;
        self.timing = timing;
    }

    /// Its answer is about to be encoded. Only traces show how long that takes: the clock is not
    /// read for other requests.
    pub(super) fn encoding_begins(&mut self) {
        self.encoding = self.trace.as_ref().map(|_| Instant::now());
    }

    /// Its answer is encoded.
    pub(super) fn encoded(&self, bytes: usize) {
        if let Some(counters) = &self.counters {
            counters.count_sent(bytes);
        }
    }

    /// It ends with an answer.
    pub(super) fn answered(mut self) {
        self.end(Outcome::Answered);
    }

    /// It ends with an error. `trace` is asked for if the request had not arrived before.
    pub(super) fn failed(
        mut self,
        code: ErrorCode,
        trace: impl FnOnce() -> Option<Box<RequestTrace>>,
    ) {
        if self.received.is_none() {
            self.received(Instant::now(), trace());
        }
        self.end(Outcome::Failed(code));
    }

    fn end(&mut self, outcome: Outcome) {
        self.has_ended = true;
        if outcome != Outcome::Answered {
            // What a failed request took of the engine is not what an answer takes.
            (self.rows, self.timing, self.encoding) = (0, Timing::default(), None);
            self.fallback = None;
        }
        let received = self.received.unwrap_or_else(Instant::now);
        let encode = self
            .encoding
            .map_or(Duration::ZERO, |began| began.elapsed());
        self.observations.record(Observation {
            counters: self.counters.take(),
            chosen: self.chosen.take(),
            is_evidence: self.is_evidence,
            outcome,
            received,
            total: received.elapsed(),
            encode,
            timing: self.timing,
            rows: self.rows,
            fallback: self.fallback.take(),
            trace: self.trace.take(),
            prediction: self.prediction.take(),
        });
    }
}

impl Drop for RequestRecord<'_> {
    fn drop(&mut self) {
        if self.received.is_some() && !self.has_ended {
            self.end(Outcome::Abandoned);
        }
    }
}
