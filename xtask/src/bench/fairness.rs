//! A tenant beside another that sends a hundred times as much.

use std::path::Path;

use anyhow::{Result, anyhow, ensure};

use super::gateway::api_key;
use super::load::{Run, run_as};
use super::report::Section;
use super::rounds::{middle, ratio};
use super::{Effort, binary};
use crate::server::Server;
use crate::{root, setup};

/// What the heavy tenant offers, as a part of the capacity, and how many times less the light one.
const HEAVY: f64 = 0.8;
const TIMES: f64 = 100.0;
/// Requests of the light tenant for each second that was asked for: a p99 needs some.
const LIGHT_REQUESTS: f64 = 25.0;
/// Models of about 15 µs and 20 ms a row, and the clients that find their capacity.
const CASES: [(&str, usize); 2] = [("digits", 16), ("slow", 8)];

/// Measures the light tenant alone and beside the heavy one.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "Fairness",
        &[
            "model",
            "light tenant",
            "its requests/s",
            "p50 ms",
            "p99 ms",
            "p99 to that alone",
            "heavy tenant's answers/s",
        ],
    );
    let folder =
        std::env::temp_dir().join(format!("tidegate-bench-fairness-{}", std::process::id()));
    let outcome = CASES
        .iter()
        .try_for_each(|(model, clients)| measure(&folder, model, *clients, effort, &mut section));
    let _ = std::fs::remove_dir_all(&folder);
    outcome.map(|()| section)
}

fn measure(
    folder: &Path,
    model: &str,
    clients: usize,
    effort: Effort,
    section: &mut Section,
) -> Result<()> {
    let path = match model {
        "digits" => root().join("examples/models/digits"),
        _ => setup::bench_models()?.join(model),
    };
    std::fs::create_dir_all(folder)?;
    let config = folder.join("tidegate.toml");
    std::fs::write(&config, "[auth]\nenabled = true\n")?;
    let (binary, data) = (binary(), folder.join(model));
    let (heavy, light) = (
        api_key(&binary, &data, "heavy")?,
        api_key(&binary, &data, "light")?,
    );
    let arguments = ["--config".as_ref(), config.as_os_str()];
    let server = Server::start_with(&binary, &[&path], &data, &arguments)?;

    let common = [
        model,
        "--url",
        &server.http,
        "--protocol=rest-binary",
        "--warmup=500ms",
    ];
    let seconds = format!("--duration={}s", effort.seconds);
    let concurrency = format!("--concurrency={clients}");
    let closed = run_as(
        Some(&heavy),
        &[&common[..], &[&seconds, &concurrency]].concat(),
    )?;
    let offered = HEAVY * closed.throughput_per_s;
    let light_rate = offered / TIMES;
    let light_seconds = LIGHT_REQUESTS * effort.seconds as f64 / light_rate;
    let seconds = light_seconds.ceil().max(effort.seconds as f64);
    let light_load = open_loop(light_rate, seconds);
    let heavy_load = open_loop(offered, seconds + 1.0);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        alone.push((ask(&light, &common, &light_load)?, 0.0));
        beside.push(std::thread::scope(|scope| {
            let neighbour = scope.spawn(|| ask(&heavy, &common, &heavy_load));
            let run = ask(&light, &common, &light_load)?;
            let neighbour = neighbour
                .join()
                .map_err(|_| anyhow!("the heavy tenant panicked"))??;
            anyhow::Ok((run, neighbour.throughput_per_s))
        })?);
    }
    for (name, rounds) in [("alone", &alone), ("beside the heavy one", &beside)] {
        for (run, _) in rounds {
            ensure!(run.answers > 0, "{model}, {name}: no request was answered");
        }
        section.row(vec![
            model.into(),
            name.into(),
            middle(rounds, |(run, _)| run.throughput_per_s).into(),
            middle(rounds, |(run, _)| run.latency().p50 / 1e3).into(),
            middle(rounds, |(run, _)| run.latency().p99 / 1e3).into(),
            ratio(rounds, &alone, |(run, _)| run.latency().p99).into(),
            middle(rounds, |(_, heavy)| *heavy).into(),
        ]);
    }
    server.stop()
}

/// Requests at random times.
fn open_loop(rate: f64, seconds: f64) -> [String; 3] {
    [
        format!("--rate={rate:.3}"),
        "--arrival=poisson".to_owned(),
        format!("--duration={seconds}s"),
    ]
}

fn ask(api_key: &str, common: &[&str], load: &[String]) -> Result<Run> {
    let load: Vec<&str> = load.iter().map(String::as_str).collect();
    run_as(Some(api_key), &[common, &load[..]].concat())
}
