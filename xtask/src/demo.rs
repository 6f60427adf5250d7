//! The demo: example models, their real held-out inputs, accuracy and speed; and a rollout that comes back.

mod example;
mod load;
mod rollout;
mod show;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

pub(crate) use self::example::{Answer, Example};
use crate::server::Server;
use crate::{cargo, root, setup, succeed, target};

/// How far a probability may be from the one that Python's onnxruntime gave: single-precision sums
/// in another order.
const TOLERANCE: f64 = 1e-5;

/// What the demo can be told.
#[derive(Args)]
pub(crate) struct DemoArgs {
    /// Stop after the report
    #[arg(long)]
    once: bool,
}

/// Sets up, builds, serves, asks, reports, and keeps serving.
pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    setup::run(false)?;
    let binary = build()?;
    let data = std::env::temp_dir().join(format!("tidegate-demo-{}", std::process::id()));
    let models = root().join("examples/models");
    let mut server = Server::start(&binary, &models, &data)?;
    println!("serving {} at {}\n", server.ready, server.http);

    let mut runs = Vec::new();
    for name in ["digits", "fraud", "language"] {
        match server
            .failed
            .iter()
            .find(|line| line.starts_with(&format!("{name}:")))
        {
            Some(line) => println!("not served here: {line}\n"),
            None => {
                let example = Example::read(&models, name)?;
                let run = load::run(&server.http, &example)?;
                runs.push((example, run));
            }
        }
    }
    show::table(&runs);
    show::samples(&runs);
    show::try_next(&server.http, &runs);
    for (example, run) in &runs {
        let differing = example.differences(&run.answers, TOLERANCE);
        if differing > 0 {
            bail!(
                "{}: {differing} answers differ from those of Python's onnxruntime",
                example.name
            );
        }
    }
    println!("Every answer is equal to that of Python's onnxruntime for the same row.");
    if runs.iter().any(|(example, _)| example.name == "fraud") {
        rollout::run(&binary, &models, &data.join("rollout"))?;
    }
    if args.once {
        server.stop()?;
    } else {
        println!(
            "Serving until Ctrl-C. Metrics: {0}/metrics  API: {0}/docs",
            server.http
        );
        server.wait()?;
    }
    let _ = std::fs::remove_dir_all(&data);
    Ok(())
}

/// Builds the binary, with cargo's own progress on the terminal: the first time takes minutes.
fn build() -> Result<PathBuf> {
    // The profile `demo` does not optimize the portable engine, which is then too slow to show anything.
    let profile = match setup::onnxruntime_library()?.exists() {
        true => "demo",
        false => "release",
    };
    println!("building tidegate; the first time takes some minutes …");
    succeed(&mut cargo(&[
        "build",
        "--profile",
        profile,
        "--package",
        "tidegate",
    ]))?;
    Ok(target().join(profile).join("tidegate"))
}
