//! Commands for people who work on Tidegate, and the demo: `cargo xtask --help`.

mod bench;
mod demo;
mod dist;
mod fuzz;
mod server;
mod setup;
mod test;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

/// Commands for people who work on Tidegate.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Serve the example models, send them their held-out inputs, and report accuracy and speed
    Demo(demo::DemoArgs),
    /// Fetch what the build does not bring: ONNX Runtime's library; with --tests, what the tests
    /// need too
    Setup {
        /// Also what the tests need
        #[arg(long)]
        tests: bool,
    },
    /// Set up and run the tests: all, those whose name contains FILTER, or list them
    Test(test::TestArgs),
    /// Make the packages of a release: archive, `.deb`, Python wheel, container build file, SBOM, checksums
    Dist(dist::DistArgs),
    /// Measure against bare baselines
    Bench(bench::BenchArgs),
    /// Fuzz parsers, whole requests over a live server, and files of the command line
    Fuzz(fuzz::FuzzArgs),
}

fn main() -> ExitCode {
    let outcome = match Args::parse().task {
        Task::Demo(args) => demo::run(&args),
        Task::Setup { tests } => setup::run(tests),
        Task::Test(args) => test::run(&args),
        Task::Dist(args) => dist::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the checkout.
fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The cargo that runs this program, without the variables that describe this package. Build scripts of
/// some crates watch these variables: they would run again, and everything that depends on them would be built
/// again, each time that one builds with this tool after building without it.
fn cargo(args: &[&str]) -> Command {
    // Some set-ups of rustup name a cargo of a toolchain that is not installed.
    let named = std::env::var_os("CARGO").filter(|path| Path::new(path).exists());
    let mut command = Command::new(named.unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command and insists on its success.
fn succeed(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        let arguments: Vec<_> = command
            .get_args()
            .map(|argument| argument.to_string_lossy())
            .collect();
        bail!("{program} {} ended with {status}", arguments.join(" "));
    }
    Ok(())
}
