//! Requests beside thousands of clients that send a byte now and then.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::report::Section;
use super::rounds::{middle, ratio};
use super::{Effort, load};
use crate::server::Server;
use crate::{root, target};

/// As many as the usual limit of open files lets one process have, besides its other files.
const CONNECTIONS: usize = 10_000;
/// How often each of them sends a byte.
const INTERVAL: Duration = Duration::from_secs(5);
/// The beginning of a request that never gets complete.
const BEGINNING: &[u8] = b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
const LIMITS: &str = "[server]\nmax_connections = 16000\nmax_connections_per_client = 16000\n\
                      header_timeout_ms = 600000\n";

/// Measures `digits` at a fifth of its capacity, alone and beside the slow clients.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "Slow clients",
        &[
            "digits",
            "slow connections",
            "requests/s",
            "p50 ms",
            "p99 ms",
            "p99 to that alone",
        ],
    );
    let folder = std::env::temp_dir().join(format!("tidegate-bench-slow-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let config = folder.join("tidegate.toml");
    std::fs::write(&config, LIMITS)?;
    let arguments = ["--config".as_ref(), config.as_os_str()];
    let digits = root().join("examples/models/digits");
    let binary = target().join("release/tidegate");
    let server = Server::start_with(&binary, &[&digits], &folder.join("data"), &arguments)?;

    let duration = format!("--duration={}s", effort.seconds);
    let common = ["digits", "--url", &server.http, "--warmup=500ms", &duration];
    let capacity = load::run(&[&common[..], &["--concurrency=16"]].concat())?.throughput_per_s;
    let rate = format!("--rate={:.0}", capacity / 5.0);
    let digits = [&common[..], &[&rate, "--arrival=poisson"]].concat();
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        alone.push((load::run(&digits)?, 0));
        let clients = connect(&server.http)?;
        beside.push(beside_slow_clients(clients, || load::run(&digits))?);
    }
    for (name, rounds) in [("alone", &alone), ("beside slow clients", &beside)] {
        section.row(vec![
            name.into(),
            middle(rounds, |(_, connections)| *connections as f64).into(),
            middle(rounds, |(run, _)| run.throughput_per_s)
                .round()
                .into(),
            middle(rounds, |(run, _)| run.latency().p50 / 1e3).into(),
            middle(rounds, |(run, _)| run.latency().p99 / 1e3).into(),
            ratio(rounds, &alone, |(run, _)| run.latency().p99).into(),
        ]);
    }
    server.stop()?;
    let _ = std::fs::remove_dir_all(&folder);
    Ok(section)
}

/// Opens the connections, each with the beginning of a request.
fn connect(url: &str) -> Result<Vec<TcpStream>> {
    let address = url.trim_start_matches("http://");
    let mut clients = Vec::with_capacity(CONNECTIONS);
    for at in 0..CONNECTIONS {
        let mut client = TcpStream::connect(address)
            .with_context(|| format!("connection {at} of {CONNECTIONS}"))?;
        client.write_all(BEGINNING)?;
        clients.push(client);
    }
    Ok(clients)
}

/// What `measure` gives while every client sends a byte now and then, and how many of them are still
/// connected at its end.
fn beside_slow_clients<T>(
    mut clients: Vec<TcpStream>,
    measure: impl FnOnce() -> Result<T>,
) -> Result<(T, usize)> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                send_bytes(&mut clients, &is_over);
            }
            clients.len()
        });
        let measured = measure();
        is_over.store(true, Ordering::Relaxed);
        let connected = sender.join().map_err(|_| anyhow!("the sender panicked"))?;
        ensure!(
            connected == CONNECTIONS,
            "only {connected} of {CONNECTIONS} slow clients were still connected"
        );
        Ok((measured?, connected))
    })
}

/// One byte from each client, spread over the interval. Clients whose connection is gone are left
/// out.
fn send_bytes(clients: &mut Vec<TcpStream>, is_over: &AtomicBool) {
    let start = Instant::now();
    let count = clients.len().max(1) as u32;
    let mut at = 0;
    clients.retain_mut(|client| {
        if is_over.load(Ordering::Relaxed) {
            return true;
        }
        at += 1;
        let due = INTERVAL * at / count;
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        client.write_all(b"x").is_ok()
    });
}
