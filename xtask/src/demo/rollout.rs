//! A version that is silently wrong, and comes back by itself.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use super::example::Example;
use crate::server::Server;
use crate::succeed;

const MODEL: &str = "fraud";
/// Two columns of the pipeline, which the new version takes for each other.
const RIGHT: &str = "\"merchant_risk\", \"merchant_age_days\"";
const WRONG: &str = "\"merchant_age_days\", \"merchant_risk\"";
/// Columns that the pipeline computes.
const COMPUTED: &str = "amount_to_";
/// Columns that are yes or no.
const FLAGS: [&str; 5] = [
    "is_foreign",
    "is_online",
    "chip_present",
    "device_new",
    "billing_matches_shipping",
];
/// Between two requests of the client.
const PAUSE: Duration = Duration::from_millis(3);

/// Pushes a version whose pipeline has two columns swapped, rolls it out under load, and insists that its
/// traffic is taken back.
pub(crate) fn run(binary: &Path, models: &Path, data: &Path) -> Result<()> {
    println!(
        "\nA new version of {MODEL}, in whose pipeline two columns are swapped: nothing fails."
    );
    let bundle = data.join("bundle");
    let registry = data.join("registry");
    copy(&models.join(MODEL), &bundle)?;
    push(binary, &bundle, &registry)?;
    let server = Server::start_over(binary, &[], &registry)?;
    let manifest = bundle.join("model.toml");
    let text = std::fs::read_to_string(&manifest)?;
    if !text.contains(RIGHT) {
        bail!("{} has no columns {RIGHT}", manifest.display());
    }
    std::fs::write(&manifest, text.replace(RIGHT, WRONG))?;
    push(binary, &bundle, &registry)?;

    let example = Example::read(models, MODEL)?;
    let is_over = AtomicBool::new(false);
    let phase = std::thread::scope(|scope| {
        let client = scope.spawn(|| send(&server.http, &example, &is_over));
        let phase = roll_out(binary, &server.http);
        is_over.store(true, Ordering::Relaxed);
        let sent = client
            .join()
            .map_err(|_| anyhow::anyhow!("the client panicked"))?;
        println!("  the client sent {} requests, and none failed", sent?);
        phase
    })?;
    if phase != "aborted" {
        bail!("the wrong version was not taken back: it is {phase}");
    }
    server.stop()
}

fn push(binary: &Path, bundle: &Path, registry: &Path) -> Result<()> {
    let alias: &[&str] = match registry.exists() {
        false => &["--alias", "champion"],
        true => &[],
    };
    let mut push = Command::new(binary);
    push.arg("push").arg(bundle).args(alias);
    push.arg("--data").arg(registry);
    succeed(&mut push)
}

/// Starts the rollout and shows it until it is over. Where it is then.
fn roll_out(binary: &Path, http: &str) -> Result<String> {
    let mut start = Command::new(binary);
    start.args([
        "rollout",
        "start",
        MODEL,
        "--to",
        "2",
        "--steps",
        "20%,50%,100%",
    ]);
    start.args(["--min-duration", "60s", "--wait", "--url", http]);
    // It fails, as it should: the version is not promoted.
    start.status().context("cannot start the rollout")?;
    let mut status = Command::new(binary);
    succeed(status.args(["rollout", "status", MODEL, "--url", http]))?;
    let url = format!("{http}/api/rollouts/{MODEL}");
    let rollout: Value = ureq::get(&url).call()?.body_mut().read_json()?;
    let phase = rollout["phase"].as_str();
    Ok(phase.context("the rollout has no phase")?.to_owned())
}

/// Sends rows as records until it is over. How many were answered.
fn send(http: &str, example: &Example, is_over: &AtomicBool) -> Result<usize> {
    let url = format!("{http}/v1/endpoints/{MODEL}/predict");
    let agent: ureq::Agent = ureq::Agent::config_builder().build().into();
    let mut sent = 0;
    while !is_over.load(Ordering::Relaxed) {
        let row = &example.rows[sent % example.rows.len()];
        let body = json!({ "instances": [record(&example.columns, row)?] }).to_string();
        let post = agent.post(&url).content_type("application/json");
        post.send(body.as_str())?.body_mut().read_to_string()?;
        sent += 1;
        std::thread::sleep(PAUSE);
    }
    Ok(sent)
}

fn record(columns: &[String], row: &[String]) -> Result<Map<String, Value>> {
    let mut record = Map::new();
    for (column, cell) in columns.iter().zip(row) {
        if column.starts_with(COMPUTED) {
            continue;
        }
        let value = match FLAGS.contains(&column.as_str()) {
            true => json!(cell != "0"),
            false => serde_json::from_str(cell)?,
        };
        record.insert(column.clone(), value);
    }
    Ok(record)
}

/// The files of a bundle, without its folders.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
