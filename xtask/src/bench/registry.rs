//! The registry and the life of versions: pushing, listing, loading, and many models in little
//! memory.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::contestant::{baseline, example};
use super::load;
use super::report::{Cell, Section};
use super::start::resident_mb;
use super::{Effort, bundle, median};
use crate::server::Server;
use crate::{root, setup, succeed, target};

const VERSIONS: usize = 300;
const LARGE_BYTES: usize = 1_000_000_000;
const MODELS: usize = 200;
/// Versions that the budget holds.
const FIT: usize = 20;
const CLIENTS: usize = 16;

/// Measures each in a registry of its own.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "Registry",
        &["what", "figure", "unit", "beside it", "its figure", "ratio"],
    );
    let folder =
        std::env::temp_dir().join(format!("tidegate-bench-registry-{}", std::process::id()));
    let outcome = measure(&folder, effort, &mut section);
    let _ = std::fs::remove_dir_all(&folder);
    outcome.map(|()| section)
}

fn measure(folder: &Path, effort: Effort, section: &mut Section) -> Result<()> {
    list(&Bench::new(folder, "list")?, effort, section)?;
    push(&Bench::new(folder, "push")?, effort, section)?;
    start(&Bench::new(folder, "start")?, effort, section)?;
    budget(&Bench::new(folder, "budget")?, effort, section)
}

/// A registry, and a folder for what is pushed.
struct Bench {
    data: PathBuf,
    bundles: PathBuf,
}

impl Bench {
    fn new(folder: &Path, name: &str) -> Result<Self> {
        let own = folder.join(name);
        let bench = Self {
            data: own.join("data"),
            bundles: own.join("bundles"),
        };
        std::fs::create_dir_all(&bench.bundles)?;
        Ok(bench)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(target().join("release/tidegate"));
        command
            .args(arguments)
            .arg("--data")
            .arg(&self.data)
            .stdout(Stdio::null());
        command
    }

    /// How long a command takes, in milliseconds.
    fn time(&self, arguments: &[&str]) -> Result<f64> {
        time(&mut self.command(arguments))
    }
}

fn time(command: &mut Command) -> Result<f64> {
    let started = Instant::now();
    succeed(command)?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

fn list(bench: &Bench, effort: Effort, section: &mut Section) -> Result<()> {
    for version in 0..VERSIONS {
        let name = format!("m{}", version % 10);
        let folder = bench.bundles.join(version.to_string());
        bundle::copy(
            &root().join("examples/models/digits"),
            &folder,
            &name,
            &format!("[tags]\nnumber = \"{version}\""),
        )?;
        bench.time(&[
            "push",
            &folder.join(&name).display().to_string(),
            "--no-check",
        ])?;
    }
    let rounds: Result<Vec<f64>> = (0..effort.rounds)
        .map(|_| bench.time(&["registry", "list"]))
        .collect();
    let few: Result<Vec<f64>> = (0..effort.rounds)
        .map(|_| bench.time(&["registry", "list", "m0"]))
        .collect();
    row(
        section,
        &format!("list {VERSIONS} versions"),
        median(rounds?),
        "ms",
        "list 30 of them",
        median(few?),
    );
    Ok(())
}

fn push(bench: &Bench, effort: Effort, section: &mut Section) -> Result<()> {
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for round in 0..effort.rounds {
        let folder = bench.bundles.join(format!("round-{round}"));
        bundle::copy(&root().join("examples/models/digits"), &folder, "large", "")?;
        let weights = folder.join("large/weights.bin");
        noise(&weights, round as u64)?;
        ours.push(bench.time(&[
            "push",
            &folder.join("large").display().to_string(),
            "--no-check",
        ])?);
        let copy = folder.join("copy");
        let (from, to) = (weights.display(), copy.display());
        plain.push(time(Command::new("sh").args([
            "-c",
            &format!("cp {from} {to} && sha256sum {to} > /dev/null"),
        ]))?);
        std::fs::remove_dir_all(&folder)?;
    }
    let (ours, plain) = (median(ours), median(plain));
    row(section, "push 1 GB", ours, "ms", "cp and sha256sum", plain);
    Ok(())
}

/// A file of bytes that do not compress, another one for each seed.
fn noise(path: &Path, seed: u64) -> Result<()> {
    let mut state = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut block = vec![0u8; 1 << 20];
    let mut file = File::create(path)?;
    for _ in 0..LARGE_BYTES.div_ceil(block.len()) {
        for word in block.chunks_exact_mut(8) {
            // xorshift64 (Marsaglia 2003).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&block)?;
    }
    file.sync_all()?;
    Ok(())
}

/// From nothing to the first answer of a large model whose files are in the local cache.
fn start(bench: &Bench, effort: Effort, section: &mut Section) -> Result<()> {
    let model = setup::bench_models()?.join("resnet50");
    bench.time(&["push", &model.display().to_string(), "--no-check"])?;
    let artifact = model.join("model.onnx").display().to_string();
    let cores = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .to_string();
    let input = r#"{"name":"input","shape":[1,3,224,224],"datatype":"FP32","parameters":{"binary_data_size":602112}}"#;
    let header = format!(r#"{{"inputs":[{input}]}}"#);
    let body = [header.as_bytes(), &[0; 602_112]].concat();
    let (mut ours, mut raw) = (Vec::new(), Vec::new());
    for round in 0..=effort.rounds {
        let started = Instant::now();
        let server = Server::start_over(&target().join("release/tidegate"), &[], &bench.data)?;
        ureq::post(&format!("{}/v2/models/resnet50/infer", server.http))
            .header("Inference-Header-Content-Length", &header.len().to_string())
            .send(&body)?;
        let ms = started.elapsed().as_secs_f64() * 1e3;
        server.stop()?;
        let bare = [
            "--model",
            &artifact,
            "--rows=1",
            "--seconds=0.001",
            "--intra-op-threads",
            &cores,
        ];
        let bare = time(baseline(&["runtime"])?.args(bare).stdout(Stdio::null()))?;
        // The first round fills the caches.
        if round > 0 {
            ours.push(ms);
            raw.push(bare);
        }
    }
    let what = "start to first answer, 98 MB";
    row(
        section,
        what,
        median(ours),
        "ms",
        "the runtime: load and run",
        median(raw),
    );
    Ok(())
}

/// More models than memory, requested with a popularity as in practice: some often, most rarely.
fn budget(bench: &Bench, effort: Effort, section: &mut Section) -> Result<()> {
    let names = push_models(bench)?;
    let budget_bytes = budget_bytes();
    let server = start_within_budget(bench, budget_bytes)?;
    let resident_before = resident_mb(server.pid())?;
    let arguments = zipf_load(&server, &names, effort)?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = AtomicBool::new(false);
    let (run, peak) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| watch_memory(&server, &done));
        let run = load::run(&arguments);
        done.store(true, Ordering::Relaxed);
        (run, watch.join())
    });
    let run = run?;
    let peak = peak.map_err(|_| anyhow::anyhow!("the watch panicked"))??;
    ensure!(
        run.answers == run.requests,
        "{} of {} requests were not answered",
        run.requests - run.answers,
        run.requests
    );
    let cold = metric(&server, "tidegate_cold_start_requests_total")?;
    figure(section, "requests", run.throughput_per_s, "per s");
    figure(
        section,
        "waited for a load",
        100.0 * cold / run.requests as f64,
        "% of requests",
    );
    figure(
        section,
        "evictions",
        metric(&server, "tidegate_evictions_total")?,
        "",
    );
    figure(section, "p50", run.latency().p50 / 1e3, "ms");
    figure(section, "p99", run.latency().p99 / 1e3, "ms");
    row(
        section,
        &budget_row("most memory charged"),
        peak.charged_bytes / 1e6,
        "MB",
        "the budget",
        budget_bytes as f64 / 1e6,
    );
    row(
        section,
        &budget_row("most resident memory"),
        peak.resident_mb,
        "MB",
        "before the first load",
        resident_before,
    );
    server.stop()
}

/// Copies of a small model under different names; gives the names.
fn push_models(bench: &Bench) -> Result<Vec<String>> {
    let digits = root().join("examples/models/digits");
    let mut names = Vec::new();
    for at in 0..MODELS {
        let name = format!("digits-{at:03}");
        // A tag makes the bundles differ: equal ones would be one version.
        let tags = format!("[tags]\nname = \"{name}\"");
        bundle::copy(&digits, &bench.bundles, &name, &tags)?;
        let bundle = bench.bundles.join(&name).display().to_string();
        bench.time(&["push", &bundle, "--no-check"])?;
        names.push(name);
    }
    Ok(names)
}

/// What [`FIT`] of the models are estimated to take before they are loaded: see "More models than
/// memory" in the guide to the fleet.
fn budget_bytes() -> u64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    FIT as u64 * ((2 << 20) * cores + 180_000 * (1 + cores))
}

fn start_within_budget(bench: &Bench, budget_bytes: u64) -> Result<Server> {
    std::fs::create_dir_all(&bench.data)?;
    let config = bench.data.join("tidegate.toml");
    let settings = format!("[fleet]\nlazy = true\nmemory_budget_bytes = {budget_bytes}\n");
    std::fs::write(&config, settings)?;
    let arguments = ["--config".as_ref(), config.as_ref()];
    Server::start_with(
        &target().join("release/tidegate"),
        &[],
        &bench.data,
        &arguments,
    )
}

/// Arguments of `tidegate load`: the weights of the models follow Zipf's law with exponent 1.
fn zipf_load(server: &Server, names: &[String], effort: Effort) -> Result<Vec<String>> {
    let mut arguments = Vec::new();
    for (at, name) in names.iter().enumerate() {
        arguments.push(format!("{name}={}", 1_000_000 / (at + 1)));
    }
    let model = example("digits");
    let samples = model.parent().context("an example is in a folder")?;
    arguments.push(format!("--url={}", server.http));
    arguments.push(format!("--concurrency={CLIENTS}"));
    arguments.push(format!("--duration={}s", 5 * effort.seconds));
    arguments.push(format!("--samples={}", samples.display()));
    // A request can wait for a load.
    arguments.push("--timeout=30s".to_owned());
    arguments.push("--warmup=2s".to_owned());
    Ok(arguments)
}

/// The title of a row about many models in little memory.
fn budget_row(what: &str) -> String {
    format!("{MODELS} models, budget for {FIT}: {what}")
}

/// A row with nothing beside its figure.
fn figure(section: &mut Section, what: &str, figure: f64, unit: &str) {
    let nothing = [Cell::from(""), Cell::from(""), Cell::from("")];
    let mut cells = vec![budget_row(what).into(), figure.into(), unit.into()];
    cells.extend(nothing);
    section.row(cells);
}

/// The largest values that were seen.
struct Peak {
    charged_bytes: f64,
    resident_mb: f64,
}

/// Looks at a server's memory until told that the load is over.
fn watch_memory(server: &Server, done: &AtomicBool) -> Result<Peak> {
    let mut peak = Peak {
        charged_bytes: 0.0,
        resident_mb: 0.0,
    };
    while !done.load(Ordering::Relaxed) {
        let charged_bytes = metric(server, "tidegate_memory_charged_bytes")?;
        peak.charged_bytes = peak.charged_bytes.max(charged_bytes);
        peak.resident_mb = peak.resident_mb.max(resident_mb(server.pid())?);
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(peak)
}

/// The sum of a metric over its labels.
fn metric(server: &Server, name: &str) -> Result<f64> {
    let text = ureq::get(&format!("{}/metrics", server.http))
        .call()?
        .body_mut()
        .read_to_string()?;
    let values = text
        .lines()
        .filter(|line| line.split(['{', ' ']).next() == Some(name));
    Ok(values
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum())
}

fn row(section: &mut Section, what: &str, ours: f64, unit: &str, beside: &str, its: f64) {
    let cells: [Cell; 6] = [
        what.into(),
        ours.into(),
        unit.into(),
        beside.into(),
        its.into(),
        (ours / its).into(),
    ];
    section.row(cells.into());
}
