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

/// What the heavy tenant offers, as a part of the capacity: the client shares the cores, so more would
/// be past what the machine can do.
const HEAVY: f64 = 0.5;
/// Requests of the light tenant for each second that was asked for: a p99 needs some.
const LIGHT_REQUESTS: f64 = 25.0;
/// A model of about 15 µs a row, and one of 20 ms.
const CASES: [Case; 2] = [
    Case {
        model: "digits",
        clients: 16,
        times: 100,
        weight: 1,
    },
    // A hundredth of what it offers would be a request in two seconds, too few for a p99.
    Case {
        model: "slow",
        clients: 8,
        times: 10,
        weight: 10,
    },
];

/// The heavy tenant sends a hundred times as much as the light one for what its weight gives it.
struct Case {
    model: &'static str,
    /// Clients that find the capacity.
    clients: usize,
    /// How many times more requests the heavy tenant sends.
    times: u32,
    /// The weight of the light tenant; the heavy one has 1.
    weight: u32,
}

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
        .try_for_each(|case| measure(&folder, case, effort, &mut section));
    let _ = std::fs::remove_dir_all(&folder);
    outcome.map(|()| section)
}

fn measure(folder: &Path, case: &Case, effort: Effort, section: &mut Section) -> Result<()> {
    let model = case.model;
    let path = match model {
        "digits" => root().join("examples/models/digits"),
        _ => setup::bench_models()?.join(model),
    };
    std::fs::create_dir_all(folder)?;
    let config = folder.join("tidegate.toml");
    let weight = case.weight;
    let settings =
        format!("[auth]\nenabled = true\n[[limits.tenant]]\nname = \"light\"\nweight = {weight}\n");
    std::fs::write(&config, settings)?;
    let (binary, data) = (binary(), folder.join(model));
    let (heavy, light) = (
        api_key(&binary, &data, "heavy")?,
        api_key(&binary, &data, "light")?,
    );
    let arguments = ["--config".as_ref(), config.as_os_str()];
    let server = Server::start_with(&binary, &[&path], &data, &arguments)?;
    // What the cores cost the light tenant, and no queue: the heavy one asks a server of its own.
    let other_data = folder.join(format!("{model}-other"));
    let other_heavy = api_key(&binary, &other_data, "heavy")?;
    let other = Server::start_with(&binary, &[&path], &other_data, &arguments)?;

    let common = common(model, &server);
    let elsewhere = self::common(model, &other);
    let seconds = format!("--duration={}s", effort.seconds);
    let concurrency = format!("--concurrency={}", case.clients);
    let closed = run_as(
        Some(&heavy),
        &[&common[..], &[&seconds, &concurrency]].concat(),
    )?;
    let offered = HEAVY * closed.throughput_per_s;
    let light_rate = offered / f64::from(case.times);
    let light_seconds = LIGHT_REQUESTS * effort.seconds as f64 / light_rate;
    let seconds = light_seconds.ceil().max(effort.seconds as f64);
    let light_load = open_loop(light_rate, seconds);
    let heavy_load = open_loop(offered, seconds + 1.0);
    let (mut alone, mut apart, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        alone.push((ask(&light, &common, &light_load)?, 0.0));
        let light = || ask(&light, &common, &light_load);
        apart.push(both(light, || ask(&other_heavy, &elsewhere, &heavy_load))?);
        beside.push(both(light, || ask(&heavy, &common, &heavy_load))?);
    }
    for (name, rounds) in [
        ("alone", &alone),
        ("the heavy one asks another server", &apart),
        ("beside the heavy one", &beside),
    ] {
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
    other.stop()?;
    server.stop()
}

/// Arguments of every load on a server.
fn common<'a>(model: &'a str, server: &'a Server) -> [&'a str; 5] {
    let url = &server.http;
    [
        model,
        "--url",
        url,
        "--protocol=rest-binary",
        "--warmup=500ms",
    ]
}

/// The light tenant's run, and the heavy one's answers/s at the same time.
fn both(
    light: impl Fn() -> Result<Run>,
    heavy: impl Fn() -> Result<Run> + Send,
) -> Result<(Run, f64)> {
    std::thread::scope(|scope| {
        let neighbour = scope.spawn(heavy);
        let run = light()?;
        let neighbour = neighbour
            .join()
            .map_err(|_| anyhow!("the heavy tenant panicked"))??;
        Ok((run, neighbour.throughput_per_s))
    })
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
