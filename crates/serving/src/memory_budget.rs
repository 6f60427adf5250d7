//! A common bound on the memory of all requests and answers in flight.
//!
//! ```text
//!   body arrives        decode            run               encode            sent
//!   grow by frame ----> grow by bound --> grow by what ---> grow by bound --> released with
//!                       then as large     is known, then    then as large     the last byte
//!                       as it is          as large as it is as it is
//! ```
//!
//! Memory is reserved before it is taken. What finds no room is refused, with an error that says
//! when to retry; what could never find room is refused for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::{ErrorCode, InferError};

/// The bytes that requests and answers may take together, and those that they take.
#[derive(Debug)]
pub struct MemoryBudget {
    limit: usize,
    used: AtomicUsize,
    /// The most that was used since [`MemoryBudget::take_peak`] was last called.
    peak: AtomicUsize,
    refused: AtomicU64,
}

impl MemoryBudget {
    /// A budget of so many bytes.
    pub fn new(limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: limit_bytes,
            used: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// The bytes that may be used.
    pub fn limit_bytes(&self) -> usize {
        self.limit
    }

    /// The bytes that are used.
    pub fn used_bytes(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// How often something was refused because there was no room for it.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The most bytes that were used since this was last asked.
    pub fn take_peak(&self) -> usize {
        self.peak.swap(self.used_bytes(), Ordering::Relaxed)
    }

    /// A part of the budget, still of no bytes.
    pub fn begin(self: &Arc<Self>) -> MemoryReservation {
        MemoryReservation {
            budget: Some(self.clone()),
            bytes: 0,
        }
    }

    /// Takes bytes if they are left. Relaxed: the number guards no other memory.
    fn take(&self, bytes: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let after = before.saturating_add(bytes);
        if after > self.limit {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        // Read first: a write by every request would move the line between the processors.
        if after > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(after, Ordering::Relaxed);
        }
        true
    }
}

/// What one request, with its answer, takes of the budget. Dropping it gives it back.
#[derive(Debug, Default)]
pub struct MemoryReservation {
    /// None for a request from within the process, which nobody bounds.
    budget: Option<Arc<MemoryBudget>>,
    bytes: usize,
}

impl MemoryReservation {
    /// The bytes that are reserved.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reserves more bytes.
    ///
    /// # Errors
    /// [`ErrorCode::MemoryFull`] if they are not left now, and `never` if the budget could not
    /// hold them even if there were no other request.
    pub fn grow(&mut self, bytes: usize, never: ErrorCode) -> Result<(), InferError> {
        let Some(budget) = &self.budget else {
            return Ok(());
        };
        let wanted = self.bytes.saturating_add(bytes);
        if wanted > budget.limit {
            budget.refused.fetch_add(1, Ordering::Relaxed);
            let message = format!(
                "the request needs {wanted} bytes of memory, but all requests together may use only {} \
                 (server.memory_budget_bytes)",
                budget.limit
            );
            return Err(InferError::new(never, message));
        }
        if !budget.take(bytes) {
            let message = format!(
                "the request needs {wanted} bytes of memory, but other requests use too much of the {} \
                 (server.memory_budget_bytes)",
                budget.limit
            );
            return Err(InferError::new(ErrorCode::MemoryFull, message));
        }
        self.bytes = wanted;
        Ok(())
    }

    /// Gives back what is more than so many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        let Some(budget) = &self.budget else { return };
        if let Some(more) = self.bytes.checked_sub(bytes) {
            budget.used.fetch_sub(more, Ordering::Relaxed);
            self.bytes = bytes;
        }
    }

    /// Reserves as many bytes as something has turned out to take.
    ///
    /// # Errors
    /// As [`MemoryReservation::grow`], if that is more than was reserved.
    pub fn resize(&mut self, bytes: usize, never: ErrorCode) -> Result<(), InferError> {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.grow(more, never),
            None => {
                self.shrink_to(bytes);
                Ok(())
            }
        }
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_refused_until_others_end() {
        let budget = MemoryBudget::new(100);
        let (mut one, mut two) = (budget.begin(), budget.begin());
        one.grow(60, ErrorCode::BodyTooLarge).unwrap();
        two.grow(40, ErrorCode::BodyTooLarge).unwrap();
        let refused = two.grow(1, ErrorCode::BodyTooLarge).unwrap_err();
        assert_eq!(refused.code, ErrorCode::MemoryFull);
        assert!(refused.code.retry_after_s().is_some());
        assert_eq!((two.bytes(), budget.refused()), (40, 1));
        drop(one);
        two.grow(60, ErrorCode::BodyTooLarge).unwrap();
        assert_eq!(budget.used_bytes(), 100);
        drop(two);
        assert_eq!((budget.used_bytes(), budget.take_peak()), (0, 100));
        assert_eq!(budget.take_peak(), 0);
    }

    #[test]
    fn what_could_never_find_room_is_refused_for_good() {
        let budget = MemoryBudget::new(100);
        let mut one = budget.begin();
        one.grow(10, ErrorCode::BodyTooLarge).unwrap();
        for bytes in [91, usize::MAX] {
            let refused = one.grow(bytes, ErrorCode::AnswerTooLarge).unwrap_err();
            assert_eq!(refused.code, ErrorCode::AnswerTooLarge);
        }
        one.resize(4, ErrorCode::BodyTooLarge).unwrap();
        assert_eq!(budget.used_bytes(), 4);
    }
}
