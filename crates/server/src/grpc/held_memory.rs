//! The memory of a message until it was sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tidegate_serving::MemoryReservation;

/// A smaller answer gives its memory back before it is sent: holding it would cost more than it
/// takes.
pub(super) const MIN_HELD_BYTES: usize = 16 << 10;

/// What the answers of a call take of the memory budget, on their way from the method to the
/// connection: among the extensions of the response, which must be values that can be cloned.
#[derive(Clone, Default)]
pub(super) struct HeldMemory {
    /// That of the answers which are encoded next.
    next: Arc<Mutex<Vec<MemoryReservation>>>,
}

impl HeldMemory {
    /// Holds the memory of an answer that is about to be encoded, until its bytes were sent.
    pub(super) fn hold(&self, memory: MemoryReservation) {
        self.next.lock().push(memory);
    }

    fn take(&self) -> Vec<MemoryReservation> {
        std::mem::take(&mut self.next.lock())
    }

    /// Lets a response hold the memory that was noted in it until its body was sent.
    pub(super) fn attach(mut response: Response) -> Response {
        let Some(memory) = response.extensions_mut().remove::<Self>() else {
            return response;
        };
        response.map(|body| {
            Body::new(HeldBody {
                body,
                memory,
                sending: Vec::new(),
            })
        })
    }
}

struct HeldBody {
    body: Body,
    memory: HeldMemory,
    /// That of the answers in the frame that is being sent.
    sending: Vec<MemoryReservation>,
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        // The connection asks for more when it has sent what it had. The transport puts every answer
        // that it takes of a stream into the frame that it returns next.
        this.sending.clear();
        let frame = Pin::new(&mut this.body).poll_frame(context);
        this.sending = this.memory.take();
        frame
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
    use futures_util::{StreamExt, stream};
    use http_body_util::BodyExt;
    use tidegate_serving::{ErrorCode, MemoryBudget};

    use super::*;

    #[tokio::test]
    async fn the_answers_of_a_stream_hold_their_memory_until_the_next_one_is_asked_for() {
        let budget = MemoryBudget::new(1000);
        let held = HeldMemory::default();
        let (holds, reserves) = (held.clone(), budget.clone());
        let answers = stream::iter(1..=3).map(move |number| {
            let mut memory = reserves.begin();
            memory
                .grow(100 * number, ErrorCode::AnswerTooLarge)
                .unwrap();
            holds.hold(memory);
            Ok::<_, axum::Error>(Bytes::from_static(b"answer"))
        });
        let mut response = Response::new(Body::from_stream(answers));
        response.extensions_mut().insert(held);
        let mut body = HeldMemory::attach(response).into_body();
        for used in [100, 200, 300] {
            assert!(body.frame().await.unwrap().is_ok());
            assert_eq!(budget.used_bytes(), used);
        }
        assert!(body.frame().await.is_none());
        assert_eq!(budget.used_bytes(), 0);
    }
}
