//! A small model beside a large one that is saturated, in one process.

use anyhow::{Result, anyhow};

use super::report::Section;
use super::rounds::{middle, ratio};
use super::{Effort, load};
use crate::server::Server;
use crate::{root, setup, target};

/// Measures `digits` at a fifth of its capacity, alone and beside clients that keep `slow` busy all
/// the time.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "Noisy neighbour",
        &[
            "digits",
            "requests/s",
            "p50 ms",
            "p99 ms",
            "p99 to that alone",
            "slow's answers/s",
        ],
    );
    let data =
        std::env::temp_dir().join(format!("tidegate-bench-neighbour-{}", std::process::id()));
    let models = [
        root().join("examples/models/digits"),
        setup::bench_models()?.join("slow"),
    ];
    let server = Server::start_over(
        &target().join("release/tidegate"),
        &[&models[0], &models[1]],
        &data,
    )?;
    let duration = format!("--duration={}s", effort.seconds);
    let common = ["digits", "--url", &server.http, "--warmup=500ms", &duration];
    let capacity = load::run(&[&common[..], &["--concurrency=16"]].concat())?.throughput_per_s;
    let rate = format!("--rate={:.0}", capacity / 5.0);
    let digits = [&common[..], &[&rate, "--arrival=poisson"]].concat();
    let longer = format!("--duration={}s", effort.seconds + 2);
    let slow = [
        "slow",
        "--url",
        &server.http,
        "--protocol=rest-binary",
        "--concurrency=4",
        &longer,
    ];
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        alone.push((load::run(&digits)?, 0.0));
        beside.push(std::thread::scope(|scope| {
            let neighbour = scope.spawn(|| load::run(&slow));
            let run = load::run(&digits)?;
            let neighbour = neighbour
                .join()
                .map_err(|_| anyhow!("the neighbour panicked"))??;
            anyhow::Ok((run, neighbour.throughput_per_s))
        })?);
    }
    for (name, rounds) in [("alone", &alone), ("beside slow", &beside)] {
        section.row(vec![
            name.into(),
            middle(rounds, |(run, _)| run.throughput_per_s)
                .round()
                .into(),
            middle(rounds, |(run, _)| run.latency().p50 / 1e3).into(),
            middle(rounds, |(run, _)| run.latency().p99 / 1e3).into(),
            ratio(rounds, &alone, |(run, _)| run.latency().p99).into(),
            middle(rounds, |(_, slow)| *slow).into(),
        ]);
    }
    server.stop()?;
    Ok(section)
}
