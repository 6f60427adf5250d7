//! What the process uses of the machine, and what the machine lets it use.

use std::path::PathBuf;
use std::time::Duration;

use super::exposition::{Exposition, Family, Labels, Sample};

/// What the process uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessUsage {
    pub(crate) resident_bytes: u64,
    user: Duration,
    system: Duration,
    threads: u64,
    /// When the process began, since the machine did.
    began: Duration,
}

impl ProcessUsage {
    /// Reads `/proc/self`; `None` where there is none.
    pub(crate) fn now() -> Option<Self> {
        let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
        let resident_pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The command name stands in brackets and may hold spaces: fields are counted from behind
        // it (proc(5)).
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| {
            fields
                .get(at)?
                .parse::<u64>()
                .ok()
                .map(|ticks| Duration::from_millis(ticks * 10))
        };
        let threads = fields.get(17)?.parse().ok()?;
        Some(Self {
            resident_bytes: resident_pages * page_bytes(),
            user: ticks(11)?,
            system: ticks(12)?,
            threads,
            began: ticks(19)?,
        })
    }
}

/// The page size of every Linux machine that Tidegate is built for; statm counts in pages.
fn page_bytes() -> u64 {
    4096
}

const RESIDENT: Family<'static> = Family::gauge(
    "process_resident_memory_bytes",
    "Resident memory of the process",
);
const CPU: Family<'static> = Family::counter(
    "tidegate_process_cpu_seconds_total",
    "CPU time of the process",
);
const START: Family<'static> = Family::gauge(
    "process_start_time_seconds",
    "When the process began, in seconds since 1970",
);
const THREADS: Family<'static> =
    Family::gauge("tidegate_process_threads", "Threads of the process");
const OPEN_FILES: Family<'static> = Family::gauge("process_open_fds", "Open file descriptors");
const MOST_FILES: Family<'static> = Family::gauge(
    "process_max_fds",
    "Open file descriptors that the process may have",
);
const MEMORY_LIMIT: Family<'static> = Family::gauge(
    "tidegate_memory_limit_bytes",
    "Memory that the process may use: its cgroup's limit, or the machine's",
);
const MEMORY_AVAILABLE: Family<'static> = Family::gauge(
    "tidegate_memory_available_bytes",
    "Memory that is left: up to the cgroup's limit, or in the machine",
);
const OOM_KILLS: Family<'static> = Family::counter(
    "tidegate_cgroup_oom_kills_total",
    "Processes of the cgroup that were killed for want of memory",
);
const THROTTLED: Family<'static> = Family::counter(
    "tidegate_cgroup_cpu_throttled_seconds_total",
    "Time that the cgroup was kept from the CPU by its quota",
);

/// Every metric of the process, with its labels.
pub(super) fn catalogue() -> impl Iterator<Item = (Family<'static>, &'static [&'static str])> {
    let plain = [
        START,
        RESIDENT,
        THREADS,
        OPEN_FILES,
        MOST_FILES,
        MEMORY_LIMIT,
        MEMORY_AVAILABLE,
        OOM_KILLS,
        THROTTLED,
    ];
    let cpu: (_, &[&str]) = (CPU, &["mode"]);
    plain
        .into_iter()
        .map(|family| (family, &[][..]))
        .chain([cpu])
}

/// Says what the process uses; leaves out what this machine does not tell.
pub(super) fn expose(out: &mut dyn Exposition) {
    let none = Labels::default();
    let mut say = |family, value: Option<u64>| {
        if let Some(value) = value {
            out.family(family);
            out.sample(Sample::plain(&none, value as f64));
        }
    };
    let usage = ProcessUsage::now();
    say(
        START,
        usage
            .zip(boot_seconds())
            .map(|(usage, boot_seconds)| boot_seconds + usage.began.as_secs()),
    );
    say(RESIDENT, usage.map(|usage| usage.resident_bytes));
    say(THREADS, usage.map(|usage| usage.threads));
    say(
        OPEN_FILES,
        std::fs::read_dir("/proc/self/fd")
            .ok()
            .map(|entries| entries.count() as u64),
    );
    say(MOST_FILES, most_files());
    let cgroup = Cgroup::own();
    let memory = machine_memory();
    let limit = cgroup.as_ref().and_then(Cgroup::memory_limit);
    say(MEMORY_LIMIT, memory_limit_bytes());
    let headroom = limit
        .zip(cgroup.as_ref().and_then(Cgroup::memory_used))
        .map(|(limit, used)| limit.saturating_sub(used));
    say(
        MEMORY_AVAILABLE,
        headroom
            .into_iter()
            .chain(memory.map(|memory| memory.available_bytes))
            .min(),
    );
    say(
        OOM_KILLS,
        cgroup
            .as_ref()
            .and_then(|cgroup| cgroup.entry("memory.events", "oom_kill")),
    );
    if let Some(micros) = cgroup
        .as_ref()
        .and_then(|cgroup| cgroup.entry("cpu.stat", "throttled_usec"))
    {
        out.family(THROTTLED);
        out.sample(Sample::plain(&none, micros as f64 / 1e6));
    }
    if let Some(usage) = usage {
        out.family(CPU);
        for (mode, time) in [("user", usage.user), ("system", usage.system)] {
            let extra = Some(("mode", mode));
            out.sample(Sample {
                extra,
                ..Sample::plain(&none, time.as_secs_f64())
            });
        }
    }
}

/// When the machine began, in Unix seconds.
fn boot_seconds() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()
}

/// Memory that the process may use: its cgroup's limit, or the machine's. `None` where the machine
/// does not tell.
pub fn memory_limit_bytes() -> Option<u64> {
    let limit = Cgroup::own().and_then(|cgroup| cgroup.memory_limit());
    limit
        .into_iter()
        .chain(machine_memory().map(|memory| memory.total_bytes))
        .min()
}

fn most_files() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Memory of the machine.
#[derive(Clone, Copy)]
struct MachineMemory {
    total_bytes: u64,
    available_bytes: u64,
}

fn machine_memory() -> Option<MachineMemory> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let bytes = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
            .map(|kib| kib * 1024)
    };
    Some(MachineMemory {
        total_bytes: bytes("MemTotal")?,
        available_bytes: bytes("MemAvailable")?,
    })
}

/// The control group of the process, in the unified hierarchy (version 2).
struct Cgroup(PathBuf);

impl Cgroup {
    fn own() -> Option<Self> {
        let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        let folder = PathBuf::from("/sys/fs/cgroup").join(path.trim_start_matches('/'));
        folder.is_dir().then_some(Self(folder))
    }

    /// `None` if memory is not limited here.
    fn memory_limit(&self) -> Option<u64> {
        std::fs::read_to_string(self.0.join("memory.max"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    fn memory_used(&self) -> Option<u64> {
        std::fs::read_to_string(self.0.join("memory.current"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// One number of a file of names and numbers.
    fn entry(&self, file: &str, name: &str) -> Option<u64> {
        let text = std::fs::read_to_string(self.0.join(file)).ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }
}
