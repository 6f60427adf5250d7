//! From nothing to the first answer, and the memory of a server that idles.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use super::report::Section;
use super::{Effort, median};
use crate::demo::Example;
use crate::server::Server;
use crate::{root, target};

/// Starts, asks once, reads the memory, stops.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "Start and memory",
        &["model", "first answer ms", "resident MB"],
    );
    let models = root().join("examples/models");
    for name in ["digits", "fraud", "language"] {
        let example = Example::read(&models, name)?;
        let mut rounds = Vec::new();
        for _ in 0..effort.rounds {
            rounds.push(first_answer(&models.join(name), &example)?);
        }
        section.row(vec![
            name.into(),
            median(rounds.iter().map(|(ms, _)| *ms).collect()).into(),
            median(rounds.iter().map(|(_, mb)| *mb).collect()).into(),
        ]);
    }
    Ok(section)
}

fn first_answer(model: &Path, example: &Example) -> Result<(f64, f64)> {
    let data = std::env::temp_dir().join(format!("tidegate-bench-start-{}", std::process::id()));
    let body = example.request(0).to_string();
    let started = Instant::now();
    let server = Server::start(&target().join("release/tidegate"), model, &data)?;
    let url = format!("{}/v2/models/{}/infer", server.http, example.name);
    ureq::post(&url)
        .content_type("application/json")
        .send(&body)?;
    let ms = started.elapsed().as_secs_f64() * 1e3;
    let resident = resident_mb(server.pid())?;
    server.stop()?;
    Ok((ms, resident))
}

/// The memory of a process that is in use.
pub(crate) fn resident_mb(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("there is no VmRSS")?;
    let kb: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kb * 1024.0 / 1e6)
}
