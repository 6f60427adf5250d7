//! The memory of requests and answers: how much it may be, what it is, and giving it back to the
//! machine after a peak.

use std::sync::Arc;
use std::time::Duration;

use tidegate_serving::{
    Exposition, Family, Labels, MemoryBudget, MetricEntry, MetricRegistry, MetricSource, Sample,
    memory_limit_bytes,
};

use crate::workers::Workers;

/// The least that a budget which nobody set has.
const MIN_AUTOMATIC_BYTES: usize = 256 << 20;
/// A budget that nobody set, on a machine that does not tell what memory it has.
const UNKNOWN_MACHINE_BYTES: usize = 1 << 30;
/// How often it is looked whether a peak is over.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A lower peak leaves too little behind to be worth the work.
const MIN_PEAK_BYTES: usize = 16 << 20;

/// Makes the allocator return free memory of the calling thread to the machine.
pub type GiveBackMemory = fn();

const LIMIT: Family<'static> = Family::gauge(
    "tidegate_request_memory_limit_bytes",
    "Maximum memory of all requests and answers in flight together",
);
const USED: Family<'static> = Family::gauge(
    "tidegate_request_memory_bytes",
    "Memory of requests and answers in flight",
);
const REFUSED: Family<'static> = Family::counter(
    "tidegate_request_memory_refused_total",
    "Requests and answers refused because there was no memory left for them",
);

/// The budget that is configured, or a quarter of the memory that the process may use.
pub(crate) fn budget(configured_bytes: usize, registry: &MetricRegistry) -> Arc<MemoryBudget> {
    let limit_bytes = match configured_bytes {
        0 => memory_limit_bytes().map_or(UNKNOWN_MACHINE_BYTES, automatic_bytes),
        set => set,
    };
    let budget = MemoryBudget::new(limit_bytes);
    registry.add_source(BudgetMetrics(budget.clone()));
    budget
}

fn automatic_bytes(machine_bytes: u64) -> usize {
    let quarter = usize::try_from(machine_bytes / 4).unwrap_or(usize::MAX);
    quarter.max(MIN_AUTOMATIC_BYTES)
}

struct BudgetMetrics(Arc<MemoryBudget>);

impl MetricSource for BudgetMetrics {
    fn entries(&self) -> Vec<MetricEntry> {
        [LIMIT, USED, REFUSED]
            .map(|family| MetricEntry::new(family, &[]))
            .into()
    }

    fn expose(&self, out: &mut dyn Exposition) {
        let budget = &self.0;
        let values = [
            (LIMIT, budget.limit_bytes() as f64),
            (USED, budget.used_bytes() as f64),
            (REFUSED, budget.refused() as f64),
        ];
        for (family, value) in values {
            out.family(family);
            out.sample(Sample::plain(&Labels::default(), value));
        }
    }
}

/// Gives memory back to the machine whenever a peak is over. What is freed stays with the
/// allocator, and with the thread that freed it, until that thread is told to return it: without
/// this, a server that is idle would hold for ever what its worst second took.
pub(crate) async fn give_back_after_peaks(
    budget: Arc<MemoryBudget>,
    workers: Arc<Workers>,
    give_back: GiveBackMemory,
) {
    let mut interval = tokio::time::interval(LOOK_INTERVAL);
    let mut peak = 0;
    loop {
        interval.tick().await;
        peak = budget.take_peak().max(peak);
        if peak < MIN_PEAK_BYTES || budget.used_bytes() > peak / 4 {
            continue;
        }
        peak = 0;
        workers.on_each(give_back);
        give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_that_nobody_set_is_a_quarter_of_the_machine() {
        assert_eq!(automatic_bytes(8 << 30), 2 << 30);
        assert_eq!(automatic_bytes(1 << 29), MIN_AUTOMATIC_BYTES);
    }
}
