//! The request pipeline: every prediction, of every front end, is answered by [`Serving::answer`].
//!
//! ```text
//!  REST   KServe v1   gRPC   gRPC stream   in process
//!    |        |         |         |            |        each an Exchange
//!    v        v         v         v            v
//!  authenticate -> authorize -> limit -> receive -> route -> preprocess
//!                                                              |
//!       record <- encode <- postprocess <- execute <- schedule <- cache
//! ```
//!
//! The steps from *route* to *postprocess* are one [attempt](attempt); where an endpoint has fallbacks,
//! another one may follow it.
//!
//! The steps hand each other types that can be had in no other way: *route* takes an
//! [`Authorized`], which only the gateway makes, and *schedule* takes what a version has prepared.

mod answer_codec;
mod answer_memory;
mod attempt;
mod cached;
mod cascade;
mod exchange;
mod execute;
mod fallback;
mod graph;
mod in_process;
mod postprocess;
mod record;
mod resolver;
mod sequence_step;
mod shadow;

use std::pin::pin;

use tidegate_gateway::{Authorized, Permission};

pub use self::answer_codec::ANSWER_CODEC;
pub use self::attempt::earlier;
pub use self::cached::{AnswerCache, CacheStatus};
pub use self::exchange::{Encoded, Exchange, Received};
pub use self::execute::Executed;
pub use self::in_process::InProcess;
pub(crate) use self::record::RequestRecord;
use crate::{ErrorCode, InferError, InferRequest, RequestTrace, Serving, Target};

impl Serving {
    /// Answers one request: the whole pipeline, in order. Dropping the future gives the request up.
    ///
    /// # Errors
    /// Every [`ErrorCode`](crate::ErrorCode) that a request can meet. Whatever the outcome, the
    /// request is recorded once, after its answer was encoded.
    pub async fn answer<E: Exchange>(&self, mut exchange: E) -> Result<E::Answer, InferError> {
        let mut record = RequestRecord::new(self.metrics().observations());
        let mut authorized = None;
        // Pinned where it is: a future of this size takes longer to move than some of its steps take.
        let outcome = pin!(self.run_steps(&mut exchange, &mut authorized, &mut record)).await;
        match &outcome {
            Ok(_) => record.answered(),
            Err(error) => {
                record.failed(error.code, || exchange.take_trace());
                // What the server could not do uses up no limit. What has run is settled.
                if let Some(mut authorized) = authorized.filter(|_| error.code.is_given_back()) {
                    authorized.refund();
                }
            }
        }
        outcome
    }

    /// Records a request that its front end has refused before the pipeline saw it: its caller may ask
    /// for no prediction at all, so that its message was not read.
    pub fn record_refused(&self, code: ErrorCode, trace: Option<Box<RequestTrace>>) {
        let record = RequestRecord::new(self.metrics().observations());
        record.failed(code, || trace);
    }

    async fn run_steps<E: Exchange>(
        &self,
        exchange: &mut E,
        authorized: &mut Option<Authorized<Target>>,
        record: &mut RequestRecord<'_>,
    ) -> Result<E::Answer, InferError> {
        // authenticate, authorize, limit: by what is known before the body is read, so that a
        // caller who may not ask costs no more than a line of headers
        let caller = self.gateway().authenticate(exchange.credentials()).await?;
        let target = exchange.take_target();
        let permitted = self.gateway().authorize(caller, Permission::Call, target)?;
        if self.gateway().limiter().is_some() {
            // Nobody must be able to make limits count names that do not exist.
            self.check_endpoint(&permitted.resource().endpoint)?;
        }
        let authorized = authorized.insert(self.gateway().limit(permitted).await?);

        // receive
        let mut received = exchange.receive().await?;
        record.received(received.at, exchange.take_trace());

        // route, preprocess, cache, schedule, execute, postprocess
        let mut stepped = None;
        if let Some(sequence) = received.request.sequence.take() {
            // Boxed: requests of no sequence need not carry the place for it.
            let step = self.sequence_step(exchange, authorized, record, &mut received, &sequence);
            stepped = Box::pin(step).await?;
        }
        if let (Some(capture), None) = (&self.capture, &stepped) {
            let (endpoint, tenant) = (
                &authorized.resource().endpoint,
                authorized.caller().tenant(),
            );
            if let Some(prediction) = capture.begin(endpoint, tenant) {
                received.request.prediction = Some(prediction.clone());
                record.prediction = Some(prediction);
            }
        }
        let mut commit = None;
        let mut first = None;
        if stepped.is_none()
            && let Some(traffic) = self.traffic().cascade(authorized.resource())
        {
            let asking = self.ask_first(&traffic, exchange, authorized, record, &mut received);
            // Boxed: requests of endpoints without a cascade need not carry the place for it.
            first = Box::pin(asking).await?;
        }
        let mut response = match (first, stepped, self.fallbacks_of(authorized.resource())) {
            (Some(response), ..) => response,
            (None, Some(step), _) => {
                let (response, pending) = step.split();
                commit = Some(pending);
                response
            }
            (None, None, None) => {
                let received = &mut received;
                pin!(self.attempt(exchange, authorized, record, received, None, None)).await?
            }
            // Boxed: requests of endpoints without fallbacks need not carry the place for them.
            (None, None, Some((fallbacks, chain))) => {
                let received = &mut received;
                let chained =
                    self.attempt_chain(fallbacks, chain, exchange, authorized, record, received);
                let response = Box::pin(chained).await?;
                received.request = InferRequest::default();
                response
            }
        };

        if let Some(prediction) = &record.prediction {
            response.prediction = Some(prediction.clone());
        }

        // encode
        record.encoding_begins();
        let Encoded { answer, bytes } = exchange.encode(response).await?;
        record.encoded(bytes);
        if record.shadow_copy.is_some()
            && let Some(copy) = record.shadow_copy.take()
        {
            self.traffic().shadows().send(copy);
        }
        // A request that ends with an error leaves the states of its sequence as they were.
        if let Some(commit) = commit {
            commit.commit();
        }
        Ok(answer)
    }
}
