//! Runs the tests, all or some, after everything that they need.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{cargo, root, setup, succeed, target};

/// Which tests are run, and whether they are only listed.
#[derive(Args)]
pub(crate) struct TestArgs {
    /// Run only the tests whose name contains this text
    ///
    /// Names of Python tests begin with `test_`: a filter that begins so builds no Rust test. Examples in
    /// the documentation of the code are named by their file, as in `crates/core/src/tensor.rs`: only a
    /// filter with `.rs` runs them.
    filter: Option<String>,
    /// Print the names of the tests instead of running them
    #[arg(long)]
    list: bool,
    /// Run only the Rust tests of this crate; can be repeated
    #[arg(short, long = "package", value_name = "CRATE")]
    packages: Vec<String>,
}

/// Sets up and runs the Rust tests, the examples in the documentation of the code, and the tests that
/// drive the binary with real clients.
pub(crate) fn run(args: &TestArgs) -> Result<()> {
    setup::run(true)?;
    let suites = [Suite::Rust, Suite::Examples, Suite::Python];
    let chosen = suites.into_iter().filter(|suite| args.includes(*suite));
    if args.filter.is_none() && !args.list {
        return chosen
            .into_iter()
            .try_for_each(|suite| suite.run(args, &[]));
    }
    let mut is_empty = true;
    for suite in chosen {
        let names = suite.names(args)?;
        if names.is_empty() {
            continue;
        }
        is_empty = false;
        if args.list {
            println!("{}", names.join("\n"));
        } else {
            suite.run(args, &names)?;
        }
    }
    if is_empty {
        bail!("no test has a name that contains \"{}\"", args.filter());
    }
    Ok(())
}

/// Tests that one tool runs.
#[derive(Clone, Copy, PartialEq)]
enum Suite {
    /// Unit and integration tests of the crates.
    Rust,
    /// Examples in the documentation of the code.
    Examples,
    /// `tests/`: the binary as a process, driven by real clients.
    Python,
}

impl TestArgs {
    fn filter(&self) -> &str {
        self.filter.as_deref().unwrap_or_default()
    }

    fn includes(&self, suite: Suite) -> bool {
        let is_python = self.filter().starts_with("test_");
        match suite {
            Suite::Rust => !is_python,
            Suite::Examples => self
                .filter
                .as_deref()
                .is_none_or(|filter| filter.contains(".rs")),
            Suite::Python => self.packages.is_empty(),
        }
    }

    /// The crates, as cargo and nextest both take them.
    fn crates(&self) -> Vec<&str> {
        if self.packages.is_empty() {
            return vec!["--workspace"];
        }
        let packages = self.packages.iter();
        packages
            .flat_map(|package| ["--package", package])
            .collect()
    }
}

impl Suite {
    /// The names of the tests that the arguments select.
    fn names(self, args: &TestArgs) -> Result<Vec<String>> {
        match self {
            Self::Python => python_tests(args.filter()),
            Self::Rust if has_nextest() => {
                let list = ["nextest", "list", "--message-format", "oneline"];
                let mut command = cargo(&list);
                command.args(args.crates()).args(&args.filter);
                lines(&mut command)
            }
            Self::Rust | Self::Examples => {
                let mut command = self.cargo_test(args);
                command.args(["--list", "--format", "terse"]);
                let listed = lines(&mut command)?;
                let names = listed.iter().filter_map(|line| line.strip_suffix(": test"));
                Ok(names.map(str::to_owned).collect())
            }
        }
    }

    /// Runs the tests that the arguments select. Those of Python are named, or all run.
    fn run(self, args: &TestArgs, names: &[String]) -> Result<()> {
        match self {
            Self::Python => run_python(names),
            Self::Rust if has_nextest() => {
                let mut command = cargo(&["nextest", "run", "--no-fail-fast"]);
                succeed(command.args(args.crates()).args(&args.filter))
            }
            Self::Rust | Self::Examples => succeed(&mut self.cargo_test(args)),
        }
    }

    fn cargo_test(self, args: &TestArgs) -> Command {
        let targets: &[&str] = match self {
            Self::Examples => &["--doc"],
            _ => &["--lib", "--bins", "--tests"],
        };
        let mut command = cargo(&["test", "--quiet"]);
        command
            .args(targets)
            .args(args.crates())
            .arg("--")
            .args(&args.filter);
        command
    }
}

fn has_nextest() -> bool {
    let version = cargo(&["nextest", "--version"]).output();
    version.is_ok_and(|output| output.status.success())
}

/// The tests of `tests/` whose node id contains the filter.
fn python_tests(filter: &str) -> Result<Vec<String>> {
    let mut command = pytest(&python()?);
    let collected = lines(command.args(["--collect-only", "-q"]))?;
    let ids = collected.into_iter().filter(|line| line.contains("::"));
    Ok(ids.filter(|id| id.contains(filter)).collect())
}

fn run_python(names: &[String]) -> Result<()> {
    let python = python()?;
    succeed(&mut cargo(&["build", "--workspace", "--bin", "tidegate"]))?;
    if !names.is_empty() {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        return run_pytest(&python, &names);
    }
    // Most tests wait for servers, clients and intervals; those that measure have the machine alone.
    run_pytest(
        &python,
        &["-m", "not alone", "-n", "2", "--dist", "loadfile"],
    )?;
    run_pytest(&python, &["-m", "alone"])
}

fn run_pytest(python: &Path, arguments: &[&str]) -> Result<()> {
    succeed(pytest(python).args(["-q", "--durations=5"]).args(arguments))
}

fn python() -> Result<PathBuf> {
    setup::environment("tests", &root().join("tests/requirements.txt"))
}

fn pytest(python: &Path) -> Command {
    let mut command = Command::new(python);
    command
        .args(["-m", "pytest"])
        .current_dir(root().join("tests"))
        .env("TIDEGATE_BIN", target().join("debug/tidegate"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    // The tests of the packages call this program instead of building it once more.
    if let Ok(xtask) = std::env::current_exe() {
        command.env("TIDEGATE_XTASK", xtask);
    }
    command
}

/// What a command prints; its messages stay on the terminal.
fn lines(command: &mut Command) -> Result<Vec<String>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stderr(std::process::Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program} ended with {}", output.status);
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(str::to_owned).collect())
}
