//! Calls whose messages are packed: they are unpacked before the transport reads them.
//!
//! The transport would unpack a message at once, on the thread of its connection, and what it takes
//! would be known afterwards. Here it is reserved step by step, and large messages are unpacked beside
//! that thread, as the bodies of REST are.

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::HeaderMap;
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use tidegate_serving::{ErrorCode, InferError, MemoryReservation};

use super::message_boundary::PREFIX_BYTES;
use super::status;
use crate::body_buffer::BodyBuffer;
use crate::compression::Encoding;

/// How the messages of a call are packed, if they are and we can unpack them. The transport refuses
/// other encodings.
pub(super) fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    Encoding::parse(headers.get("grpc-encoding")?.to_str().ok()?)
}

/// The body of a call as it would be without packing.
pub(super) fn unpacked<B>(
    body: B,
    encoding: Encoding,
    max_bytes: usize,
    memory: MemoryReservation,
) -> Body
where
    B: HttpBody<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
{
    let messages = PackedMessages {
        body,
        encoding,
        max_bytes,
        memory,
        rest: Bytes::new(),
    };
    Body::from_stream(messages.into_parts().boxed())
}

/// The messages of a body while it arrives.
struct PackedMessages<B> {
    body: B,
    encoding: Encoding,
    max_bytes: usize,
    /// What the current message takes.
    memory: MemoryReservation,
    /// What has arrived behind the current message.
    rest: Bytes,
}

impl<B: HttpBody<Data = Bytes, Error = BoxError> + Send + Unpin> PackedMessages<B> {
    /// The prefix and the content of each message, unpacked. It ends with the first error.
    fn into_parts(self) -> impl Stream<Item = Result<Bytes, BoxError>> + Send {
        let messages = stream::try_unfold(self, |mut messages| async move {
            let parts = messages.next().await?;
            Ok::<_, BoxError>(parts.map(|parts| (parts, messages)))
        });
        messages.flat_map(|parts| match parts {
            Ok(parts) => stream::iter(parts.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        })
    }

    async fn next(&mut self) -> Result<Option<[Bytes; 2]>, BoxError> {
        // The message before has been read by the transport, and counts in the pipeline.
        self.memory.shrink_to(self.rest.len());
        let Some(prefix) = self.take(PREFIX_BYTES).await? else {
            return Ok(None);
        };
        let bytes = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        if prefix[0] > 1 || bytes > self.max_bytes {
            // The transport refuses it when it sees this.
            return Ok(Some([prefix, Bytes::new()]));
        }
        let Some(content) = self.take(bytes).await? else {
            return Ok(Some([prefix, Bytes::new()]));
        };
        let message = if prefix[0] == 0 {
            Ok([prefix, content])
        } else {
            self.unpack(content).await
        };
        message.map(Some).map_err(refused)
    }

    async fn unpack(&mut self, packed: Bytes) -> Result<[Bytes; 2], InferError> {
        let memory = &mut self.memory;
        let content = self.encoding.unpack(packed, self.max_bytes, memory).await?;
        // The transport copies it into a buffer of its own.
        memory.grow(content.len(), ErrorCode::BodyTooLarge)?;
        // Unpacked messages are bounded by `max_body_bytes`, which gRPC bounds to these four bytes.
        let bytes = u32::try_from(content.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes();
        let prefix = [0, bytes[0], bytes[1], bytes[2], bytes[3]];
        Ok([Bytes::copy_from_slice(&prefix), content])
    }

    /// The next so many bytes, counted as they arrive; `None` if the body ends before.
    async fn take(&mut self, bytes: usize) -> Result<Option<Bytes>, BoxError> {
        if self.rest.len() >= bytes {
            return Ok(Some(self.rest.split_to(bytes)));
        }
        let memory = &mut self.memory;
        let mut buffer = BodyBuffer::new(bytes, bytes).map_err(refused)?;
        let first = std::mem::take(&mut self.rest);
        buffer.push_counted(&first, memory).map_err(refused)?;
        while buffer.len() < bytes {
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            let mut data = frame?.into_data().unwrap_or_default();
            let grown = memory.grow(data.len(), ErrorCode::BodyTooLarge);
            grown.map_err(refused)?;
            let part = data.split_to(data.len().min(bytes - buffer.len()));
            buffer.push_counted(&part, memory).map_err(refused)?;
            self.rest = data;
        }
        Ok(Some(buffer.into_bytes().into()))
    }
}

fn refused(error: InferError) -> BoxError {
    status(&error).into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::{Full, StreamBody};
    use tidegate_serving::MemoryBudget;

    use super::super::message_boundary::tests::message;
    use super::*;

    const LIMIT: usize = 1 << 20;

    /// A message of blanks as a client packs it.
    async fn packed(bytes: usize) -> Vec<u8> {
        let mut memory = MemoryReservation::default();
        let blanks = vec![7; bytes];
        let content = Encoding::Gzip.pack(blanks, &mut memory).await.unwrap();
        let mut message = vec![1];
        message.extend_from_slice(&u32::try_from(content.len()).unwrap().to_be_bytes());
        message.extend_from_slice(&content);
        message
    }

    fn body_in_parts(sent: &[u8], part: usize, budget: &Arc<MemoryBudget>) -> Body {
        let parts: Vec<_> = sent
            .chunks(part)
            .map(|part| Ok(http_body::Frame::data(Bytes::copy_from_slice(part))))
            .collect();
        let body = StreamBody::new(stream::iter(parts));
        unpacked(body, Encoding::Gzip, LIMIT, budget.begin())
    }

    #[tokio::test]
    async fn packed_messages_arrive_as_if_they_were_not_packed() {
        let budget = MemoryBudget::new(8 << 20);
        let sent = [
            packed(300).await,
            message(20),
            packed(200_000).await,
            packed(0).await,
        ]
        .concat();
        let expected = [message(300), message(20), message(200_000), message(0)].concat();
        for part in [1, 7, 1000, sent.len()] {
            let body = body_in_parts(&sent, part, &budget);
            let received = body.collect().await.unwrap().to_bytes();
            assert!(received == expected, "in parts of {part}");
            assert_eq!(budget.used_bytes(), 0);
        }
        // Unpacked, and its copy in the transport.
        assert!(budget.take_peak() >= 400_000);
    }

    #[tokio::test]
    async fn a_message_that_unpacks_to_more_than_there_is_room_for_is_refused_before() {
        let sent = packed(LIMIT).await;
        assert!(sent.len() < LIMIT / 50);
        let budget = MemoryBudget::new(300_000);
        let body = body_in_parts(&sent, sent.len(), &budget);
        let error = body.collect().await.unwrap_err();
        assert!(error.to_string().contains("memory_budget_bytes"), "{error}");
        assert!(budget.take_peak() <= 300_000);
        let sent = packed(LIMIT + 1).await;
        let budget = MemoryBudget::new(64 << 20);
        let body = body_in_parts(&sent, sent.len(), &budget);
        let error = body.collect().await.unwrap_err();
        assert!(error.to_string().contains("larger than"), "{error}");
    }

    #[tokio::test]
    async fn what_the_transport_refuses_is_left_to_it() {
        let budget = MemoryBudget::new(1 << 20);
        for sent in [
            &[1, 255, 255, 255, 255][..],
            &[9, 0, 0, 0, 0],
            &[1, 0, 0, 0, 9, 1],
        ] {
            let body = Full::new(Bytes::copy_from_slice(sent)).map_err(|never| match never {});
            let body = unpacked(body, Encoding::Zstd, LIMIT, budget.begin());
            let received = body.collect().await.unwrap().to_bytes();
            assert_eq!(received[..5], sent[..5]);
        }
    }
}
