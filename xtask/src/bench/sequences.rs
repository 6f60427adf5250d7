//! What a step of a sequence adds to a request.

use std::path::Path;

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::Effort;
use super::contestant::baseline;
use super::report::Section;
use super::rounds::{in_turn, middle};
use crate::root;

/// What `tidegate-bench sequence` prints.
#[derive(Deserialize)]
struct Figures {
    plain_us: f64,
    step_us: f64,
    added_us: f64,
}

/// Measures a model that sums up: with its state in the server, and with its state in each request.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "Sequences",
        &[
            "one row",
            "state in the request, µs",
            "state in the server, µs",
            "added, µs",
        ],
    );
    let folder =
        std::env::temp_dir().join(format!("tidegate-bench-sequences-{}", std::process::id()));
    let outcome = measure(&folder, effort, &mut section);
    let _ = std::fs::remove_dir_all(&folder);
    outcome.map(|()| section)
}

fn measure(folder: &Path, effort: Effort, section: &mut Section) -> Result<()> {
    let (plain, stateful) = (folder.join("plain"), folder.join("stateful"));
    let state = "[[sequences.states]]\ninput = \"sum_in\"\noutput = \"sum_out\"\n";
    for (bundle, manifest) in [(&plain, ""), (&stateful, state)] {
        std::fs::create_dir_all(bundle)?;
        let model = root().join("bench/models/accumulator.onnx");
        std::fs::copy(model, bundle.join("model.onnx"))?;
        std::fs::write(bundle.join("model.toml"), manifest)?;
    }
    let rounds = in_turn(1, effort.rounds, |_| {
        steps(&plain, &stateful, effort.seconds)
    })?;
    let own = &rounds[0];
    section.row(vec![
        "an accumulator".into(),
        middle(own, |figures| figures.plain_us).into(),
        middle(own, |figures| figures.step_us).into(),
        middle(own, |figures| figures.added_us).into(),
    ]);
    Ok(())
}

fn steps(plain: &Path, stateful: &Path, seconds: u64) -> Result<Figures> {
    let mut command = baseline(&["sequence"])?;
    command.arg("--plain").arg(plain);
    command.arg("--stateful").arg(stateful);
    let output = command.args(["--seconds", &seconds.to_string()]).output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{complaint}");
    Ok(serde_json::from_slice(&output.stdout)?)
}
