//! The metrics of the process.

use super::cgroup::Cgroup;
use super::{
    ProcessUsage, max_open_files, memory_available_bytes, memory_limit_bytes, open_files,
    start_seconds,
};
use crate::metrics::{
    Exposition, Family, Labels, MetricEntry, MetricRegistry, MetricSource, Sample,
};

const RESIDENT: Family<'static> = Family::gauge(
    "process_resident_memory_bytes",
    "Resident memory of the process",
);
const CPU: Family<'static> = Family::counter(
    "tidegate_process_cpu_seconds_total",
    "CPU time of the process",
);
const CPUS: Family<'static> = Family::gauge(
    "tidegate_process_cpus",
    "CPUs that the process may use: by its affinity and its cgroup's quota",
);
const START: Family<'static> = Family::gauge(
    "process_start_time_seconds",
    "Start time of the process, in seconds since 1970",
);
const THREADS: Family<'static> =
    Family::gauge("tidegate_process_threads", "Threads of the process");
const OPEN_FILES: Family<'static> = Family::gauge("process_open_fds", "Open file descriptors");
const MAX_OPEN_FILES: Family<'static> = Family::gauge(
    "process_max_fds",
    "Open file descriptors that the process may have",
);
const MEMORY_LIMIT: Family<'static> = Family::gauge(
    "tidegate_memory_limit_bytes",
    "Memory that the process may use: its cgroup's limit, or the machine's",
);
const MEMORY_AVAILABLE: Family<'static> = Family::gauge(
    "tidegate_memory_available_bytes",
    "Free memory: up to the cgroup's limit, or of the machine",
);
const OOM_KILLS: Family<'static> = Family::counter(
    "tidegate_cgroup_oom_kills_total",
    "Processes of the cgroup that were killed for lack of memory",
);
const THROTTLED: Family<'static> = Family::counter(
    "tidegate_cgroup_cpu_throttled_seconds_total",
    "Time that the cgroup was throttled by its CPU quota",
);

/// The resources that the process uses. Those that this machine does not report are left out.
pub struct ProcessMetrics(());

impl ProcessMetrics {
    /// Registers the metrics of this process.
    pub fn register(registry: &MetricRegistry) {
        registry.add_source(Self(()));
    }
}

impl MetricSource for ProcessMetrics {
    fn entries(&self) -> Vec<MetricEntry> {
        let plain = [
            START,
            CPUS,
            RESIDENT,
            THREADS,
            OPEN_FILES,
            MAX_OPEN_FILES,
            MEMORY_LIMIT,
            MEMORY_AVAILABLE,
            OOM_KILLS,
            THROTTLED,
        ];
        let mut entries: Vec<_> = plain.map(|family| MetricEntry::new(family, &[])).into();
        entries.push(MetricEntry::new(CPU, &["mode"]));
        entries
    }

    fn expose(&self, out: &mut dyn Exposition) {
        let usage = ProcessUsage::now();
        let usage = usage.as_ref();
        let cgroup = Cgroup::own();
        let cgroup = cgroup.as_ref();
        for (family, value) in [
            (START, usage.and_then(start_seconds)),
            (
                CPUS,
                std::thread::available_parallelism()
                    .map(|count| count.get() as u64)
                    .ok(),
            ),
            (RESIDENT, usage.map(|usage| usage.resident_bytes)),
            (THREADS, usage.map(|usage| usage.threads)),
            (OPEN_FILES, open_files()),
            (MAX_OPEN_FILES, max_open_files()),
            (MEMORY_LIMIT, memory_limit_bytes()),
            (MEMORY_AVAILABLE, memory_available_bytes(cgroup)),
            (OOM_KILLS, cgroup.and_then(Cgroup::oom_kills)),
        ] {
            expose_number(family, value.map(|value| value as f64), out);
        }
        expose_number(THROTTLED, cgroup.and_then(Cgroup::throttled_seconds), out);
        if let Some(usage) = usage {
            expose_cpu(usage, out);
        }
    }
}

fn expose_number(family: Family<'_>, value: Option<f64>, out: &mut dyn Exposition) {
    if let Some(value) = value {
        out.family(family);
        out.sample(Sample::plain(&Labels::default(), value));
    }
}

fn expose_cpu(usage: &ProcessUsage, out: &mut dyn Exposition) {
    out.family(CPU);
    for (mode, time) in [("user", usage.user), ("system", usage.system)] {
        out.sample(Sample {
            extra: Some(("mode", mode)),
            ..Sample::plain(&Labels::default(), time.as_secs_f64())
        });
    }
}
