//! Where bodies are decoded and encoded: small ones on the thread that has their connection, large
//! ones beside it.

use std::sync::LazyLock;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tidegate_serving::{InferError, InferResponse, MemoryReservation};
use tokio::sync::Semaphore;

use crate::blocking::run_in_place;

/// Longest JSON that is decoded or encoded, and largest body that is packed or unpacked, on the
/// threads that serve connections. It takes up to 0.2 ms, in which the other connections of the
/// thread wait.
pub(crate) const INLINE_BYTES: usize = 64 << 10;

/// Outputs of so many bytes are encoded on the threads that serve connections: as JSON they take
/// about three times as much, at most [`INLINE_BYTES`] but for bytes of texts.
pub(crate) const SMALL_OUTPUTS_BYTES: usize = 16 << 10;

/// Bytes that a number in JSON takes on average, with its comma.
const JSON_NUMBER_BYTES: usize = 12;

/// As many bodies at once as there are processors: more would only take turns, and each holds
/// memory meanwhile.
static PLACES: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));

/// Decodes or encodes a large body. What it takes of the memory budget goes with the work, which
/// ends later than its request if the client goes away. The future is boxed, so that it takes no
/// room in those of small requests, which are moved around.
///
/// # Errors
/// [`ErrorCode::Internal`](tidegate_serving::ErrorCode::Internal) if it panicked.
pub(crate) fn run_codec<'a, T: Send + 'static>(
    memory: &'a mut MemoryReservation,
    work: impl FnOnce() -> T + Send + 'static,
) -> BoxFuture<'a, Result<T, InferError>> {
    Box::pin(async move {
        let held = std::mem::take(memory);
        let (done, held) = run_in_place(&PLACES, move || (work(), held)).await?;
        *memory = held;
        Ok(done)
    })
}

/// Most bytes that the tensors of so much JSON take: each number or text but the first one has a
/// comma before it, and takes at most eight bytes beside the bytes of texts.
pub(crate) fn decoded_bytes_at_most(json: &[u8]) -> usize {
    let commas = json.iter().filter(|byte| **byte == b',').count();
    json.len() + 8 * (commas + 1)
}

/// About how many bytes an answer takes once it is encoded. What it really took is known after.
pub(crate) fn encoded_bytes(response: &InferResponse, is_binary: impl Fn(usize) -> bool) -> usize {
    let outputs = response.outputs.iter().enumerate();
    let bytes = outputs.map(|(at, output)| {
        let tensor = &output.tensor;
        if is_binary(at) {
            return tensor.byte_len();
        }
        let elements = tensor.shape().element_count();
        let texts = match tensor.datatype().element_bytes() {
            Some(_) => 0,
            None => tensor.byte_len(),
        };
        texts + JSON_NUMBER_BYTES * elements
    });
    bytes.sum()
}

/// Bytes that give back what they take of the memory budget with their last holder: the connection
/// that sends them.
pub(crate) fn hold(bytes: Vec<u8>, memory: MemoryReservation) -> Bytes {
    Bytes::from_owner(Held {
        bytes,
        _memory: memory,
    })
}

struct Held {
    bytes: Vec<u8>,
    _memory: MemoryReservation,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt;
    use tidegate_serving::{ErrorCode, MemoryBudget};

    use super::*;

    #[tokio::test]
    async fn work_keeps_its_memory_when_its_client_has_gone_away() {
        let budget = MemoryBudget::new(100);
        let mut memory = budget.begin();
        memory.grow(60, ErrorCode::BodyTooLarge).unwrap();
        let (begin, begun) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let mut work = run_codec(&mut memory, move || {
            begin.send(()).unwrap();
            released.recv().is_ok()
        });
        assert!(work.as_mut().now_or_never().is_none());
        begun.recv().unwrap();
        drop(work);
        drop(memory);
        assert_eq!(budget.used_bytes(), 60);
        release.send(()).unwrap();
        while budget.used_bytes() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn decoded_numbers_take_no_more_than_was_reserved() {
        for (json, bytes) in [("[1,2,3,4]", 32), ("[]", 0), ("1", 8)] {
            assert!(decoded_bytes_at_most(json.as_bytes()) >= bytes);
        }
    }

    #[test]
    fn bytes_hold_their_memory_until_the_last_part_is_sent() {
        let budget = MemoryBudget::new(100);
        let mut memory = budget.begin();
        memory.grow(5, ErrorCode::AnswerTooLarge).unwrap();
        let mut bytes = hold(b"hello".to_vec(), memory);
        let first = bytes.split_to(2);
        drop(bytes);
        assert_eq!(budget.used_bytes(), 5);
        drop(first);
        assert_eq!(budget.used_bytes(), 0);
    }
}
