//! The memory of requests and answers: how much it may be, what it is, and giving it back to the
//! machine after a peak.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::Either;
use tidegate_serving::{
    Exposition, Family, Labels, MemoryBudget, MemoryReservation, MemoryShare, MetricEntry,
    MetricRegistry, MetricSource, Sample, memory_limit_bytes,
};
use tokio::task::futures::TaskLocalFuture;

use crate::workers::Workers;

tokio::task_local! {
    /// The share of the client whose request is being answered. Handlers behind the router do not see
    /// the connection.
    static CLIENT: Arc<MemoryShare>;
}

/// Lets what a request takes count in the share of its client.
pub(crate) fn for_client<F: Future>(
    share: Arc<MemoryShare>,
    answer: F,
) -> TaskLocalFuture<Arc<MemoryShare>, F> {
    CLIENT.scope(share, answer)
}

/// The same for work that goes on in another task than the request.
pub(crate) fn for_same_client<F: Future>(
    work: F,
) -> Either<TaskLocalFuture<Arc<MemoryShare>, F>, F> {
    match CLIENT.try_with(Arc::clone) {
        Ok(share) => Either::Left(CLIENT.scope(share, work)),
        Err(_) => Either::Right(work),
    }
}

/// The share of the client whose request is being answered.
pub(crate) fn client_share(budget: &Arc<MemoryBudget>) -> Arc<MemoryShare> {
    let share = CLIENT.try_with(Arc::clone);
    share.unwrap_or_else(|_| budget.share(budget.limit_bytes()))
}

/// Begins to reserve memory for the request that is being answered.
pub(crate) fn begin(budget: &Arc<MemoryBudget>) -> MemoryReservation {
    let memory = CLIENT.try_with(MemoryShare::begin);
    memory.unwrap_or_else(|_| budget.begin())
}

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
        // Only once a peak is over: requests of the same size would else fetch the memory again at
        // once.
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
    use tidegate_serving::ErrorCode;

    use super::*;

    #[tokio::test]
    async fn a_request_behind_the_router_counts_in_the_share_of_its_client() {
        let budget = MemoryBudget::new(100);
        let share = budget.share(10);
        let mut first = share.begin();
        first.grow(8, ErrorCode::BodyTooLarge).unwrap();
        let grown = for_client(share, async {
            begin(&budget).grow(5, ErrorCode::BodyTooLarge)
        });
        assert_eq!(grown.await.unwrap_err().code, ErrorCode::MemoryFull);
        begin(&budget).grow(5, ErrorCode::BodyTooLarge).unwrap();
    }

    #[test]
    fn a_budget_that_nobody_set_is_a_quarter_of_the_machine() {
        assert_eq!(automatic_bytes(8 << 30), 2 << 30);
        assert_eq!(automatic_bytes(1 << 29), MIN_AUTOMATIC_BYTES);
    }
}
