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
//! The steps hand each other types that can be had in no other way: *route* takes an
//! [`Authorized`], which only the gateway makes, and *schedule* takes what a version has prepared.

mod answer_memory;
mod cached;
mod exchange;
mod execute;
mod in_process;
mod postprocess;
mod record;
mod resolver;

use tidegate_gateway::{Authorized, CacheControl, Permission};

use self::cached::CacheableRequest;
pub use self::cached::{AnswerCache, CacheStatus};
pub use self::exchange::{Encoded, Exchange, Received};
pub use self::execute::Executed;
use self::execute::execute;
pub use self::in_process::InProcess;
use self::record::RequestRecord;
use crate::scheduler::AllowedTime;
use crate::version::Prepared;
use crate::{ErrorCode, InferError, InferResponse, RequestTrace, Serving, Target};

impl Serving {
    /// Answers one request: the whole pipeline, in order. Dropping the future gives the request up.
    ///
    /// # Errors
    /// Every [`ErrorCode`](crate::ErrorCode) that a request can meet. Whatever the outcome, the
    /// request is recorded once, after its answer was encoded.
    pub async fn answer<E: Exchange>(&self, mut exchange: E) -> Result<E::Answer, InferError> {
        let mut record = RequestRecord::new(self.metrics().observations());
        let mut authorized = None;
        let steps = self.run_steps(&mut exchange, &mut authorized, &mut record);
        let outcome = steps.await;
        match &outcome {
            Ok(_) => record.answered(),
            Err(error) => {
                record.failed(error.code, || exchange.take_trace());
                // What the server could not do uses up no limit.
                if let Some(mut authorized) = authorized.filter(|_| error.code.is_refused_unrun()) {
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
        let at = received.at;
        record.received(at, exchange.take_trace());

        // route
        let routed = self
            .route(authorized, received.request.deadline, at)
            .await?;
        let version = &routed.version;

        // preprocess: some wire forms say what they hold only beside the signature
        exchange
            .decode_inputs(&mut received, version.signature())
            .await?;
        let Received {
            request,
            mut memory,
            ..
        } = received;
        // A request that cannot be decoded counts for no version, whichever step finds it out.
        record.routed(version.stats().counters());
        let share = self.gateway().share(authorized.caller());
        let Prepared { work, outputs } = version.prepare(request, at, share)?;
        let rows = version
            .remote()
            .map_or(work.rows, |remote| remote.rows(&work));
        if authorized.has_limits() {
            authorized.charge_rows(rows).await?;
        }
        // An answer that is too large is refused before it is computed, where its size is known.
        answer_memory::reserve(&mut memory, version, rows, exchange.max_answer_bytes())?;
        let allowed = AllowedTime::of(&work, at);

        // cache
        let policy = self.cache_policy(&authorized.resource().endpoint, version);
        let (executed, cache) = match policy {
            // schedule, execute, postprocess
            None => {
                let executed = execute(version, work, &outputs, allowed, record.trace()).await?;
                record.executed(rows, executed.timing);
                (executed, None)
            }
            Some((cache, policy)) => {
                let request = CacheableRequest {
                    version,
                    work,
                    wanted: &outputs,
                    allowed,
                    trace: record.trace(),
                    tenant: authorized.caller().tenant(),
                    policy,
                    control: CacheControl::of(exchange.credentials().headers()),
                };
                // Boxed: requests that are not cached need not carry the place for it.
                let (executed, status) = Box::pin(request.answer(cache)).await?;
                record.executed(rows, executed.timing);
                (executed, Some(status))
            }
        };
        answer_memory::resize(&mut memory, executed.bytes())?;

        // encode
        let response = InferResponse {
            outputs: executed.outputs,
            timing: executed.timing,
            cold_start: routed.cold_start,
            version: routed.version,
            memory,
            limits: authorized.limit_status(),
            cache,
        };
        record.encoding_begins();
        let Encoded { answer, bytes } = exchange.encode(response).await?;
        record.encoded(bytes);
        Ok(answer)
    }
}
