//! What being observed costs: requests beside figures, objectives, traces, a scraper and an open
//! page; and `/metrics` of many.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Effort;
use super::client::wrk;
use super::contestant::{Contestant, post};
use super::http::Case;
use super::report::{Cell, Section};
use super::rounds::{Comparison, in_turn, middle};
use crate::server::Server;
use crate::{root, target};

const CASE: Case = Case {
    title: "digits, 1 JSON row",
    model: "digits",
    rows: 1,
    binary: false,
    connections: 16,
    naive: false,
};
const MODELS: usize = 500;
const VERSIONS: usize = 3;
/// Times that `/metrics` is asked for.
const SCRAPES: usize = 21;
const SCRAPE_EVERY: Duration = Duration::from_secs(1);

/// Measures a server that is watched by everything there is, beside one that nobody watches.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "Being observed",
        &["what", "figure", "unit", "beside it", "its figure", "ratio"],
    );
    let folder =
        std::env::temp_dir().join(format!("tidegate-bench-observing-{}", std::process::id()));
    let outcome = watched(&folder, effort, &mut section)
        .and_then(|()| exposition(&folder.join("many"), &mut section));
    let _ = std::fs::remove_dir_all(&folder);
    outcome.map(|()| section)
}

fn watched(folder: &Path, effort: Effort, section: &mut Section) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let answer = folder.join("nothing");
    std::fs::write(&answer, [])?;
    let answer = answer
        .to_str()
        .context("the temporary folder's name is UTF-8")?;
    let collector = Contestant::baseline("collector", &["echo", "--answer", answer])?;
    let config = folder.join("tidegate.toml");
    std::fs::write(&config, settings(&collector.url))?;
    let (binary, digits) = (
        target().join("release/tidegate"),
        root().join("examples/models/digits"),
    );
    let alone = Server::start(&binary, &digits, &folder.join("alone"))?;
    let arguments = ["--config".as_ref(), config.as_os_str()];
    let watched = Server::start_with(&binary, &[&digits], &folder.join("watched"), &arguments)?;
    let load = CASE.load()?;
    for server in [&alone, &watched] {
        wrk(&server.http, &load, 2)?;
    }
    let done = AtomicBool::new(false);
    let rounds = std::thread::scope(|scope| {
        let scraper = scope.spawn(|| scrape(&watched.http, &done));
        scope.spawn(|| keep_page_open(&watched.http, &done));
        let servers = [&watched, &alone];
        let rounds = in_turn(servers.len(), effort.rounds, |at| {
            wrk(&servers[at].http, &load, effort.seconds)
        });
        done.store(true, Ordering::Relaxed);
        let scrapes = scraper
            .join()
            .map_err(|_| anyhow::anyhow!("the scraper panicked"))??;
        ensure!(scrapes > 0, "nothing was scraped");
        rounds
    })?;
    let (first, other) = (
        Comparison::new("watched", &rounds[0], &rounds[0]),
        Comparison::new("alone", &rounds[0], &rounds[1]),
    );
    section.row(vec![
        "objectives, traces, scraping, console".into(),
        first.figures.requests_per_second.round().into(),
        "requests/s".into(),
        "none of these".into(),
        other.figures.requests_per_second.round().into(),
        other.rate_ratio.into(),
    ]);
    section.row(vec![
        "the same: p99".into(),
        first.figures.p99_us.round().into(),
        "µs".into(),
        "none of these".into(),
        other.figures.p99_us.round().into(),
        other.p99_ratio.into(),
    ]);
    watched.stop()?;
    alone.stop()
}

/// Objectives, and traces with the sampling that is the default.
fn settings(collector: &str) -> String {
    format!(
        "[traces]\nendpoint = \"{collector}/v2/models/collector/infer\"\nprotocol = \"http\"\n\n\
         [[slo]]\nname = \"answers\"\nendpoint = \"digits\"\ntarget = 0.999\n\n\
         [[slo]]\nname = \"fast\"\nendpoint = \"digits\"\nsli = \"latency\"\nthreshold_ms = 25.6\ntarget = 0.99\n\n\
         [[slo]]\nname = \"all\"\nendpoint = \"*\"\ntarget = 0.99\n"
    )
}

/// Asks for the metrics as Prometheus would, but more often; gives how often.
fn scrape(url: &str, done: &AtomicBool) -> Result<usize> {
    let agent: ureq::Agent = ureq::Agent::config_builder().build().into();
    let mut scrapes = 0;
    while !done.load(Ordering::Relaxed) {
        let mut answer = agent
            .get(format!("{url}/metrics"))
            .header("Accept", "application/openmetrics-text")
            .call()?;
        answer.body_mut().read_to_string()?;
        scrapes += 1;
        std::thread::sleep(SCRAPE_EVERY);
    }
    Ok(scrapes)
}

/// Keeps the endpoint's page open.
fn keep_page_open(url: &str, done: &AtomicBool) -> Result<()> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_recv_body(Some(Duration::from_secs(60)))
        .build()
        .into();
    let request = agent
        .get(format!("{url}/console/endpoints/digits"))
        .header("Accept", "text/event-stream");
    let lines = BufReader::new(request.call()?.into_body().into_reader()).lines();
    for line in lines {
        line?;
        if done.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(())
}

/// How long `/metrics` of many versions takes, and how large it is.
fn exposition(folder: &Path, section: &mut Section) -> Result<()> {
    let models = folder.join("models");
    for at in 0..MODELS {
        triton_model(&models, &name(at))?;
    }
    let server = Server::start(
        &target().join("release/tidegate"),
        &models,
        &folder.join("data"),
    )?;
    ensure!(
        server.failed.is_empty(),
        "a model was not loaded: {:?}",
        server.failed.first()
    );
    for at in 0..MODELS {
        for version in 1..=VERSIONS {
            let version = version.to_string();
            let mut load = CASE.load()?;
            load.path = format!("/v2/models/{}/versions/{version}/infer", name(at));
            let answer: Value = serde_json::from_slice(&post(&server.http, &load)?)?;
            ensure!(
                answer["model_version"] == *version,
                "another version answered: {answer}"
            );
        }
    }
    let agent: ureq::Agent = ureq::Agent::config_builder().build().into();
    let mut scrapes: Vec<(f64, usize)> = Vec::new();
    for _ in 0..SCRAPES {
        let began = Instant::now();
        let mut answer = agent.get(format!("{}/metrics", server.http)).call()?;
        let body = answer
            .body_mut()
            .with_config()
            .limit(64 << 20)
            .read_to_vec()?;
        scrapes.push((began.elapsed().as_secs_f64() * 1e3, body.len()));
    }
    let (time, size) = (
        middle(&scrapes, |(ms, _)| *ms),
        middle(&scrapes, |(_, bytes)| *bytes as f64 / 1e6),
    );
    section.row(goal("/metrics of 500 × 3 versions: time", time, "ms", 50.0));
    section.row(goal("/metrics of 500 × 3 versions: size", size, "MB", 5.0));
    server.stop()
}

/// A figure beside its goal.
fn goal(what: &str, figure: f64, unit: &str, goal: f64) -> Vec<Cell> {
    let ratio = figure / goal;
    vec![
        what.into(),
        figure.into(),
        unit.into(),
        "the goal".into(),
        goal.into(),
        ratio.into(),
    ]
}

/// `digits` as a Triton model, all of whose versions are served.
fn triton_model(models: &Path, name: &str) -> Result<()> {
    let source: PathBuf = root().join("examples/models/digits/model.onnx");
    for version in 1..=VERSIONS {
        let folder = models.join(name).join(version.to_string());
        std::fs::create_dir_all(&folder)?;
        std::fs::hard_link(&source, folder.join("model.onnx"))
            .or_else(|_| std::fs::copy(&source, folder.join("model.onnx")).map(|_| ()))?;
    }
    let config = format!(
        "name: \"{name}\"\nplatform: \"onnxruntime_onnx\"\nmax_batch_size: 64\nversion_policy: {{ all {{ }} }}\n"
    );
    std::fs::write(models.join(name).join("config.pbtxt"), config)?;
    Ok(())
}

fn name(at: usize) -> String {
    format!("digits-{at:03}")
}
