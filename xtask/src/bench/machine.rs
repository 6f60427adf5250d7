//! What the figures were measured on.

use serde::Serialize;

/// The machine and the versions.
#[derive(Serialize)]
pub(super) struct Machine {
    processor: String,
    cores: usize,
    memory_gib: f64,
    kernel: String,
    rust: String,
    commit: String,
}

impl Machine {
    pub(super) fn read() -> Self {
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let after = |text: &str, key: &str| {
            let line = text
                .lines()
                .find(|line| line.starts_with(key))
                .unwrap_or_default();
            line.split_once(':')
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let said = |program: &str, arguments: &[&str]| {
            let output = std::process::Command::new(program)
                .args(arguments)
                .current_dir(crate::root())
                .output();
            output
                .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
                .unwrap_or_default()
        };
        let memory_kib: f64 = after(&file("/proc/meminfo"), "MemTotal")
            .trim_end_matches(" kB")
            .parse()
            .unwrap_or_default();
        Self {
            processor: after(&file("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: (memory_kib / 1048576.0).round(),
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
            rust: said("rustc", &["--version"]),
            commit: said("git", &["rev-parse", "--short", "HEAD"]),
        }
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        format!(
            "{}, {} cores, {} GiB, Linux {}, {}, commit {}",
            self.processor, self.cores, self.memory_gib, self.kernel, self.rust, self.commit
        )
    }
}
