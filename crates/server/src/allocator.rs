//! What the process's allocator holds. Which allocator that is, only the binary knows: it hands
//! over how to ask it.

use tidegate_serving::{Exposition, Family, Labels, MetricEntry, MetricKind, Sample};

/// What an allocator holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocatorUsage {
    /// Memory that it has of the operating system to give away, in use or not.
    pub committed_bytes: u64,
    /// The most that this ever was.
    pub peak_committed_bytes: u64,
}

/// Asks the allocator; every look at the metrics does.
pub type ReadAllocator = fn() -> AllocatorUsage;

const COMMITTED: Family<'static> = Family::new(
    "tidegate_allocator_committed_bytes",
    MetricKind::Gauge,
    "Memory that the allocator has of the operating system, in use or not; engines that bring their own are not in it",
);
const PEAK: Family<'static> = Family::new(
    "tidegate_allocator_peak_committed_bytes",
    MetricKind::Gauge,
    "The most that `tidegate_allocator_committed_bytes` ever was",
);

/// What the reference says of the metrics of this file.
pub(crate) fn catalogue() -> impl Iterator<Item = MetricEntry> {
    [COMMITTED, PEAK]
        .into_iter()
        .map(|family| MetricEntry::new((family, &[])))
}

/// Says what the allocator holds.
pub(crate) fn expose(usage: AllocatorUsage, out: &mut dyn Exposition) {
    for (family, bytes) in [
        (COMMITTED, usage.committed_bytes),
        (PEAK, usage.peak_committed_bytes),
    ] {
        out.family(family);
        out.sample(Sample::plain(&Labels::default(), bytes as f64));
    }
}
