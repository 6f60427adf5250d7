//! In one process: ONNX Runtime alone, and the way of a request around it.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::contestant::{baseline, example};
use super::report::Section;
use super::rounds::middle;
use super::{Effort, median};

/// A line of `tidegate-bench runtime`.
#[derive(Clone, Deserialize)]
pub(super) struct Figure {
    rows: usize,
    p50_us: f64,
    p99_us: f64,
    pub(super) rows_per_second: f64,
}

/// Measures `session.run` and `Serving::infer` on one thread in turn.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "In process",
        &[
            "model",
            "rows",
            "session.run p50 µs",
            "tidegate p50 µs",
            "added µs",
            "session.run p99 µs",
            "tidegate p99 µs",
        ],
    );
    for model in ["digits", "fraud"] {
        let (mut raw, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..effort.rounds {
            raw.push(time(model, effort.seconds, false)?);
            ours.push(time(model, effort.seconds, true)?);
        }
        for (at, figure) in raw[0].iter().enumerate() {
            let added = raw
                .iter()
                .zip(&ours)
                .map(|(raw, ours)| ours[at].p50_us - raw[at].p50_us);
            section.row(vec![
                model.into(),
                figure.rows.into(),
                middle(&raw, |figures| figures[at].p50_us).into(),
                middle(&ours, |figures| figures[at].p50_us).into(),
                median(added.collect()).into(),
                middle(&raw, |figures| figures[at].p99_us).into(),
                middle(&ours, |figures| figures[at].p99_us).into(),
            ]);
        }
    }
    Ok(section)
}

fn time(model: &str, seconds: u64, submit: bool) -> Result<Vec<Figure>> {
    let (model, seconds) = (example(model).display().to_string(), seconds.to_string());
    let mut arguments = vec!["--seconds", &seconds, "--model", &model];
    if submit {
        arguments.push("--submit");
    }
    figures(&arguments)
}

/// What `tidegate-bench runtime` measures.
pub(super) fn figures(arguments: &[&str]) -> Result<Vec<Figure>> {
    let output = baseline(&["runtime"])?
        .args(arguments)
        .output()
        .context("the baseline cannot be started")?;
    anyhow::ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}
