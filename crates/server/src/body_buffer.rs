//! A buffer for bytes that arrive in parts, within the memory budget.

use tidegate_serving::{ErrorCode, InferError, MemoryReservation};

/// How much larger a buffer becomes that is full.
const GROWTH: usize = 8;

/// How large a buffer becomes that has to hold so many bytes, and may come to hold `max_bytes`. What is
/// not written yet takes no memory, only addresses; but each buffer that was too small is copied and
/// left behind. So the steps are large, and the last one is not much smaller than the others.
pub(crate) fn larger(bytes: usize, max_bytes: usize) -> usize {
    let larger = bytes.saturating_mul(GROWTH);
    // The growth after this one would pass the limit: growing up to it now saves that copy.
    if larger > max_bytes / GROWTH {
        bytes.max(max_bytes)
    } else {
        larger
    }
}

/// Bytes that arrive, of which as much memory is reserved as they take.
pub(crate) struct BodyBuffer {
    bytes: Vec<u8>,
    max_bytes: usize,
}

impl BodyBuffer {
    /// A buffer with room for what is announced.
    pub(crate) fn new(announced: usize, max_bytes: usize) -> Result<Self, InferError> {
        let mut bytes = Vec::new();
        make_room(&mut bytes, announced.min(max_bytes))?;
        Ok(Self { bytes, max_bytes })
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends what has arrived, for which memory is reserved already.
    pub(crate) fn push_counted(
        &mut self,
        data: &[u8],
        memory: &mut MemoryReservation,
    ) -> Result<(), InferError> {
        let (before, length) = (self.len(), self.len() + data.len());
        if length > self.bytes.capacity() {
            // Not announced. Both buffers are there while one is copied into the other.
            let copied = memory.bytes();
            memory.grow(before, ErrorCode::BodyTooLarge)?;
            make_room(&mut self.bytes, larger(length, self.max_bytes) - before)?;
            memory.shrink_to(copied);
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// Appends what has arrived, once memory is reserved for it.
    pub(crate) fn push(
        &mut self,
        data: &[u8],
        memory: &mut MemoryReservation,
    ) -> Result<(), InferError> {
        memory.grow(data.len(), ErrorCode::BodyTooLarge)?;
        self.push_counted(data, memory)
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Makes room for more, where the system lets the process have it.
pub(crate) fn make_room(buffer: &mut Vec<u8>, bytes: usize) -> Result<(), InferError> {
    buffer.try_reserve_exact(bytes).map_err(|_| {
        let message = format!("the process has no memory for {bytes} bytes of a body");
        InferError::new(ErrorCode::MemoryFull, message)
    })
}

#[cfg(test)]
mod tests {
    use tidegate_serving::MemoryBudget;

    use super::*;

    #[test]
    fn what_has_arrived_is_reserved_and_what_was_announced_is_not() {
        let budget = MemoryBudget::new(1 << 20);
        let mut memory = budget.begin();
        for announced in [1 << 20, 0] {
            let mut buffer = BodyBuffer::new(announced, 1 << 20).unwrap();
            for count in 1..=100 {
                buffer.push(&[7; 1000], &mut memory).unwrap();
                assert_eq!(memory.bytes(), 1000 * count);
            }
            assert_eq!(buffer.into_bytes(), vec![7; 100_000]);
            memory.shrink_to(0);
        }
        // While the one buffer was copied into the other, there was twice as much.
        assert!(budget.take_peak() <= 150_000);
        let mut buffer = BodyBuffer::new(0, 1 << 20).unwrap();
        buffer.push(&[7; 400_000], &mut memory).unwrap();
        buffer.push(&[7; 648_576], &mut memory).unwrap();
        assert_eq!(budget.take_peak(), 1 << 20);
    }

    #[test]
    fn buffers_that_were_too_small_are_few() {
        let mut memory = MemoryReservation::default();
        let mut buffer = BodyBuffer::new(0, 1 << 20).unwrap();
        let mut left_behind = 0;
        for _ in 0..1 << 10 {
            let before = buffer.bytes.capacity();
            buffer.push(&[7; 1 << 10], &mut memory).unwrap();
            left_behind += before * usize::from(buffer.bytes.capacity() > before);
        }
        assert!(left_behind < 1 << 18, "{left_behind}");
        assert_eq!(buffer.bytes.capacity(), 1 << 20);
    }
}
