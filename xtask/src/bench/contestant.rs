//! Servers that are measured side by side.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::client::{Figures, Load, wrk};
use super::{Effort, median};
use crate::server::Server;
use crate::{root, setup, target};

/// A server under its name in the tables.
pub(super) struct Contestant {
    pub(super) name: &'static str,
    pub(super) url: String,
    _process: Process,
}

enum Process {
    Tidegate(#[allow(dead_code, reason = "ends the process when dropped")] Server),
    Baseline(Child),
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Self::Baseline(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Contestant {
    /// Tidegate over the example models.
    pub(super) fn tidegate(name: &'static str) -> Result<Self> {
        let data = std::env::temp_dir().join(format!("tidegate-bench-data-{}", std::process::id()));
        let server = Server::start(&target().join("release/tidegate"), &root().join("examples/models"), &data)?;
        Ok(Self { name, url: server.http.clone(), _process: Process::Tidegate(server) })
    }

    /// A server of `bench/`.
    pub(super) fn baseline(name: &'static str, arguments: &[&str]) -> Result<Self> {
        let mut child =
            baseline(arguments)?.stdout(Stdio::piped()).spawn().context("the baseline cannot be started")?;
        let output = child.stdout.take().context("the output is piped")?;
        let process = Process::Baseline(child);
        for line in BufReader::new(output).lines() {
            if let Some(url) = line?.strip_prefix("listening ") {
                return Ok(Self { name, url: url.to_owned(), _process: process });
            }
        }
        bail!("the baseline {name} ended before it listened")
    }

    /// The answer to one request, for baselines that answer the same bytes.
    pub(super) fn ask(&self, load: &Load) -> Result<Vec<u8>> {
        let agent: ureq::Agent = ureq::Agent::config_builder().build().into();
        let mut request = agent.post(format!("{}{}", self.url, load.path));
        for (name, value) in &load.headers {
            request = request.header(name, value);
        }
        let mut response =
            request.send(load.body.as_slice()).with_context(|| format!("{} does not answer", self.name))?;
        Ok(response.body_mut().read_to_vec()?)
    }
}

/// A program of `bench/`.
pub(super) fn baseline(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(target().join("release/tidegate-bench"));
    command.args(arguments).env("TIDEGATE_ONNXRUNTIME", setup::onnxruntime_library()?);
    Ok(command)
}

/// Where an example's model is.
pub(super) fn example(name: &str) -> PathBuf {
    root().join("examples/models").join(name).join("model.onnx")
}

/// The medians of one contestant, and the median ratios of the first contestant to it.
pub(super) struct Standing {
    pub(super) name: &'static str,
    pub(super) figures: Figures,
    /// The first contestant's requests per second over this one's.
    pub(super) rate_ratio: f64,
    pub(super) p50_ratio: f64,
    pub(super) p99_ratio: f64,
}

/// Measures all under the same load, in turn.
pub(super) fn compare(contestants: &[&Contestant], load: &Load, effort: Effort) -> Result<Vec<Standing>> {
    let mut rounds: Vec<Vec<Figures>> = vec![Vec::new(); contestants.len()];
    for contestant in contestants {
        wrk(&contestant.url, load, 1)?;
    }
    for round in 0..effort.rounds {
        let mut order: Vec<usize> = (0..contestants.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            rounds[at].push(wrk(&contestants[at].url, load, effort.seconds)?);
        }
    }
    let first = rounds[0].clone();
    let standing = |(contestant, own): (&&Contestant, Vec<Figures>)| {
        let of = |pick: fn(&Figures) -> f64| median(own.iter().map(pick).collect());
        let ratio = |pick: fn(&Figures) -> f64| {
            median(first.iter().zip(&own).map(|(first, own)| pick(first) / pick(own)).collect())
        };
        let (rate, p50, p99): (fn(&Figures) -> f64, fn(&Figures) -> f64, fn(&Figures) -> f64) =
            (|figures| figures.requests_per_second, |figures| figures.p50_us, |figures| figures.p99_us);
        Standing {
            name: contestant.name,
            figures: Figures { requests_per_second: of(rate), p50_us: of(p50), p99_us: of(p99), errors: 0 },
            rate_ratio: ratio(rate),
            p50_ratio: ratio(p50),
            p99_ratio: ratio(p99),
        }
    };
    Ok(contestants.iter().zip(rounds).map(standing).collect())
}
