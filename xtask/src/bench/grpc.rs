//! gRPC: requests per second and latency beside a bare tonic echo server.

use anyhow::Result;

use super::contestant::{Contestant, example};
use super::report::Section;
use super::rounds::{in_turn, middle, ratio};
use super::{Effort, load};
use crate::server::Server;
use crate::target;

/// Streams, and the connections that they share.
const CASES: [(usize, usize); 4] = [(1, 1), (16, 4), (64, 4), (16, 1)];

/// Measures one row of `digits` as raw contents.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "gRPC",
        &[
            "streams",
            "connections",
            "server",
            "requests/s",
            "p50 µs",
            "p99 µs",
            "tidegate's rate",
            "its p99",
        ],
    );
    let data = std::env::temp_dir().join(format!("tidegate-bench-grpc-{}", std::process::id()));
    let model = example("digits");
    let folder = model.parent().unwrap_or(&model);
    let tidegate = Server::start(&target().join("release/tidegate"), folder, &data)?;
    let echo = Contestant::baseline("echo", &["grpc-echo"])?;
    let servers = [
        ("tidegate", "digits", tidegate.grpc.as_str()),
        ("echo", "echo", echo.url.trim_start_matches("http://")),
    ];
    for (streams, connections) in CASES {
        let rounds = in_turn(servers.len(), effort.rounds, |at| {
            let (_, model, address) = servers[at];
            load::run(&[
                model,
                "--protocol=grpc",
                "--grpc",
                address,
                &format!("--concurrency={streams}"),
                &format!("--connections={connections}"),
                "--warmup=500ms",
                &format!("--duration={}s", effort.seconds),
            ])
        })?;
        for ((name, ..), own) in servers.iter().zip(&rounds) {
            section.row(vec![
                streams.into(),
                connections.into(),
                (*name).into(),
                middle(own, |run| run.throughput_per_s).round().into(),
                middle(own, |run| run.latency().p50).round().into(),
                middle(own, |run| run.latency().p99).round().into(),
                ratio(&rounds[0], own, |run| run.throughput_per_s).into(),
                ratio(&rounds[0], own, |run| run.latency().p99).into(),
            ]);
        }
    }
    tidegate.stop()?;
    Ok(section)
}
