//! `tidegate load`, the client where `wrk` does not do: gRPC, and requests that are counted rather
//! than timed.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::binary;
use crate::server::Server;

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

/// A run as `tidegate load` reports it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Run {
    pub(super) requests: u64,
    pub(super) answers: u64,
    pub(super) refusals: u64,
    pub(super) throughput_per_s: f64,
    pub(super) rows_per_s: f64,
    /// Answers that came within their deadline; none where requests had none.
    pub(super) goodput_per_s: Option<f64>,
    failures: Vec<Failure>,
    latency_us: Option<Latency>,
    refusal_latency_us: Option<Latency>,
}

/// Requests that were not answered for the same reason.
#[derive(Clone, Debug, Deserialize)]
struct Failure {
    message: String,
}

/// A distribution of latencies, in microseconds.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

impl Run {
    /// That of answers; not a number where there was none.
    pub(super) fn latency(&self) -> Latency {
        self.latency_us.unwrap_or(Latency {
            p50: f64::NAN,
            p99: f64::NAN,
        })
    }

    /// That of refusals; zero where there was none.
    pub(super) fn refusal_latency(&self) -> Latency {
        self.refusal_latency_us
            .unwrap_or(Latency { p50: 0.0, p99: 0.0 })
    }
}

/// Runs `tidegate load` with these arguments and reads its only run.
pub(super) fn run(arguments: &[&str]) -> Result<Run> {
    run_as(None, arguments)
}

/// As [`run`], with this API key.
pub(super) fn run_as(api_key: Option<&str>, arguments: &[&str]) -> Result<Run> {
    #[derive(Deserialize)]
    struct Report {
        runs: Vec<Run>,
    }
    let mut command = Command::new(binary());
    command.envs(api_key.map(|key| ("TIDEGATE_TOKEN", key)));
    let output = command
        .arg("load")
        .args(arguments)
        .args(["--quiet", "--json", "-"])
        .output();
    let output = output.context("tidegate load cannot be started")?;
    ensure!(
        output.status.success(),
        "tidegate load: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Report = serde_json::from_slice(&output.stdout)?;
    report
        .runs
        .into_iter()
        .next()
        .context("tidegate load reports no run")
}

impl Clients<'_> {
    /// Asks, and insists that every request was answered.
    pub(super) fn ask(&self, server: &Server, length: &Length) -> Result<Outcome> {
        let (rows, clients) = (self.rows.to_string(), self.clients.to_string());
        let length = match length {
            Length::Requests(requests) => [
                format!("--requests={requests}"),
                String::from("--warmup=0s"),
            ],
            Length::Milliseconds { warm_up, measured } => [
                format!("--duration={measured}ms"),
                format!("--warmup={warm_up}ms"),
            ],
        };
        let run = run(&[
            self.model,
            "--timeout=120s",
            "--url",
            &server.http,
            "--grpc",
            &server.grpc,
            "--protocol",
            self.protocol,
            "--rows",
            &rows,
            "--concurrency",
            &clients,
            &length[0],
            &length[1],
        ])?;
        let missing = run.requests - run.answers;
        ensure!(
            missing == 0,
            "{missing} of {} requests to {} were not answered: {}",
            run.requests,
            self.model,
            run.failures
                .first()
                .map_or("no reason is known", |failure| &failure.message)
        );
        Ok(Outcome {
            requests_per_second: run.throughput_per_s,
            rows_per_second: run.rows_per_s,
            p99_us: run.latency().p99,
        })
    }
}
