//! The targets of `fuzz/`, which libFuzzer drives by coverage.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cargo, root, succeed, target};

/// How the compiler counts what a run reaches, as `cargo fuzz` asks for it. All of it works on the pinned
/// toolchain. There is no address sanitizer, which would need another one.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cdebug-assertions";

/// The names of the targets.
pub(super) fn targets(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root.join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        let name = path.file_stem().context("a target has a name")?;
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Builds and runs a target; returns how often it ended by a finding, which is at most once.
pub(super) fn run(name: &str, seconds: u64) -> Result<usize> {
    let fuzz = root().join("fuzz");
    let built = target().join("fuzz");
    let host = host()?;
    let mut build = cargo(&["build", "--release", "--bin", name, "--target", &host]);
    build
        .arg("--manifest-path")
        .arg(fuzz.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &built)
        .env("RUSTFLAGS", FLAGS);
    succeed(&mut build)?;
    let (corpus, artifacts) = (
        fuzz.join("corpus").join(name),
        fuzz.join("artifacts").join(name),
    );
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all(&artifacts)?;
    let program = built.join(host).join("release").join(name);
    let status = Command::new(program)
        .arg(&corpus)
        .arg(fuzz.join("seeds").join(name))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={seconds}"))
        .args(["-timeout=2", "-rss_limit_mb=512", "-print_final_stats=1"])
        .status()?;
    Ok(usize::from(!status.success()))
}

/// The triple of this machine. Flags of a build with `--target` leave build scripts alone.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names its host")?.to_owned())
}
