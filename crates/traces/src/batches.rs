//! The spans of batches. Many requests refer to the same one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Batches that are remembered: their requests end within moments of each other.
const MOST: usize = 4096;

/// A batch: the model, the version, and its number there.
type Batch = (Arc<str>, Arc<str>, u64);

/// The span contexts of the batches whose requests were recorded.
#[derive(Default)]
pub(crate) struct Batches {
    contexts: HashMap<Batch, SpanContext>,
    order: VecDeque<Batch>,
}

impl Batches {
    /// The context of a batch's span, and whether the batch is new: then its span is still to be
    /// sent. A batch has a trace of its own, because its requests belong to many traces.
    pub(crate) fn context(&mut self, batch: Batch) -> (SpanContext, bool) {
        if let Some(context) = self.contexts.get(&batch) {
            return (context.clone(), false);
        }
        if self.order.len() >= MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.contexts.remove(&oldest);
        }
        // Always sampled: a batch is only asked for by requests whose trace is recorded.
        let context = SpanContext::new(
            TraceId::from(fastrand::u128(1..)),
            SpanId::from(fastrand::u64(1..)),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        );
        self.contexts.insert(batch.clone(), context.clone());
        self.order.push_back(batch);
        (context, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(number: u64) -> Batch {
        (Arc::from("digits"), Arc::from("1"), number)
    }

    #[test]
    fn a_batch_has_one_context_as_long_as_it_is_remembered() {
        let mut batches = Batches::default();
        let (first, is_new) = batches.context(batch(1));
        assert!(is_new && first.is_valid());
        assert_eq!(batches.context(batch(1)), (first.clone(), false));
        assert_ne!(batches.context(batch(2)).0, first);
        (3..3 + MOST as u64).for_each(|number| assert!(batches.context(batch(number)).1));
        assert!(batches.contexts.len() == MOST && batches.order.len() == MOST);
    }
}
