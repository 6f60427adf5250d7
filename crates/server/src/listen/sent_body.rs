//! The body of an answer while it is sent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::activity::ActiveRequest;
use super::stream_timer::{hand_over_part, part_is_sent};

/// Largest part of an answer that is handed to an HTTP/2 connection at once. The next one is asked
/// for when the client has room: small parts show that a slow client still reads.
const PART_BYTES: usize = 64 << 10;

/// The last byte of a larger frame is handed over alone, which only happens when there is room for it.
/// Else the connection could hold a whole part for a client that makes no room, with nobody left to
/// time it: a stream's task ends when everything is handed over.
const MAX_UNTIMED_BYTES: usize = 4 << 10;

/// A body whose request counts as active until its last byte was taken.
pub(super) struct SentBody {
    body: Body,
    request: ActiveRequest,
    /// What is left of a frame that is sent in parts.
    rest: Bytes,
}

impl SentBody {
    /// Lets an answer count until it is sent. Over HTTP/1 a body that is whole goes with its head
    /// and needs no count: the connection times it.
    pub(super) fn of(answer: Response, request: ActiveRequest) -> Response {
        if !request.is_http2() && answer.body().size_hint().exact().is_some() {
            return answer;
        }
        answer.map(|body| {
            Body::new(Self {
                body,
                request,
                rest: Bytes::new(),
            })
        })
    }

    /// The next part of what is left, if anything is.
    fn part(&mut self) -> Option<Frame<Bytes>> {
        if self.rest.is_empty() {
            return None;
        }
        let length = (self.rest.len() - 1).clamp(1, PART_BYTES);
        Some(Frame::data(self.rest.split_to(length)))
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(part) = self.part() {
            return Poll::Ready(Some(Ok(part)));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let Some(Ok(frame)) = frame else {
            return Poll::Ready(frame);
        };
        match frame.into_data() {
            // hyper sends the data of HTTP/1 itself, and the connection's own timer watches those
            // writes.
            Ok(data) if data.len() > MAX_UNTIMED_BYTES && self.request.is_http2() => {
                self.rest = data;
                Poll::Ready(self.part().map(Ok))
            }
            Ok(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Err(frame) => Poll::Ready(Some(Ok(frame))),
        }
    }
}

impl HttpBody for SentBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        // The connection asks only when the client has room for more.
        if !this.request.is_http2() {
            return this.poll_next(context);
        }
        this.request.set_waiting(false);
        part_is_sent();
        let frame = this.poll_next(context);
        if let Poll::Ready(Some(Ok(_))) = &frame {
            this.request.set_waiting(true);
            hand_over_part();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let of_body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower() + rest);
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt;
    use tidegate_serving::MemoryBudget;

    use super::super::activity::Activity;
    use super::*;

    #[tokio::test]
    async fn an_answer_over_http2_is_sent_in_parts_and_counts_until_its_end() {
        let client = std::net::IpAddr::from([127, 0, 0, 1]);
        let activity = Arc::new(Activity::new(client, MemoryBudget::new(1).share(1)));
        activity.begin(true);
        let request = ActiveRequest::new(activity.clone());
        let bytes: Vec<u8> = (0..150_000_u32).map(|at| at as u8).collect();
        let answer = SentBody::of(Response::new(Body::from(bytes.clone())), request);
        let mut body = answer.into_body();
        assert_eq!(body.size_hint().exact(), Some(150_000));
        let mut received = Vec::new();
        let mut last = 0;
        let mut parts = 0;
        while let Some(frame) = body.frame().await {
            assert!(activity.has_requests());
            let data = frame.unwrap().into_data().unwrap();
            received.extend_from_slice(&data);
            last = data.len();
            parts += 1;
        }
        assert_eq!((received, parts, last), (bytes, 4, 1));
        drop(body);
        assert!(!activity.has_requests());
    }
}
