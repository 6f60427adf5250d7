//! Sending rows one by one over keep-alive connections, and timing them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::example::{Answer, Example};

/// Connections at once.
const CONNECTIONS: usize = 8;

/// The answers to all rows, in order, and how long they took.
pub(crate) struct Run {
    pub(crate) answers: Vec<Answer>,
    /// Ascending.
    latencies: Vec<Duration>,
    pub(crate) requests_per_second: f64,
}

impl Run {
    /// The latency below which `share` of the requests stayed.
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        let at = (share * self.latencies.len() as f64).ceil() as usize;
        self.latencies[at.clamp(1, self.latencies.len()) - 1]
    }
}

/// The row, its answer, and how long it took.
type Answered = (usize, Answer, Duration);

/// Sends every row of an example as a request of its own.
pub(crate) fn run(http: &str, example: &Example) -> Result<Run> {
    let url = format!("{http}/v2/models/{}/infer", example.name);
    let bodies: Vec<String> = (0..example.rows.len())
        .map(|row| example.request(row).to_string())
        .collect();
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    let results: Vec<Result<Vec<Answered>>> = std::thread::scope(|scope| {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(scope.spawn(|| client(&url, &bodies, &next)));
        }
        clients
            .into_iter()
            .map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?)
            .collect()
    });
    let elapsed = started.elapsed();
    let mut answered = Vec::new();
    for result in results {
        answered.extend(result?);
    }
    answered.sort_by_key(|(row, ..)| *row);
    let mut latencies: Vec<Duration> = answered.iter().map(|(.., took)| *took).collect();
    latencies.sort_unstable();
    Ok(Run {
        requests_per_second: answered.len() as f64 / elapsed.as_secs_f64(),
        answers: answered.into_iter().map(|(_, answer, _)| answer).collect(),
        latencies,
    })
}

/// Sends the next row that no other client has taken, until there is none.
fn client(url: &str, bodies: &[String], next: &AtomicUsize) -> Result<Vec<Answered>> {
    let agent: ureq::Agent = ureq::Agent::config_builder().build().into();
    let mut answers = Vec::new();
    loop {
        let row = next.fetch_add(1, Ordering::Relaxed);
        let Some(body) = bodies.get(row) else {
            return Ok(answers);
        };
        let sent = Instant::now();
        let post = agent.post(url).content_type("application/json");
        let response: Value = post.send(body)?.body_mut().read_json()?;
        let took = sent.elapsed();
        let answer = Answer::of(&response)
            .with_context(|| format!("row {row}: unexpected answer {response}"))?;
        answers.push((row, answer, took));
    }
}
