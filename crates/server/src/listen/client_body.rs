//! The body of a request, and what becomes of one that nobody reads to its end.
//!
//! An answer may come before the body was read: the path is wrong, the body too large. hyper then
//! closes the connection without a word, and the next request on it, which in the pool of a proxy is
//! somebody else's, is lost. So a small rest is read after the answer was made, and an answer before
//! a large rest says `Connection: close`.
//!
//! Over HTTP/2, hyper resets the stream of such an answer. Some clients then drop the answer, and
//! nobody sees why they were refused. So there, too, a small rest is read.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tidegate_serving::MemoryShare;
use tokio::runtime::Handle;

use super::activity::Activity;

/// The largest rest of a body that is read for nothing.
const MAX_UNREAD_BYTES: u64 = 256 << 10;
/// The same over HTTP/2, where many streams may have one: as much as a client may send unasked.
const MAX_UNREAD_STREAM_BYTES: u64 = 64 << 10;
/// How long it may take to arrive.
const UNREAD_PATIENCE: Duration = Duration::from_secs(1);

/// A body that is given back to its connection if it is dropped before its end.
pub(crate) struct ClientBody {
    body: Option<Incoming>,
    activity: Arc<Activity>,
    has_arrived: bool,
    /// Whether the client sends it only when it is asked to.
    waits_to_send: bool,
}

impl ClientBody {
    pub(super) fn new(body: Incoming, headers: &HeaderMap, activity: &Arc<Activity>) -> Self {
        let has_arrived = body.is_end_stream();
        if !has_arrived {
            activity.body_begins();
        }
        Self {
            waits_to_send: !has_arrived && headers.contains_key(header::EXPECT),
            body: Some(body),
            activity: activity.clone(),
            has_arrived,
        }
    }

    /// What the requests of its client may take.
    pub(crate) fn client_memory(&self) -> &Arc<MemoryShare> {
        self.activity.client_memory()
    }

    /// The address of the client.
    pub(crate) fn client(&self) -> IpAddr {
        self.activity.client
    }

    fn arrived(&mut self) {
        if !self.has_arrived {
            self.has_arrived = true;
            self.activity.body_ends();
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        // Asking for it tells the client to send it.
        this.waits_to_send = false;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(&mut *body).poll_frame(context);
        if frame.is_ready() {
            this.activity.body_moves();
        }
        if matches!(frame, Poll::Ready(None)) || body.is_end_stream() {
            this.arrived();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.as_ref();
        body.map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        if self.has_arrived {
            return;
        }
        self.arrived();
        if let Some(body) = self.body.take() {
            self.activity.set_unread(UnreadBody {
                body,
                waits_to_send: self.waits_to_send,
            });
        }
    }
}

/// What is left of a body after its request was answered.
pub(super) struct UnreadBody {
    body: Incoming,
    waits_to_send: bool,
}

impl UnreadBody {
    /// Reads a small rest while the answer is sent, so that its stream ends without a reset.
    pub(super) fn drain_beside_answer(mut self) {
        if self.waits_to_send || self.body.size_hint().lower() > MAX_UNREAD_STREAM_BYTES {
            return;
        }
        // None while a server is torn down.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let drained = self.drain(MAX_UNREAD_STREAM_BYTES);
                let _ = tokio::time::timeout(UNREAD_PATIENCE, drained).await;
            });
        }
    }

    /// Reads the rest, or has the answer say that the connection ends.
    pub(super) async fn settle(mut self, answer: &mut Response) {
        if self.waits_to_send || !self.is_drained().await {
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(header::CONNECTION, close);
        }
    }

    async fn is_drained(&mut self) -> bool {
        if self.body.size_hint().lower() > MAX_UNREAD_BYTES {
            return false;
        }
        let drained = tokio::time::timeout(UNREAD_PATIENCE, self.drain(MAX_UNREAD_BYTES)).await;
        drained.unwrap_or(false)
    }

    async fn drain(&mut self, max_bytes: u64) -> bool {
        let mut bytes = 0;
        while let Some(frame) = self.body.frame().await {
            let Ok(frame) = frame else { return false };
            bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            if bytes > max_bytes {
                return false;
            }
        }
        true
    }
}
