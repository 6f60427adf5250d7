//! The choices of an endpoint after its own version has failed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_core::{Signature, Tensor};
use tidegate_gateway::{Authorized, CacheControl, CacheOutcome};
use tracing::debug;

use super::answer_memory;
use super::attempt::{asking_for_outputs, not_usable};
use super::cached::{CacheStatus, CacheableRequest};
use super::exchange::{Exchange, Received};
use super::execute::Executed;
use super::graph::RunScope;
use super::record::RequestRecord;
use crate::endpoints::{Chain, Choice, Constant, difference};
use crate::version::Prepared;
use crate::{
    AnsweredBy, ErrorCode, FallbackStatus, Fallbacks, InferError, InferRequest, InferResponse,
    OutputTensor, Serving, Target, Timing, Version,
};

/// What a row of a constant takes at least while it is repeated, in bytes.
const MIN_ROW_BYTES: usize = 16;

/// One request on its way along a chain.
pub(super) struct ChainRun<'a> {
    pub(super) chain: &'a Chain,
    /// The endpoint's own version, if it is loaded.
    first: Option<Arc<Version>>,
    is_fallback: bool,
    /// What the decoded request takes of the memory budget.
    request_bytes: usize,
}

impl ChainRun<'_> {
    /// Notes the version of a choice.
    ///
    /// # Errors
    /// If it cannot answer for the first choice.
    pub(super) fn routed(
        &mut self,
        version: &Arc<Version>,
        is_fallback: bool,
    ) -> Result<(), InferError> {
        self.is_fallback = is_fallback;
        if !is_fallback {
            self.chain.set_first(version);
            self.first = Some(version.clone());
            return Ok(());
        }
        let is_first = self.first.as_ref();
        if is_first.is_some_and(|first| Arc::ptr_eq(first, version)) {
            return Err(not_usable("it is the version that has failed".to_owned()));
        }
        let first = self.signature()?;
        match difference(&first, version.signature()) {
            None => Ok(()),
            Some(difference) => Err(not_usable(difference)),
        }
    }

    /// The request for the version of a choice. The request itself stays for the next one.
    pub(super) fn request(&mut self, received: &Received) -> InferRequest {
        self.request_bytes = received.memory.bytes();
        let request = received.request.clone();
        match self.chain.signature() {
            Some(first) if self.is_fallback => asking_for_outputs(request, &first),
            _ => request,
        }
    }

    /// Refuses a version whose classes would be others than those of the first choice.
    ///
    /// # Errors
    /// If the request asks for classes, and labels or batching differ.
    pub(super) fn check_classes(
        &self,
        version: &Version,
        request: &InferRequest,
    ) -> Result<(), InferError> {
        let asks_for_classes = request.outputs.iter().any(|output| output.classes > 0);
        if !self.is_fallback || !asks_for_classes {
            return Ok(());
        }
        let is_same = self.first.as_ref().is_some_and(|first| {
            first.plan().labels == version.plan().labels
                && first.is_batched() == version.is_batched()
        });
        match is_same {
            true => Ok(()),
            false => Err(not_usable("its classes may differ".to_owned())),
        }
    }

    fn signature(&self) -> Result<Arc<Signature>, InferError> {
        self.chain.signature().ok_or_else(|| {
            not_usable(
                "the endpoint's own version was never loaded: nobody knows what it answers"
                    .to_owned(),
            )
        })
    }
}

impl Serving {
    /// Answers by the endpoint's own version, or by the next choice that can, within the deadline of
    /// the request.
    ///
    /// # Errors
    /// That of the first choice; or of a later one where the client is at fault.
    pub(super) async fn attempt_chain<E: Exchange>(
        &self,
        fallbacks: &Fallbacks,
        chain: &Chain,
        exchange: &mut E,
        authorized: &mut Authorized<Target>,
        record: &mut RequestRecord<'_>,
        received: &mut Received,
    ) -> Result<InferResponse, InferError> {
        let mut run = ChainRun {
            chain,
            first: None,
            is_fallback: false,
            request_bytes: received.memory.bytes(),
        };
        let own = self.attempt(exchange, authorized, record, received, Some(&mut run), None);
        let first = match own.await {
            Err(error) if error.code.lets_fall_back() => error,
            outcome => return outcome,
        };
        for (name, choice) in &chain.choices {
            received.memory.shrink_to(run.request_bytes);
            let deadline = received.request.deadline;
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                break;
            }
            let run = &mut run;
            let outcome = match choice {
                Choice::Version(target) => {
                    let target = Some(target);
                    let other =
                        self.attempt(exchange, authorized, record, received, Some(run), target);
                    other.await
                }
                Choice::Cached { max_age } => {
                    self.last_answer(run, exchange, authorized, record, received, *max_age)
                        .await
                }
                Choice::Constant(constant) => {
                    self.constant(run, exchange, authorized, record, received, constant)
                        .await
                }
            };
            match outcome {
                Ok(response) => {
                    fallbacks.count_answer(&chain.endpoint, name, first.code);
                    let status = FallbackStatus {
                        by: name.clone(),
                        reason: first.code,
                    };
                    record.fell_back(&status);
                    return Ok(InferResponse {
                        fallback: Some(Box::new(status)),
                        ..response
                    });
                }
                // A fallback that is slower than the first choice is not the client's fault.
                Err(error)
                    if error.code.lets_fall_back() || error.code == ErrorCode::DeadlineTooShort =>
                {
                    let endpoint = chain.endpoint.as_str();
                    debug!(endpoint, fallback = &**name, %error, "a fallback cannot answer");
                    fallbacks.count_failure(endpoint, name, error.code.name());
                }
                Err(error) => return Err(error),
            }
        }
        // It is the first choice that has failed.
        match &run.first {
            Some(version) => record.routed(version.stats().counters()),
            None => record.unrouted(),
        }
        Err(first)
    }

    /// The last answer of the first choice to an equal request.
    async fn last_answer<E: Exchange>(
        &self,
        run: &ChainRun<'_>,
        exchange: &mut E,
        authorized: &Authorized<Target>,
        record: &mut RequestRecord<'_>,
        received: &mut Received,
        max_age: Duration,
    ) -> Result<InferResponse, InferError> {
        let nothing = || not_usable("there is no answer to an equal request".to_owned());
        let version = run.first.as_ref().ok_or_else(nothing)?;
        let policy = self.cache_policy(&run.chain.endpoint, version);
        let (cache, policy) = policy.ok_or_else(nothing)?;
        let control = CacheControl::of(exchange.credentials().headers());
        if control.no_cache || control.no_store {
            return Err(nothing());
        }
        let share = self.gateway().share(authorized.caller());
        // Another version may have decoded the request by its own pipeline meanwhile.
        let signature = version.signature();
        exchange
            .decode_inputs(received, signature, Some(version))
            .await?;
        let request = received.request.clone();
        let Prepared { work, outputs } = version.prepare(request, received.at, share)?;
        let rows = work.rows;
        let request = CacheableRequest {
            version,
            work,
            wanted: &outputs,
            allowed: None,
            scope: RunScope {
                finder: self.finder(),
                trace: None,
                memory: &received.memory,
                graph: None,
                depth: 0,
            },
            tenant: authorized.caller().tenant(),
            policy,
            control,
        };
        let max_age = control
            .max_age
            .map_or(max_age, |wanted| wanted.min(max_age));
        let last = cache.last(request.keys(false).own, max_age).await;
        let last = last.ok_or_else(nothing)?;
        let executed = Executed::clone(&last.value).answering(CacheOutcome::Stale);
        answer_memory::resize(&mut received.memory, executed.bytes())?;
        record.routed(version.stats().counters());
        record.executed(rows, executed.timing);
        record.prediction = None;
        let cache = CacheStatus {
            outcome: last.outcome,
            age: last.age,
        };
        Ok(InferResponse {
            version: AnsweredBy::Version(version.clone()),
            outputs: executed.outputs,
            timing: executed.timing,
            cold_start: false,
            memory: std::mem::take(&mut received.memory),
            limits: authorized.limit_status(),
            cache: Some(cache),
            fallback: None,
            prediction: None,
        })
    }

    /// The answer of the configuration. Its request is checked as for a version: one that is wrong gets
    /// its error.
    async fn constant<E: Exchange>(
        &self,
        run: &mut ChainRun<'_>,
        exchange: &mut E,
        authorized: &mut Authorized<Target>,
        record: &mut RequestRecord<'_>,
        received: &mut Received,
        constant: &Constant,
    ) -> Result<InferResponse, InferError> {
        let signature = run.signature()?;
        // Another version may have decoded the request by its own pipeline meanwhile: the constant stands
        // for an answer of the first.
        let first = run.first.as_ref();
        exchange.decode_inputs(received, &signature, first).await?;
        run.request_bytes = received.memory.bytes();
        let inputs = signature.bind(received.request.inputs.clone())?;
        let mut rows = signature.inputs.iter().zip(&inputs);
        let rows = rows.find_map(|(spec, tensor)| {
            let tensor = tensor.as_ref().filter(|_| spec.has_dynamic_first_axis())?;
            Some(tensor.rows())
        });
        let rows = rows.unwrap_or(1);
        if rows == 0 {
            let message = "the request has no rows";
            return Err(InferError::new(ErrorCode::WrongDimension, message));
        }
        if authorized.has_limits() {
            authorized.charge_rows(rows).await?;
        }
        let wanted = wanted_outputs(&received.request, &signature)?;
        let row = constant.outputs(&signature, 1).map_err(not_usable)?;
        let row_bytes: usize = row.iter().map(Tensor::byte_len).sum();
        // Rows without elements take no bytes of the body: they must not take memory without end here.
        let bytes = rows.saturating_mul(row_bytes.max(MIN_ROW_BYTES));
        if bytes > exchange.max_answer_bytes() {
            let message = format!("the outputs of {rows} rows are larger than an answer may be");
            return Err(InferError::new(ErrorCode::AnswerTooLarge, message));
        }
        received.memory.grow(bytes, ErrorCode::AnswerTooLarge)?;
        let values = constant.outputs(&signature, rows).map_err(not_usable)?;
        let outputs = wanted.into_iter().map(|index| OutputTensor {
            index,
            tensor: values[index].clone(),
        });
        let executed = Executed {
            outputs: outputs.collect(),
            timing: Timing::default(),
        };
        answer_memory::resize(&mut received.memory, executed.bytes())?;
        record.unrouted();
        record.executed(rows, executed.timing);
        record.prediction = None;
        Ok(InferResponse {
            version: AnsweredBy::Constant {
                endpoint: run.chain.endpoint.as_str().into(),
                signature,
            },
            outputs: executed.outputs,
            timing: executed.timing,
            cold_start: false,
            memory: std::mem::take(&mut received.memory),
            limits: authorized.limit_status(),
            cache: None,
            fallback: None,
            prediction: None,
        })
    }
}

/// The outputs that a request asks for, by their places in the signature.
fn wanted_outputs(request: &InferRequest, signature: &Signature) -> Result<Vec<usize>, InferError> {
    if request.outputs.is_empty() {
        return Ok((0..signature.outputs.len()).collect());
    }
    let outputs = request.outputs.iter();
    let places = outputs.map(|output| match output.classes {
        0 => Ok(signature.output(&output.name)?),
        _ => Err(not_usable("a constant has no classes".to_owned())),
    });
    places.collect()
}
