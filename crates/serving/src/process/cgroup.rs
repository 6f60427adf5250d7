//! The control group of the process.

use std::path::PathBuf;

/// A control group in the unified hierarchy (version 2).
pub(super) struct Cgroup(PathBuf);

impl Cgroup {
    /// The group of this process; `None` where there is none, as with version 1.
    pub(super) fn own() -> Option<Self> {
        let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        // `join` with an absolute path would replace the folder before it.
        let folder = PathBuf::from("/sys/fs/cgroup").join(path.trim_start_matches('/'));
        folder.is_dir().then_some(Self(folder))
    }

    /// `None` if memory is not limited here: the file says `max` then.
    pub(super) fn memory_limit(&self) -> Option<u64> {
        self.number("memory.max")
    }

    /// Memory that is left up to the limit, if there is one.
    pub(super) fn memory_headroom(&self) -> Option<u64> {
        let used = self.number("memory.current")?;
        Some(self.memory_limit()?.saturating_sub(used))
    }

    /// Processes of the group that were killed for lack of memory.
    pub(super) fn oom_kills(&self) -> Option<u64> {
        self.entry("memory.events", "oom_kill")
    }

    /// How long the group was throttled by its CPU quota.
    pub(super) fn throttled_seconds(&self) -> Option<f64> {
        let micros = self.entry("cpu.stat", "throttled_usec")?;
        Some(micros as f64 / 1e6)
    }

    /// The number that is all of a file.
    fn number(&self, file: &str) -> Option<u64> {
        let text = std::fs::read_to_string(self.0.join(file)).ok()?;
        text.trim().parse().ok()
    }

    /// One number of a file of names and numbers.
    fn entry(&self, file: &str, name: &str) -> Option<u64> {
        let text = std::fs::read_to_string(self.0.join(file)).ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }
}
