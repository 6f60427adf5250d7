//! Every test, after everything that it needs.

use std::process::Command;

use anyhow::Result;

use crate::{cargo, root, setup, succeed, target};

/// Sets up and runs the Rust tests, then the tests that drive the binary with real clients.
pub(crate) fn run() -> Result<()> {
    setup::run(true)?;
    let python = setup::environment("tests", &root().join("tests/requirements.txt"))?;
    let nextest = cargo(&["nextest", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if nextest {
        succeed(&mut cargo(&[
            "nextest",
            "run",
            "--workspace",
            "--no-fail-fast",
        ]))?;
        succeed(&mut cargo(&["test", "--workspace", "--doc", "--quiet"]))?;
    } else {
        succeed(&mut cargo(&["test", "--workspace"]))?;
    }
    succeed(&mut cargo(&["build", "--package", "tidegate"]))?;
    succeed(
        Command::new(python)
            .args(["-m", "pytest", "-q", "--durations=5"])
            .current_dir(root().join("tests"))
            .env("TIDEGATE_BIN", target().join("debug/tidegate"))
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    )
}
