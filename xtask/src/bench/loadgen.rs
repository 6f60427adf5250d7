//! The load generators themselves, against a server that does nothing: `tidegate load` beside
//! `wrk`, one thread each.

use anyhow::{Context, Result};

use super::client::{Figures, wrk};
use super::contestant::Contestant;
use super::http::Case;
use super::report::Section;
use super::rounds::{Comparison, in_turn};
use super::{Effort, load};

const CASE: Case = Case {
    title: "digits, 1 JSON row",
    model: "digits",
    rows: 1,
    binary: false,
    connections: 16,
    naive: false,
};

/// Measures both over 16 connections in turn.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "Load generators",
        &[
            "generator",
            "requests/s",
            "p50 µs",
            "p99 µs",
            "tidegate load's rate",
        ],
    );
    let request = super::client::Load {
        threads: 1,
        ..CASE.load()?
    };
    let file = std::env::temp_dir().join(format!("tidegate-bench-body-{}", std::process::id()));
    std::fs::write(&file, &request.body)?;
    let file = file
        .to_str()
        .context("the temporary folder's name is UTF-8")?;
    let echo = Contestant::baseline("echo", &["echo", "--answer", file])?;
    let generators = ["tidegate load", "wrk"];
    let rounds = in_turn(generators.len(), effort.rounds, |at| match at {
        0 => {
            let run = load::run(&[
                "--url",
                &echo.url,
                "--raw-body",
                file,
                "--path",
                &request.path,
                &format!("--concurrency={}", request.connections),
                &format!("--duration={}s", effort.seconds),
            ])?;
            let (requests_per_second, latency) = (run.throughput_per_s, run.latency());
            Ok(Figures {
                requests_per_second,
                p50_us: latency.p50,
                p99_us: latency.p99,
                errors: 0,
            })
        }
        _ => wrk(&echo.url, &request, effort.seconds),
    })?;
    for (name, own) in generators.into_iter().zip(&rounds) {
        let comparison = Comparison::new(name, &rounds[0], own);
        let ratio = [comparison.rate_ratio.into()];
        section.row(
            [name.into()]
                .into_iter()
                .chain(comparison.cells())
                .chain(ratio)
                .collect(),
        );
    }
    Ok(section)
}
