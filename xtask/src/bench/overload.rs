//! More work than there is capacity for: what still comes in time, and how soon the rest is told.

use anyhow::Result;

use super::report::Section;
use super::rounds::middle;
use super::start::resident_mb;
use super::{Effort, load};
use crate::server::Server;
use crate::{setup, target};

/// Models, each with the clients that find its capacity, and the deadline of its requests.
const CASES: [(&str, usize, &str); 2] = [("medium", 64, "50ms"), ("slow", 8, "200ms")];
/// What is offered, in capacities.
const FACTORS: [f64; 3] = [0.8, 1.2, 2.0];

/// Finds the capacity in a closed loop before each round, then offers multiples of it in an open
/// loop, at random times.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "Overload",
        &[
            "model",
            "deadline",
            "offered",
            "in time",
            "p50 ms",
            "p99 ms",
            "share refused",
            "refusal p50 ms",
            "refusal p99 ms",
            "resident MB",
        ],
    );
    let folder = setup::bench_models()?;
    let data = std::env::temp_dir().join(format!("tidegate-bench-overload-{}", std::process::id()));
    for (model, clients, deadline) in CASES {
        let server = Server::start(
            &target().join("release/tidegate"),
            &folder.join(model),
            &data,
        )?;
        let duration = format!("--duration={}s", effort.seconds);
        let common = [
            model,
            "--url",
            &server.http,
            "--protocol=rest-binary",
            "--warmup=1s",
            &duration,
        ];
        for factor in FACTORS {
            let mut rounds = Vec::new();
            for _ in 0..effort.rounds {
                let closed =
                    load::run(&[&common[..], &[&format!("--concurrency={clients}")]].concat())?;
                let rate = format!("--rate={:.0}", closed.throughput_per_s * factor);
                let open = [rate.as_str(), "--arrival=poisson", "--deadline", deadline];
                rounds.push((
                    closed.throughput_per_s,
                    load::run(&[&common[..], &open].concat())?,
                ));
            }
            section.row(vec![
                model.into(),
                deadline.into(),
                factor.into(),
                middle(&rounds, |(capacity, run)| {
                    run.goodput_per_s.unwrap_or(0.0) / capacity
                })
                .into(),
                middle(&rounds, |(_, run)| run.latency().p50 / 1e3).into(),
                middle(&rounds, |(_, run)| run.latency().p99 / 1e3).into(),
                middle(&rounds, |(_, run)| {
                    run.refusals as f64 / run.requests.max(1) as f64
                })
                .into(),
                middle(&rounds, |(_, run)| run.refusal_latency().p50 / 1e3).into(),
                middle(&rounds, |(_, run)| run.refusal_latency().p99 / 1e3).into(),
                resident_mb(server.pid())?.round().into(),
            ]);
        }
        server.stop()?;
    }
    Ok(section)
}
