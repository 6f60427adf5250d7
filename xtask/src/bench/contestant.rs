//! Servers that are measured side by side.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Effort;
use super::client::{Load, wrk};
use super::group::Group;
use super::rounds::{Comparison, in_turn};
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
    Group(#[allow(dead_code, reason = "ends the processes when dropped")] Group),
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
        let server = Server::start(
            &target().join("release/tidegate"),
            &root().join("examples/models"),
            &data,
        )?;
        Ok(Self {
            name,
            url: server.http.clone(),
            _process: Process::Tidegate(server),
        })
    }

    /// A server of `bench/`.
    pub(super) fn baseline(name: &'static str, arguments: &[&str]) -> Result<Self> {
        let mut child = baseline(arguments)?
            .stdout(Stdio::piped())
            .spawn()
            .context("the baseline cannot be started")?;
        let output = child.stdout.take().context("the output is piped")?;
        let process = Process::Baseline(child);
        for line in BufReader::new(output).lines() {
            if let Some(url) = line?.strip_prefix("listening ") {
                return Ok(Self {
                    name,
                    url: url.to_owned(),
                    _process: process,
                });
            }
        }
        bail!("the baseline {name} ended before it listened")
    }

    /// A server of others.
    pub(super) fn group(name: &'static str, url: String, group: Group) -> Self {
        Self {
            name,
            url,
            _process: Process::Group(group),
        }
    }

    /// The answer to one request, for baselines that answer the same bytes.
    pub(super) fn ask(&self, load: &Load) -> Result<Vec<u8>> {
        post(&self.url, load).with_context(|| format!("{} does not answer", self.name))
    }
}

/// The answer of a server to one request.
pub(super) fn post(url: &str, load: &Load) -> Result<Vec<u8>> {
    let agent: ureq::Agent = ureq::Agent::config_builder().build().into();
    let mut request = agent.post(format!("{url}{}", load.path));
    for (name, value) in &load.headers {
        request = request.header(name, value);
    }
    Ok(request
        .send(load.body.as_slice())?
        .body_mut()
        .read_to_vec()?)
}

/// A program of `bench/`.
pub(super) fn baseline(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(target().join("release/tidegate-bench"));
    command
        .args(arguments)
        .env("TIDEGATE_ONNXRUNTIME", setup::onnxruntime_library()?);
    Ok(command)
}

/// Where an example's model is.
pub(super) fn example(name: &str) -> PathBuf {
    root().join("examples/models").join(name).join("model.onnx")
}

/// Measures all under the same load, in turn.
pub(super) fn compare(
    contestants: &[&Contestant],
    load: &Load,
    effort: Effort,
) -> Result<Vec<Comparison>> {
    for contestant in contestants {
        wrk(&contestant.url, load, 1)?;
    }
    let rounds = in_turn(contestants.len(), effort.rounds, |at| {
        wrk(&contestants[at].url, load, effort.seconds)
    })?;
    let mut comparisons = Vec::new();
    for (contestant, own) in contestants.iter().zip(&rounds) {
        comparisons.push(Comparison::new(contestant.name, &rounds[0], own));
    }
    Ok(comparisons)
}
