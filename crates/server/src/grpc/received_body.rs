//! The body of a call while it arrives: messages must come whole, in time, within the memory that is
//! left.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::BoxError;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tidegate_serving::{ErrorCode, InferError, MemoryReservation};

use super::message_boundary::MessageBoundary;
use super::status;
use crate::lifecycle::Lifecycle;
use crate::upload_timer::{UploadLimits, UploadTimer};

/// A body whose messages may not stay half sent.
pub(crate) struct ReceivedBody<B> {
    body: B,
    boundary: MessageBoundary,
    limits: UploadLimits,
    /// Whether it ends with its first message. Until it has ended, the call is not handed over, so the
    /// end is awaited too, and the message is counted here.
    has_one_message: bool,
    /// Whether the client owes the rest of a message, or the first one.
    is_awaited: bool,
    /// Set once a part of the message was waited for.
    timer: Option<UploadTimer>,
    /// Bytes of the message that have arrived, its prefix and those before it in the same frame
    /// included.
    received: usize,
    lifecycle: Arc<Lifecycle>,
    /// What the message that arrives takes.
    memory: MemoryReservation,
}

impl<B> ReceivedBody<B> {
    /// A body whose messages must arrive within these limits. Where `awaits_first` is set, that holds for the
    /// first one from the beginning: a call with one message is nothing without it.
    pub(super) fn new(
        body: B,
        limits: UploadLimits,
        awaits_first: bool,
        memory: MemoryReservation,
        lifecycle: Arc<Lifecycle>,
    ) -> Self {
        Self {
            body,
            boundary: MessageBoundary::default(),
            limits,
            has_one_message: awaits_first,
            is_awaited: awaits_first,
            timer: None,
            received: 0,
            lifecycle,
            memory,
        }
    }

    /// Follows what has arrived. The timer runs from the first byte of a message to its last, and
    /// so long its bytes are counted here; then the pipeline counts them.
    fn follow(&mut self, data: &[u8]) -> Result<(), InferError> {
        if self.boundary.advance(data) && !self.has_one_message {
            self.timer = None;
            self.received = 0;
            self.memory.shrink_to(0);
        }
        self.received += data.len();
        self.is_awaited = self.has_one_message || !self.boundary.is_whole();
        if !self.is_awaited {
            return Ok(());
        }
        self.memory.grow(data.len(), ErrorCode::BodyTooLarge)
    }

    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<InferError> {
        if !self.is_awaited {
            return Poll::Pending;
        }
        // Most messages come in one piece, and need none.
        let timer = self.timer.get_or_insert_with(|| {
            UploadTimer::start(self.limits, Some(&self.lifecycle), self.received)
        });
        timer.poll_late(self.received, context)
    }
}

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin> HttpBody for ReceivedBody<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let frame = match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => {
                this.is_awaited = false;
                return Poll::Ready(None);
            }
            Poll::Pending => {
                let late = ready!(this.poll_late(context));
                return Poll::Ready(Some(Err(status(&late).into())));
            }
        };
        let followed = match frame.data_ref() {
            Some(data) => this.follow(data),
            None => Ok(()),
        };
        Poll::Ready(Some(match followed {
            Ok(()) => Ok(frame),
            Err(error) => Err(status(&error).into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use futures_util::StreamExt;
    use http_body_util::{BodyExt, StreamBody};
    use tidegate_core::EngineChoice;
    use tidegate_engines::{Engines, PORTABLE};
    use tidegate_serving::{MemoryBudget, MetricRegistry, Models, Serving};
    use tokio::time::Instant;

    use super::super::message_boundary::tests::message;
    use super::*;
    use crate::ServerConfig;

    /// A body that sends `data` and then nothing more, without an end.
    fn body(
        data: Vec<u8>,
        awaits_first: bool,
        budget: &Arc<MemoryBudget>,
    ) -> ReceivedBody<impl HttpBody<Data = Bytes, Error = Infallible> + Unpin> {
        let sent = tokio_stream::once(Ok(Frame::data(Bytes::from(data))));
        let sent = StreamBody::new(sent.chain(tokio_stream::pending()));
        let limits = UploadLimits::of(&ServerConfig::default());
        let registry = MetricRegistry::new();
        let engines = Engines::discover(None, EngineChoice::from(PORTABLE));
        let models = Models::new(Vec::new(), engines, &registry);
        let lifecycle = Arc::new(Lifecycle::new(
            Arc::new(Serving::new(models)),
            Duration::ZERO,
        ));
        ReceivedBody::new(sent, limits, awaits_first, budget.begin(), lifecycle)
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_stays_half_sent_ends_its_call() {
        let budget = MemoryBudget::new(1 << 20);
        let mut half = message(100);
        half.truncate(50);
        let mut body = body(half, false, &budget);
        assert!(body.frame().await.unwrap().is_ok());
        assert_eq!(budget.used_bytes(), 50);
        let started = Instant::now();
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(error.to_string().contains("did not arrive"), "{error}");
        assert_eq!(started.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_with_one_message_must_end() {
        let budget = MemoryBudget::new(1 << 20);
        let mut body = body(message(100), true, &budget);
        assert!(body.frame().await.unwrap().is_ok());
        assert_eq!(budget.used_bytes(), 105);
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(error.to_string().contains("did not arrive"), "{error}");
        drop(body);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_may_rest_between_messages() {
        let budget = MemoryBudget::new(1 << 20);
        let mut body = body(message(100), false, &budget);
        assert!(body.frame().await.unwrap().is_ok());
        assert_eq!(budget.used_bytes(), 0);
        let rest = tokio::time::timeout(Duration::from_secs(3600), body.frame());
        assert!(rest.await.is_err());
    }

    #[tokio::test]
    async fn a_message_without_room_is_refused_while_it_arrives() {
        let budget = MemoryBudget::new(200);
        let mut half = message(1000);
        half.truncate(300);
        let mut body = body(half, true, &budget);
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(error.to_string().contains("memory_budget_bytes"), "{error}");
    }
}
