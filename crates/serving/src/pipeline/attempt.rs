//! One choice of an endpoint: from routing to the outputs of a version.

use std::time::Instant;

use tidegate_core::Signature;
use tidegate_gateway::{Authorized, CacheControl};

use super::answer_memory;
use super::cached::{CacheStatus, CacheableRequest};
use super::exchange::{Exchange, Received};
use super::execute::{Executed, execute};
use super::fallback::ChainRun;
use super::graph::RunScope;
use super::record::RequestRecord;
use super::resolver::Routed;
use crate::scheduler::AllowedTime;
use crate::version::Prepared;
use crate::{
    AnsweredBy, ErrorCode, InferError, InferRequest, InferResponse, RequestedOutput, Serving,
    Target, Version,
};

impl Serving {
    /// route, preprocess, cache, schedule, execute, postprocess: by the endpoint's own version, or by
    /// the fallback of a chain. The request is used up, unless it is one of a chain.
    pub(super) async fn attempt<E: Exchange>(
        &self,
        exchange: &mut E,
        authorized: &mut Authorized<Target>,
        record: &mut RequestRecord<'_>,
        received: &mut Received,
        mut chain: Option<&mut ChainRun<'_>>,
        fallback: Option<&Target>,
    ) -> Result<InferResponse, InferError> {
        let at = received.at;
        let (mut until, mut deadline) = (None, received.request.deadline);
        if let Some(run) = &chain {
            until = run.chain.attempt_deadline();
            deadline = earlier(deadline, until);
        }

        // route
        let headers = self.traffic().headers(exchange);
        let first = record.first_of_cascade.take();
        let is_first = first.is_some();
        let Routed {
            version,
            cold_start,
            chosen,
        } = self
            .route(authorized, fallback, (headers, first), deadline, at)
            .await?;
        if let (Some(chosen), None) = (&chosen, fallback) {
            chosen.note(&version, record);
        }
        if let Some(run) = &mut chain {
            run.routed(&version, fallback.is_some())?;
            run.check_classes(&version, &received.request)?;
        }

        if version.sequences().is_some() {
            return Err(needs_sequence(&version, fallback.is_some()));
        }

        // preprocess: some wire forms say what they hold only beside the signature
        let decoded = exchange
            .decode_inputs(received, version.signature(), Some(&version))
            .await;
        decoded.inspect_err(|error| count_lookup(record, &version, error))?;
        let request = match &mut chain {
            // Its outputs may be too unsure to be the answer.
            None if is_first => record.keep_for_second(received),
            None => std::mem::take(&mut received.request),
            Some(run) => run.request(received),
        };
        // A request that cannot be decoded counts for no version, whichever step finds it out.
        record.routed(version.stats().counters());
        let watchers = chosen.map(|chosen| chosen.watchers(&request));
        let share = self.gateway().share(authorized.caller());
        let Prepared { mut work, outputs } = version.prepare(request, at, share)?;
        if let Some(prediction) = &record.prediction {
            prediction.set_inputs(&version, &work.inputs);
        }
        let allowed = AllowedTime::of(&work, at);
        if chain.is_some() {
            // The time of the whole chain, also where only the version limits it.
            received.request.deadline = received.request.deadline.or(work.deadline);
            work.deadline = earlier(work.deadline, until);
        }
        let rows = match version.remote() {
            None => work.rows,
            Some(remote) => remote.rows(&work),
        };
        if authorized.has_limits() {
            authorized.charge_rows(rows).await?;
        }
        // An answer that is too large is refused before it is computed, where its size is known.
        let max_bytes = exchange.max_answer_bytes();
        answer_memory::reserve(&mut received.memory, &version, rows, max_bytes)?;

        // cache
        let policy = self.cache_policy(&authorized.resource().endpoint, &version);
        let scope = RunScope {
            finder: self.finder(),
            trace: record.trace(),
            memory: &received.memory,
            graph: None,
            depth: 0,
        };
        let (executed, cache) = match policy {
            // schedule, execute, postprocess
            None => {
                let executed = execute(&version, work, &outputs, allowed, &scope).await;
                let executed = settle_if_run(authorized, executed)?;
                record.executed(rows, executed.timing);
                (executed, None)
            }
            Some((cache, policy)) => {
                let request = CacheableRequest {
                    version: &version,
                    work,
                    wanted: &outputs,
                    allowed,
                    scope,
                    tenant: authorized.caller().tenant(),
                    policy,
                    control: CacheControl::of(exchange.credentials().headers()),
                };
                // Boxed: requests that are not cached need not carry the place for it.
                let answered = Box::pin(request.answer(cache)).await;
                let (executed, status) = settle_if_computed(authorized, answered)?;
                record.executed(rows, executed.timing);
                (executed, Some(status))
            }
        };
        answer_memory::resize(&mut received.memory, executed.bytes())?;
        if let Some(prediction) = &record.prediction {
            prediction.set_outputs(&executed.outputs, &outputs);
        }
        if let Some(watchers) = watchers {
            record.shadow_copy = watchers.answered(&version, &executed);
        }
        Ok(InferResponse {
            version: AnsweredBy::Version(version),
            outputs: executed.outputs,
            timing: executed.timing,
            cold_start,
            memory: std::mem::take(&mut received.memory),
            limits: authorized.limit_status(),
            cache,
            fallback: None,
            prediction: None,
        })
    }
}

/// A request that was read, and lacks features that the version needs, counts for the version.
fn count_lookup(record: &mut RequestRecord<'_>, version: &Version, error: &InferError) {
    if error.code.is_of_lookup() {
        record.routed(version.stats().counters());
    }
}

/// Lets a request count in its limits once something has run for it, whatever comes of it then.
pub(super) fn settle_if_run<T>(
    authorized: &mut Authorized<Target>,
    outcome: Result<T, InferError>,
) -> Result<T, InferError> {
    if outcome
        .as_ref()
        .map_or_else(|error| error.has_run, |_| true)
    {
        authorized.settle();
    }
    outcome
}

/// The same, where an answer may be one that was kept.
fn settle_if_computed(
    authorized: &mut Authorized<Target>,
    outcome: Result<(Executed, CacheStatus), InferError>,
) -> Result<(Executed, CacheStatus), InferError> {
    match &outcome {
        Ok((_, status)) if !status.outcome.is_computed() => outcome,
        _ => settle_if_run(authorized, outcome),
    }
}

/// The earlier of two deadlines, each of which may be missing.
pub fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The same request, for the outputs that the first choice would give.
pub(super) fn asking_for_outputs(mut request: InferRequest, first: &Signature) -> InferRequest {
    if request.outputs.is_empty() {
        let outputs = first.outputs.iter().map(|spec| RequestedOutput {
            name: spec.name.clone(),
            classes: 0,
        });
        request.outputs = outputs.collect();
    }
    request
}

/// A version that keeps states answers requests of sequences only: any other one would get the states
/// of nobody.
fn needs_sequence(version: &Version, is_fallback: bool) -> InferError {
    let model = version.model();
    let message = format!(
        "\"{model}\" keeps a state for each sequence: the request needs a sequence_id other than 0 and \
         \"\", and the first one of a sequence sequence_start"
    );
    if is_fallback {
        return not_usable(message);
    }
    InferError::new(ErrorCode::InvalidParameter, message)
}

/// The error of a choice that must not answer.
pub(super) fn not_usable(message: String) -> InferError {
    InferError::new(ErrorCode::NotReady, message)
}
