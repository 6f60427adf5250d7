//! A request of a sequence: from routing to the outputs of a version, with the states that it keeps.

use std::sync::Arc;

use http::HeaderMap;
use tidegate_gateway::Authorized;

use super::answer_memory;
use super::attempt::settle_if_run;
use super::exchange::{Exchange, Received};
use super::execute::submit;
use super::graph::RunScope;
use super::postprocess::postprocess;
use super::record::RequestRecord;
use super::resolver::Routed;
use crate::scheduler::{AllowedTime, Work};
use crate::sequences::{SequenceKey, Turn, VersionSequences};
use crate::version::Prepared;
use crate::{
    AnsweredBy, ErrorCode, InferError, InferResponse, OutputTensor, SequenceRequest, Serving,
    Target, Timing, Version,
};

/// A request that a version with states has run. The states advance once its answer is encoded.
pub(super) struct SequenceStep {
    pub(super) response: InferResponse,
    turn: Turn,
    is_end: bool,
}

/// What is left to do once the answer is encoded.
pub(super) struct PendingCommit {
    turn: Turn,
    is_end: bool,
}

/// A request that has the turn of its sequence, on the version of the sequence.
struct Stepping<'a> {
    version: &'a Arc<Version>,
    sequences: &'a VersionSequences,
    request: &'a SequenceRequest,
    turn: &'a mut Turn,
}

impl SequenceStep {
    pub(super) fn split(self: Box<Self>) -> (InferResponse, Box<PendingCommit>) {
        let Self {
            response,
            turn,
            is_end,
        } = *self;
        (response, Box::new(PendingCommit { turn, is_end }))
    }
}

impl PendingCommit {
    /// The sequence goes on with the next states, or ends.
    pub(super) fn commit(self) {
        self.turn.commit(self.is_end);
    }
}

impl Serving {
    /// route, preprocess, schedule, execute, postprocess, where the request belongs to a sequence.
    /// `None`, and nothing done, if the version keeps no states: sequences make no difference to it.
    /// Neither the cache nor fallbacks answer such a request: they know nothing of the states.
    pub(super) async fn sequence_step<E: Exchange>(
        &self,
        exchange: &mut E,
        authorized: &mut Authorized<Target>,
        record: &mut RequestRecord<'_>,
        received: &mut Received,
        request: &SequenceRequest,
    ) -> Result<Option<Box<SequenceStep>>, InferError> {
        let (target, id) = (authorized.resource(), request.id.clone());
        let key = Arc::new(SequenceKey::new(target, authorized.caller(), id));
        let deadline = received.request.deadline;
        let mut turn = match self.sequences().join(&key)? {
            Some(turn) => turn,
            None if request.start && self.target_may_keep_states(target) => {
                self.sequences().join_or_begin(&key)?
            }
            None => {
                let headers = exchange.credentials().headers();
                return self
                    .no_sequence(authorized, record, received, request, &key, headers)
                    .await;
            }
        };
        turn.wait(deadline).await?;

        // route: a sequence stays on its version, whatever was loaded since
        let Routed {
            version,
            cold_start,
            ..
        } = if request.start {
            turn.restart();
            let headers = exchange.credentials().headers();
            self.route(
                authorized,
                None,
                (Some(headers), None),
                deadline,
                received.at,
            )
            .await?
        } else {
            let Some(version) = turn.resume()? else {
                drop(turn);
                let headers = exchange.credentials().headers();
                return self
                    .no_sequence(authorized, record, received, request, &key, headers)
                    .await;
            };
            version.last_used().set(received.at);
            Routed {
                version,
                cold_start: false,
                chosen: None,
            }
        };
        let Some(sequences) = version.sequences() else {
            return Ok(None);
        };
        let stepping = Stepping {
            version: &version,
            sequences,
            request,
            turn: &mut turn,
        };
        let stepped = stepping.run(self, exchange, authorized, record, received);
        let (outputs, timing) = stepped.await.inspect_err(|error| {
            sequences.limits.count_refused(error.code);
        })?;
        Ok(Some(Box::new(SequenceStep {
            turn,
            is_end: request.end,
            response: InferResponse {
                version: AnsweredBy::Version(version.clone()),
                outputs,
                timing,
                cold_start,
                memory: std::mem::take(&mut received.memory),
                limits: authorized.limit_status(),
                cache: None,
                fallback: None,
                prediction: None,
            },
        })))
    }

    /// Whether a version keeps states of sequences; one that is not loaded may.
    pub fn may_keep_states(&self, model: &str, version: Option<&str>) -> bool {
        let version = self.models().version(model, version);
        version.map_or(true, |version| version.keeps_states())
    }

    fn target_may_keep_states(&self, target: &Target) -> bool {
        self.may_keep_states(&target.endpoint, target.version.as_deref())
    }

    /// A request of no live sequence.
    async fn no_sequence(
        &self,
        authorized: &Authorized<Target>,
        record: &mut RequestRecord<'_>,
        received: &Received,
        request: &SequenceRequest,
        key: &SequenceKey,
        headers: &HeaderMap,
    ) -> Result<Option<Box<SequenceStep>>, InferError> {
        let deadline = received.request.deadline;
        let routed = self
            .route(
                authorized,
                None,
                (Some(headers), None),
                deadline,
                received.at,
            )
            .await?;
        let Some(sequences) = routed.version.sequences().filter(|_| !request.start) else {
            return Ok(None);
        };
        record.routed(routed.version.stats().counters());
        sequences.limits.count_refused(ErrorCode::UnknownSequence);
        Err(key.unknown())
    }
}

impl Stepping<'_> {
    async fn run<E: Exchange>(
        self,
        serving: &Serving,
        exchange: &mut E,
        authorized: &mut Authorized<Target>,
        record: &mut RequestRecord<'_>,
        received: &mut Received,
    ) -> Result<(Vec<OutputTensor>, Timing), InferError> {
        let version = self.version;
        let at = received.at;
        // preprocess
        exchange
            .decode_inputs(received, version.signature(), Some(version))
            .await?;
        record.routed(version.stats().counters());
        let inputs = std::mem::take(&mut received.request);
        let share = serving.gateway().share(authorized.caller());
        let Prepared { work, outputs } = version.prepare(inputs, at, share)?;
        if work.rows != 1 {
            let rows = work.rows;
            let message = format!("a request of a sequence has one row, this one has {rows}");
            return Err(InferError::new(ErrorCode::WrongDimension, message));
        }
        if authorized.has_limits() {
            authorized.charge_rows(work.rows).await?;
        }
        let max_bytes = exchange.max_answer_bytes();
        answer_memory::reserve(&mut received.memory, version, work.rows, max_bytes)?;
        if self.request.start {
            self.turn.begin(version, self.sequences)?;
        }
        let allowed = AllowedTime::of(&work, at);
        let wiring = &self.sequences.wiring;
        let work = Work {
            inputs: wiring.assemble(work.inputs, &self.turn.states(), self.request)?,
            ..work
        };

        // schedule, execute
        let scope = RunScope {
            finder: serving.finder(),
            trace: record.trace(),
            memory: &received.memory,
            graph: None,
            depth: 0,
        };
        let completed = submit(version, work, allowed, &scope).await;
        let completed = settle_if_run(authorized, completed)?;
        record.executed(1, completed.timing);

        // postprocess
        let step = wiring.take_off(completed.outputs)?;
        let is_shared = completed.timing.batch_rows > 1;
        self.turn.prepare(step.states, is_shared)?;
        let outputs = postprocess(version, step.outputs, &outputs)?;
        let bytes = outputs.iter().map(|output| output.tensor.byte_len()).sum();
        answer_memory::resize(&mut received.memory, bytes)?;
        Ok((outputs, completed.timing))
    }
}
