//! A model that costs far more than the server around it: rows per second beside the raw runtime's.

use anyhow::{Context, Result};

use super::Effort;
use super::load::{Clients, Length};
use super::report::Section;
use super::rounds::{in_turn, middle, ratio};
use super::runtime::figures;
use crate::server::Server;
use crate::{setup, target};

const MODEL: &str = "resnet50";
const ROWS: [usize; 4] = [1, 4, 8, 16];
const CLIENTS: [usize; 3] = [1, 2, 4];

/// A way of running the model at its best batch size.
#[derive(Clone, Copy)]
enum Way {
    /// `session.run` in so many threads, each with so many inside.
    Raw {
        threads: usize,
        intra_op_threads: usize,
        rows: usize,
    },
    /// A server, by a protocol of `tidegate load`.
    Served {
        protocol: &'static str,
        rows: usize,
        clients: usize,
    },
}

/// Finds the best batch size and clients of each way, then measures all in turn.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "Compute",
        &[
            "how",
            "threads",
            "rows",
            "clients",
            "rows/s",
            "of session.run's",
        ],
    );
    let models = setup::bench_models()?;
    let model = models.join(MODEL).join("model.onnx").display().to_string();
    let data = std::env::temp_dir().join(format!("tidegate-bench-compute-{}", std::process::id()));
    let server = Server::start(
        &target().join("release/tidegate"),
        &models.join(MODEL),
        &data,
    )?;
    let bench = Bench {
        model,
        server,
        seconds: effort.seconds,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // The server lays an artifact of this size out as one instance over all cores: the first way is
    // the raw equal of it.
    let inside = best(&raw_ways(1, cores), |way| bench.rows_per_second(way, 0.0))?;
    let mut ways = vec![inside.0];
    if cores > 1 {
        ways.push(best(&raw_ways(cores, 1), |way| bench.rows_per_second(way, 0.0))?.0);
    }
    for protocol in ["grpc", "rest-binary"] {
        ways.push(
            best(&served_ways(protocol), |way| {
                bench.rows_per_second(way, inside.1)
            })?
            .0,
        );
    }
    let rounds = in_turn(ways.len(), effort.rounds, |at| {
        bench.rows_per_second(&ways[at], inside.1)
    })?;
    for (way, own) in ways.iter().zip(&rounds) {
        let (how, threads, rows, clients) = way.describe(cores);
        section.row(vec![
            how.into(),
            threads.into(),
            rows.into(),
            clients.into(),
            middle(own, |rate| *rate).into(),
            ratio(own, &rounds[0], |rate| *rate).into(),
        ]);
    }
    bench.server.stop()?;
    Ok(section)
}

fn raw_ways(threads: usize, intra_op_threads: usize) -> Vec<Way> {
    ROWS.iter()
        .map(|rows| Way::Raw {
            threads,
            intra_op_threads,
            rows: *rows,
        })
        .collect()
}

fn served_ways(protocol: &'static str) -> Vec<Way> {
    let mut ways = Vec::new();
    for rows in ROWS {
        for clients in CLIENTS {
            ways.push(Way::Served {
                protocol,
                rows,
                clients,
            });
        }
    }
    ways
}

/// The way with the most rows per second, and how many.
fn best(ways: &[Way], mut measure: impl FnMut(&Way) -> Result<f64>) -> Result<(Way, f64)> {
    let rates = ways
        .iter()
        .map(|way| Ok((*way, measure(way)?)))
        .collect::<Result<Vec<_>>>()?;
    rates
        .into_iter()
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .context("there is no way to compare")
}

impl Way {
    fn describe(&self, cores: usize) -> (String, String, usize, String) {
        match self {
            Self::Raw {
                threads,
                intra_op_threads,
                rows,
            } => (
                "session.run".to_owned(),
                format!("{threads} x {intra_op_threads}"),
                *rows,
                String::new(),
            ),
            Self::Served {
                protocol,
                rows,
                clients,
            } => (
                format!("tidegate, {protocol}"),
                format!("1 x {cores}"),
                *rows,
                clients.to_string(),
            ),
        }
    }
}

struct Bench {
    model: String,
    server: Server,
    seconds: u64,
}

impl Bench {
    /// What a way reaches. `expected` rows per second tell how many requests to send.
    fn rows_per_second(&self, way: &Way, expected: f64) -> Result<f64> {
        match way {
            Way::Raw {
                threads,
                intra_op_threads,
                rows,
            } => {
                let numbers = [*threads, *intra_op_threads, *rows].map(|number| number.to_string());
                let [threads, intra_op_threads, rows] = numbers.each_ref().map(String::as_str);
                let shape = [
                    "--threads",
                    threads,
                    "--intra-op-threads",
                    intra_op_threads,
                    "--rows",
                    rows,
                ];
                let seconds = self.seconds.to_string();
                let arguments =
                    [&shape[..], &["--seconds", &seconds, "--model", &self.model]].concat();
                Ok(figures(&arguments)?
                    .first()
                    .context("the baseline gave no figure")?
                    .rows_per_second)
            }
            Way::Served {
                protocol,
                rows,
                clients,
            } => {
                let asked = Clients {
                    model: MODEL,
                    protocol,
                    rows: *rows,
                    clients: *clients,
                };
                let requests = (self.seconds as f64 * expected / *rows as f64).ceil() as usize;
                let length = Length::Requests(requests.max(2 * clients));
                Ok(asked.ask(&self.server, &length)?.rows_per_second)
            }
        }
    }
}
