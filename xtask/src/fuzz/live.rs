//! Whole requests to a server in a process of its own, over HTTP and gRPC.
//!
//! A finding is: the process ends, an answer has a status of 500 or more, no answer comes within two
//! seconds (three times in a row, as the machine may be busy), or the memory has grown by 200 MB.

mod grpc;
mod http;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::mutation::Random;
use super::{Session, binary, seeds};
use crate::root;
use crate::server::Server;

const PATIENCE: Duration = Duration::from_secs(2);
const TRIES: usize = 3;
const MOST_GROWTH_MB: f64 = 200.0;
/// Inputs between two looks at memory and metrics. The first look is what later ones compare with.
const LOOK_EVERY: usize = 200;
/// Codes of errors that no input may cause.
const FAULTS: [&str; 2] = ["\"internal\"", "\"execution_failed\""];

/// Bytes for a connection. What is not whole is followed by the end of the connection's sending side.
struct Input {
    bytes: Vec<u8>,
    is_whole: bool,
}

/// How a protocol is fuzzed.
struct Protocol {
    seeds: &'static str,
    address: fn(&Server) -> &str,
    input: fn(&mut Random, &[Vec<u8>]) -> Input,
    /// Whether what was received has the end of an answer.
    is_complete: fn(&[u8]) -> bool,
    /// What is wrong with an answer.
    problem: fn(&[u8]) -> Option<String>,
}

pub(super) fn http(session: &mut Session) -> Result<()> {
    let protocol = Protocol {
        seeds: "infer_json",
        address: |server| server.http.trim_start_matches("http://"),
        input: http::input,
        is_complete: http::is_complete,
        problem: http::problem,
    };
    fuzz(session, &protocol)
}

/// Statuses of gRPC are compressed; the server's metrics tell its faults.
pub(super) fn grpc(session: &mut Session) -> Result<()> {
    let protocol = Protocol {
        seeds: "grpc_message",
        address: |server| &server.grpc,
        input: grpc::input,
        is_complete: grpc::is_complete,
        problem: |_| None,
    };
    fuzz(session, &protocol)
}

fn fuzz(session: &mut Session, protocol: &Protocol) -> Result<()> {
    let data = std::env::temp_dir().join(format!("tidegate-fuzz-{}", std::process::id()));
    let outcome = fuzz_server(session, protocol, &data);
    let _ = std::fs::remove_dir_all(&data);
    outcome
}

fn fuzz_server(session: &mut Session, protocol: &Protocol, data: &Path) -> Result<()> {
    let seeds = seeds(&root().join("fuzz/seeds").join(protocol.seeds))?;
    let server = Server::start(&binary(), &root().join("examples/models/digits"), data)?;
    let (mut first_look, mut last_input) = (None, Vec::new());
    while session.next() {
        let input = (protocol.input)(&mut session.random, &seeds);
        match answer(&server, protocol, &input) {
            Some(answer) => {
                if let Some(problem) = (protocol.problem)(&answer) {
                    session.report(&problem, &input.bytes)?;
                }
            }
            None => session.report("no answer within two seconds", &input.bytes)?,
        }
        last_input = input.bytes;
        if !session.inputs.is_multiple_of(LOOK_EVERY) {
            continue;
        }
        let Ok(look) = Look::at(&server) else {
            session.report("the server is gone", &last_input)?;
            return Ok(());
        };
        let first = first_look.get_or_insert(look);
        if let Some(problem) = look.problem_since(first) {
            session.report(&problem, &last_input)?;
            *first = look;
        }
    }
    // Whatever the last inputs did, the server must have survived it.
    if Look::at(&server).is_err() {
        session.report("the server is gone", &last_input)?;
    }
    Ok(())
}

/// The answer to an input; none where there was none in time.
fn answer(server: &Server, protocol: &Protocol, input: &Input) -> Option<Vec<u8>> {
    let address = (protocol.address)(server);
    (0..TRIES).find_map(|_| exchange(address, input, protocol.is_complete))
}

/// Sends an input, and reads until the answer or the connection ends. `None` if neither does in time.
fn exchange(address: &str, input: &Input, is_complete: fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let started = Instant::now();
    let mut connection = TcpStream::connect(address).ok()?;
    connection.set_read_timeout(Some(PATIENCE)).ok()?;
    connection.set_write_timeout(Some(PATIENCE)).ok()?;
    // The server may have refused it and closed the connection before the last byte.
    let _ = connection.write_all(&input.bytes);
    if !input.is_whole {
        let _ = connection.shutdown(Shutdown::Write);
    }
    let (mut received, mut buffer) = (Vec::new(), [0; 16384]);
    while started.elapsed() < PATIENCE {
        match connection.read(&mut buffer) {
            Ok(0) => return Some(received),
            Ok(bytes) => received.extend_from_slice(&buffer[..bytes]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                return Some(received);
            }
            Err(_) => return None,
        }
        if input.is_whole && is_complete(&received) {
            return Some(received);
        }
    }
    None
}

/// The memory of a server, and its faults so far.
#[derive(Clone, Copy)]
struct Look {
    resident_mb: f64,
    faults: f64,
}

impl Look {
    fn at(server: &Server) -> Result<Self> {
        let url = format!("{}/metrics", server.http);
        let text = ureq::get(&url).call()?.body_mut().read_to_string()?;
        let faults = text.lines().filter(|line| {
            let is_count = line.starts_with("nv_inference_request_failure{")
                || line.starts_with("tidegate_requests_refused_total{");
            is_count && FAULTS.iter().any(|code| line.contains(code))
        });
        let counts = faults.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(Self {
            resident_mb: crate::bench::resident_mb(server.pid()).context("the server is gone")?,
            faults: counts.sum(),
        })
    }

    fn problem_since(&self, first: &Self) -> Option<String> {
        let growth = self.resident_mb - first.resident_mb;
        if growth > MOST_GROWTH_MB {
            return Some(format!("the memory has grown by {growth:.0} MB"));
        }
        let faults = self.faults - first.faults;
        (faults > 0.0).then(|| format!("{faults} faults of the server in the last inputs"))
    }
}
