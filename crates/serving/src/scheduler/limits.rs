//! The limits within which requests of a version wait and run together.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::Batching;

use super::BatchContract;

/// Runs that are expected to take longer leave the thread that serves connections: they would delay
/// every other connection of that thread. Shorter ones stay, because a hop to another thread and
/// back costs more than it saves.
pub(crate) const INLINE_RUN: Duration = Duration::from_micros(250);

/// How the requests of one version wait and run together.
///
/// ```
/// use std::num::NonZeroUsize;
///
/// use tidegate_core::Batching;
/// use tidegate_serving::Limits;
///
/// let batching = Batching {
///     max_queue_delay_us: 500,
///     preferred_batch_sizes: vec![16, 8],
///     ..Batching::default()
/// };
/// let limits = Limits::new(&batching, NonZeroUsize::new(32));
/// assert_eq!(limits.queue_delay.as_micros(), 500);
/// assert_eq!(limits.preferred_rows, [8, 16]);
/// ```
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most rows in one run, as warm-up found; `None` where requests cannot share a run. See
    /// [`Limits::batch_rows`] for what holds now.
    pub max_batch_rows: Option<NonZeroUsize>,
    /// What requests have shown since.
    pub contract: Arc<BatchContract>,
    /// How long the oldest request may wait for others.
    pub queue_delay: Duration,
    /// Batch sizes in rows that run without waiting for the delay, ascending.
    pub preferred_rows: Vec<usize>,
    /// The most requests that may wait.
    pub max_queue_requests: usize,
    /// Priority levels.
    pub levels: usize,
    /// The longest expected run that stays on the thread that serves the connection.
    pub inline_run: Duration,
}

impl Limits {
    /// The limits that a manifest asks for; `max_batch_rows` is what warm-up found to work.
    pub fn new(batching: &Batching, max_batch_rows: Option<NonZeroUsize>) -> Self {
        let mut preferred_rows = batching.preferred_batch_sizes.clone();
        preferred_rows.sort_unstable();
        Self {
            max_batch_rows,
            contract: Arc::default(),
            queue_delay: Duration::from_micros(batching.max_queue_delay_us),
            preferred_rows,
            // With 0 no request could ever be let in.
            max_queue_requests: batching.max_queue_requests.max(1),
            levels: usize::from(batching.priority_levels.max(1)),
            inline_run: INLINE_RUN,
        }
    }

    /// The most rows in one run; `None` where requests cannot share a run, or where some have shown
    /// that they cannot.
    pub fn batch_rows(&self) -> Option<NonZeroUsize> {
        self.max_batch_rows.filter(|_| self.contract.holds())
    }

    /// The most rows in one run; 1 where requests cannot share one.
    pub(super) fn max_rows(&self) -> usize {
        self.batch_rows().map_or(1, NonZeroUsize::get)
    }
}
