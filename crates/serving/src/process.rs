//! The resources that the process uses, and those that it may use, as Linux reports them.

mod cgroup;
mod metrics;

use std::time::Duration;

use self::cgroup::Cgroup;
pub use self::metrics::ProcessMetrics;

/// The resources that the process uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessUsage {
    pub(crate) resident_bytes: u64,
    user: Duration,
    system: Duration,
    threads: u64,
    /// When the process started, counted from the start of the machine.
    started: Duration,
}

impl ProcessUsage {
    /// Reads `/proc/self`; `None` where there is none.
    pub(crate) fn now() -> Option<Self> {
        let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
        // The second number of proc(5)'s statm is the resident set.
        let resident_pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The command name stands in brackets and may hold spaces: fields are counted from behind
        // it (proc(5)).
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self {
            resident_bytes: resident_pages * PAGE_BYTES,
            // Index 0 is field 3 of proc(5)'s stat: these are fields 14, 15, 20 and 22.
            user: ticks(fields.get(11)?)?,
            system: ticks(fields.get(12)?)?,
            threads: fields.get(17)?.parse().ok()?,
            started: ticks(fields.get(19)?)?,
        })
    }
}

/// The page size of every Linux machine that Tidegate is built for; statm counts in pages.
const PAGE_BYTES: u64 = 4096;

/// A time in clock ticks, of which every Linux has 100 in a second (proc(5), `USER_HZ`).
fn ticks(field: &str) -> Option<Duration> {
    let ticks: u64 = field.parse().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

/// Memory that the process may use: its cgroup's limit, or the machine's. `None` where the machine
/// does not report it.
pub fn memory_limit_bytes() -> Option<u64> {
    let limit = Cgroup::own().and_then(|cgroup| cgroup.memory_limit());
    let machine = MachineMemory::now().map(|memory| memory.total_bytes);
    smaller(limit, machine)
}

/// Memory that is left for the process: up to its cgroup's limit, or in the machine.
fn memory_available_bytes(cgroup: Option<&Cgroup>) -> Option<u64> {
    let headroom = cgroup.and_then(Cgroup::memory_headroom);
    let machine = MachineMemory::now().map(|memory| memory.available_bytes);
    smaller(headroom, machine)
}

/// The smaller of the numbers that are known.
fn smaller(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

/// When the process started, in Unix seconds.
fn start_seconds(usage: &ProcessUsage) -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let boot = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    let boot_seconds: u64 = boot.trim().parse().ok()?;
    Some(boot_seconds + usage.started.as_secs())
}

fn open_files() -> Option<u64> {
    let entries = std::fs::read_dir("/proc/self/fd").ok()?;
    Some(entries.count() as u64)
}

fn max_open_files() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let mut lines = limits.lines();
    // The first number is the soft limit, which is the one in force.
    let line = lines.find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Memory of the machine.
#[derive(Clone, Copy)]
struct MachineMemory {
    total_bytes: u64,
    available_bytes: u64,
}

impl MachineMemory {
    fn now() -> Option<Self> {
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        Some(Self {
            total_bytes: meminfo_bytes(&text, "MemTotal:")?,
            available_bytes: meminfo_bytes(&text, "MemAvailable:")?,
        })
    }
}

/// One number of `/proc/meminfo`, which counts in KiB.
fn meminfo_bytes(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = rest.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
