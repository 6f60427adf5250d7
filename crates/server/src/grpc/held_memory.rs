//! The memory of a message until it was sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tidegate_serving::MemoryReservation;

/// A smaller answer gives its memory back before it is sent: holding it would cost more than it
/// takes.
pub(super) const MIN_HELD_BYTES: usize = 16 << 10;

/// What an answer takes of the memory budget, on its way from the method to the connection: among
/// the extensions of the response, which must be values that can be cloned.
#[derive(Clone)]
pub(super) struct HeldMemory {
    _memory: Arc<MemoryReservation>,
}

impl HeldMemory {
    pub(super) fn new(memory: MemoryReservation) -> Self {
        Self {
            _memory: Arc::new(memory),
        }
    }

    /// Lets a response hold the memory that was noted in it until its body was sent.
    pub(super) fn attach(mut response: Response) -> Response {
        let Some(memory) = response.extensions_mut().remove::<Self>() else {
            return response;
        };
        response.map(|body| {
            Body::new(HeldBody {
                body,
                _memory: memory,
            })
        })
    }
}

struct HeldBody {
    body: Body,
    _memory: HeldMemory,
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
