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
//! when to retry; what could never find room is refused for good. Each client has a share, so that
//! its requests together leave room for those of others.

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

    /// A part of the budget, still of no bytes, for what no client asked for.
    pub fn begin(self: &Arc<Self>) -> MemoryReservation {
        self.share(self.limit).begin()
    }

    /// What the requests of one client may take together.
    pub fn share(self: &Arc<Self>, limit_bytes: usize) -> Arc<MemoryShare> {
        Arc::new(MemoryShare {
            budget: self.clone(),
            limit: limit_bytes,
            used: AtomicUsize::new(0),
        })
    }

    /// Takes bytes if they are left.
    fn take(&self, bytes: usize) -> bool {
        let Some(after) = add(&self.used, bytes, |_, after| after <= self.limit) else {
            return false;
        };
        // Read first: a write by every request would move the line between the processors.
        if after > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(after, Ordering::Relaxed);
        }
        true
    }
}

/// Adds to a number if the sum may be that; the sum. It is never larger in between, which would have
/// others refused for a moment. Relaxed: the number guards no other memory.
fn add(used: &AtomicUsize, bytes: usize, may_be: impl Fn(usize, usize) -> bool) -> Option<usize> {
    let mut before = used.load(Ordering::Relaxed);
    loop {
        let after = before.checked_add(bytes)?;
        if !may_be(before, after) {
            return None;
        }
        let relaxed = Ordering::Relaxed;
        match used.compare_exchange_weak(before, after, relaxed, relaxed) {
            Ok(_) => return Some(after),
            Err(now) => before = now,
        }
    }
}

/// The part of a budget that the requests of one client may take together. One request alone may take
/// more: what a budget can hold is no question of whose it is.
#[derive(Debug)]
pub struct MemoryShare {
    budget: Arc<MemoryBudget>,
    limit: usize,
    used: AtomicUsize,
}

impl MemoryShare {
    /// A part of it, still of no bytes.
    pub fn begin(self: &Arc<Self>) -> MemoryReservation {
        MemoryReservation {
            share: Some(self.clone()),
            bytes: 0,
            beside: 0,
        }
    }

    /// Takes bytes for a request that has some, if they are left.
    fn take(&self, bytes: usize, of_request: usize) -> Result<(), Taken> {
        let may_be = |before, after| after <= self.limit || before == of_request;
        if add(&self.used, bytes, may_be).is_none() {
            return Err(Taken::ByClient);
        }
        if !self.budget.take(bytes) {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Taken::ByAll);
        }
        Ok(())
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Who has the memory that a request does not get.
enum Taken {
    ByClient,
    ByAll,
}

/// What one request, with its answer, takes of the budget. Dropping it gives it back.
#[derive(Debug, Default)]
pub struct MemoryReservation {
    /// None for a request from within the process, which nobody bounds.
    share: Option<Arc<MemoryShare>>,
    bytes: usize,
    /// What the same request takes in another reservation.
    beside: usize,
}

impl MemoryReservation {
    /// The bytes that are reserved.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Another part, still of no bytes, for the same request.
    pub(crate) fn beside(&self) -> Self {
        Self {
            share: self.share.clone(),
            bytes: 0,
            beside: self.beside.saturating_add(self.bytes),
        }
    }

    /// Reserves more bytes.
    ///
    /// # Errors
    /// [`ErrorCode::MemoryFull`] if they are not left now, and `never` if the budget could not
    /// hold them even if there were no other request.
    pub fn grow(&mut self, bytes: usize, never: ErrorCode) -> Result<(), InferError> {
        let Some(share) = &self.share else {
            return Ok(());
        };
        let wanted = self.bytes.saturating_add(bytes);
        let of_request = wanted.saturating_add(self.beside);
        if of_request > share.budget.limit {
            return Err(refused(share, of_request, never, None));
        }
        if let Err(taken) = share.take(bytes, self.bytes + self.beside) {
            return Err(refused(share, wanted, ErrorCode::MemoryFull, Some(taken)));
        }
        self.bytes = wanted;
        Ok(())
    }

    /// Gives back what is more than so many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        let Some(share) = &self.share else { return };
        if self.bytes > bytes {
            share.give_back(self.bytes - bytes);
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

/// Counts a refusal, and says who has the memory.
#[cold]
fn refused(
    share: &MemoryShare,
    wanted: usize,
    code: ErrorCode,
    taken: Option<Taken>,
) -> InferError {
    let budget = &share.budget;
    budget.refused.fetch_add(1, Ordering::Relaxed);
    let rest = match taken {
        None => format!(
            "but all requests together may use only {} (server.memory_budget_bytes)",
            budget.limit
        ),
        Some(Taken::ByAll) => format!(
            "but other requests use too much of the {} (server.memory_budget_bytes)",
            budget.limit
        ),
        Some(Taken::ByClient) => format!(
            "but other requests of this client use too much of its {} \
             (server.memory_budget_bytes_per_client)",
            share.limit
        ),
    };
    let message = format!("the request needs {wanted} bytes of memory, {rest}");
    InferError::new(code, message)
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
    fn one_client_leaves_memory_to_others() {
        let budget = MemoryBudget::new(100);
        let (greedy, other) = (budget.share(75), budget.share(75));
        let (mut one, mut two, mut three) = (greedy.begin(), greedy.begin(), other.begin());
        one.grow(60, ErrorCode::BodyTooLarge).unwrap();
        let refused = two.grow(20, ErrorCode::BodyTooLarge).unwrap_err();
        assert_eq!(refused.code, ErrorCode::MemoryFull);
        assert!(refused.message.contains("memory_budget_bytes_per_client"));
        three.grow(40, ErrorCode::BodyTooLarge).unwrap();
        assert_eq!((budget.used_bytes(), budget.refused()), (100, 1));
        // A request alone may take what the budget has.
        drop(three);
        one.grow(40, ErrorCode::BodyTooLarge).unwrap();
        drop((one, two));
        assert_eq!(budget.used_bytes(), 0);
        assert_eq!(greedy.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_request_that_is_refused_takes_nothing_from_others_meanwhile() {
        let budget = MemoryBudget::new(100);
        let mut held = budget.begin();
        held.grow(60, ErrorCode::BodyTooLarge).unwrap();
        let rounds = 100_000;
        std::thread::scope(|scope| {
            let refused = scope.spawn(|| {
                let mut large = budget.begin();
                (0..rounds).all(|_| large.grow(50, ErrorCode::BodyTooLarge).is_err())
            });
            let mut small = budget.begin();
            for _ in 0..rounds {
                small.grow(40, ErrorCode::BodyTooLarge).unwrap();
                small.shrink_to(0);
            }
            assert!(refused.join().unwrap());
        });
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
