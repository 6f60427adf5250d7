//! The memory of the process's allocator. Only the binary knows which allocator that is, so it
//! passes a function that reads its figures.

use tidegate_serving::{
    Exposition, Family, Labels, MetricEntry, MetricRegistry, MetricSource, Sample,
};

/// The memory of an allocator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocatorUsage {
    /// Memory that it has from the operating system, in use or not.
    pub committed_bytes: u64,
    /// The most that this ever was.
    pub peak_committed_bytes: u64,
}

/// Reads the figures of the allocator; called for every exposition.
pub type ReadAllocator = fn() -> AllocatorUsage;

const COMMITTED: Family<'static> = Family::gauge(
    "tidegate_allocator_committed_bytes",
    "Memory that the allocator has obtained from the operating system, in use or not; without \
    engines that have their own allocator",
);
const PEAK: Family<'static> = Family::gauge(
    "tidegate_allocator_peak_committed_bytes",
    "Peak of `tidegate_allocator_committed_bytes`",
);

/// Exposes the memory of the allocator, if its figures can be read.
pub(crate) struct AllocatorMetrics {
    read: Option<ReadAllocator>,
}

impl AllocatorMetrics {
    /// Registers the metrics of an allocator.
    pub(crate) fn register(registry: &MetricRegistry, read: Option<ReadAllocator>) {
        registry.add_source(Self { read });
    }
}

impl MetricSource for AllocatorMetrics {
    fn entries(&self) -> Vec<MetricEntry> {
        [COMMITTED, PEAK]
            .map(|family| MetricEntry::new(family, &[]))
            .into()
    }

    fn expose(&self, out: &mut dyn Exposition) {
        // No series at all: 0 would look like an allocator without memory.
        let Some(read) = self.read else { return };
        let usage = read();
        for (family, bytes) in [
            (COMMITTED, usage.committed_bytes),
            (PEAK, usage.peak_committed_bytes),
        ] {
            out.family(family);
            out.sample(Sample::plain(&Labels::default(), bytes as f64));
        }
    }
}
