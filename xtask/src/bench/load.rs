//! `tidegate load`, the client where `wrk` does not do: gRPC, and requests that are counted rather than timed.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::server::Server;
use crate::target;

/// What clients ask, each its next as soon as it has the answer to the last.
pub(super) struct Clients<'a> {
    pub(super) model: &'a str,
    /// As `--protocol` has it.
    pub(super) protocol: &'static str,
    pub(super) rows: usize,
    pub(super) clients: usize,
}

/// How long they ask.
pub(super) enum Length {
    /// From the first request sent to the last answer, so that long runs are counted whole.
    Requests(usize),
    Milliseconds {
        warm_up: u64,
        measured: u64,
    },
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) requests_per_second: f64,
    pub(super) rows_per_second: f64,
    pub(super) p99_us: f64,
}

#[derive(Deserialize)]
struct Report {
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    requests: u64,
    answers: u64,
    throughput_per_s: f64,
    rows_per_s: f64,
    latency_us: Option<Latency>,
}

#[derive(Deserialize)]
struct Latency {
    p99: f64,
}

impl Clients<'_> {
    /// Asks, and insists that every request was answered.
    pub(super) fn ask(&self, server: &Server, length: &Length) -> Result<Outcome> {
        let mut command = Command::new(target().join("release/tidegate"));
        command.args(["load", self.model, "--quiet", "--json", "-", "--timeout", "120s"]);
        command.args(["--url", &server.http, "--grpc", &server.grpc, "--protocol", self.protocol]);
        command.args(["--rows", &self.rows.to_string(), "--concurrency", &self.clients.to_string()]);
        match length {
            Length::Requests(requests) => command.args(["--requests", &requests.to_string()]),
            Length::Milliseconds { warm_up, measured } => {
                command.args(["--warmup", &format!("{warm_up}ms"), "--duration", &format!("{measured}ms")])
            }
        };
        let output = command.output().context("tidegate load cannot be started")?;
        ensure!(output.status.success(), "tidegate load: {}", String::from_utf8_lossy(&output.stderr));
        let report: Report = serde_json::from_slice(&output.stdout)?;
        let run = report.runs.first().context("tidegate load reports no run")?;
        let missing = run.requests - run.answers;
        ensure!(missing == 0, "{missing} of {} requests to {} were not answered", run.requests, self.model);
        Ok(Outcome {
            requests_per_second: run.throughput_per_s,
            rows_per_second: run.rows_per_s,
            p99_us: run.latency_us.as_ref().map_or(f64::NAN, |latency| latency.p99),
        })
    }
}
