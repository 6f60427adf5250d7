//! What the figures were measured on.

use std::process::Command;

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
        let memory = value_of("/proc/meminfo", "MemTotal");
        let memory_kib: f64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
        Self {
            processor: value_of("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: (memory_kib / 1048576.0).round(),
            kernel: contents("/proc/sys/kernel/osrelease").trim().to_owned(),
            rust: output_of("rustc", &["--version"]),
            commit: output_of("git", &["rev-parse", "--short", "HEAD"]),
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

/// Empty where the file cannot be read: figures are worth having all the same.
fn contents(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The value of the first line `KEY : VALUE`.
fn value_of(path: &str, key: &str) -> String {
    let text = contents(path);
    let line = text.lines().find(|line| line.starts_with(key));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
}

fn output_of(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let output = command.args(arguments).current_dir(crate::root()).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
