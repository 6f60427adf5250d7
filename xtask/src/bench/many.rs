//! Many models in one process: what each costs in memory while it idles, and whether requests get
//! slower.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::Effort;
use super::bundle;
use super::client::{Figures, wrk_over};
use super::http::Case;
use super::report::Section;
use super::rounds::{Comparison, in_turn};
use super::start::resident_mb;
use crate::server::Server;
use crate::{root, target};

const MODELS: usize = 1000;

/// Seconds of load before the figures: each of the models learns from its own requests how long it
/// takes.
const WARM_UP: u64 = 10;

const CASE: Case = Case {
    title: "digits, 1 JSON row",
    model: "digits",
    rows: 1,
    binary: false,
    connections: 16,
    naive: false,
};

/// Serves one copy of digits, and a thousand in another process, and asks both in turn.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "Many models",
        &[
            "loaded",
            "asked",
            "requests/s",
            "p50 µs",
            "p99 µs",
            "start s",
            "resident MB",
            "KB per idle model",
            "rate to one's",
        ],
    );
    let folder = std::env::temp_dir().join(format!("tidegate-bench-many-{}", std::process::id()));
    let outcome = measure(&folder, effort, &mut section);
    let _ = std::fs::remove_dir_all(&folder);
    outcome.map(|()| section)
}

fn measure(folder: &Path, effort: Effort, section: &mut Section) -> Result<()> {
    let (one, many) = (
        Loaded::start(&folder.join("one"), 1)?,
        Loaded::start(&folder.join("many"), MODELS)?,
    );
    let kb_per_model = (many.resident_mb - one.resident_mb) * 1e3 / (MODELS - 1) as f64;
    // Each client has as many requests ready, so that the cost of choosing one is the same for all.
    let (same, spread) = (
        vec![path(0); MODELS],
        (0..MODELS).map(path).collect::<Vec<_>>(),
    );
    let asked = [
        ("one, alone", &one, &same),
        ("one", &many, &same),
        ("all in turn", &many, &spread),
    ];
    let load = CASE.load()?;
    for (_, loaded, paths) in &asked {
        wrk_over(&loaded.server.http, &load, paths, WARM_UP)?;
    }
    let rounds: Vec<Vec<Figures>> = in_turn(asked.len(), effort.rounds, |at| {
        let (_, loaded, paths) = &asked[at];
        wrk_over(&loaded.server.http, &load, paths, effort.seconds)
    })?;
    for ((what, loaded, _), own) in asked.iter().zip(&rounds) {
        let comparison = Comparison::new(what, &rounds[0], own);
        let named = [loaded.models.into(), (*what).into()];
        let per_model = if loaded.models > 1 {
            kb_per_model.into()
        } else {
            "".into()
        };
        let costs = [
            loaded.start_s.into(),
            loaded.resident_mb.into(),
            per_model,
            (1.0 / comparison.rate_ratio).into(),
        ];
        section.row(
            named
                .into_iter()
                .chain(comparison.cells())
                .chain(costs)
                .collect(),
        );
    }
    Ok(())
}

fn name(at: usize) -> String {
    format!("digits-{at:04}")
}

fn path(at: usize) -> String {
    format!("/v2/models/{}/infer", name(at))
}

/// A server with its models loaded, and what that took.
struct Loaded {
    server: Server,
    models: usize,
    start_s: f64,
    /// Before any request.
    resident_mb: f64,
}

impl Loaded {
    fn start(folder: &Path, models: usize) -> Result<Self> {
        let bundles = folder.join("models");
        for at in 0..models {
            bundle::copy(
                &root().join("examples/models/digits"),
                &bundles,
                &name(at),
                "",
            )?;
        }
        let started = Instant::now();
        let server = Server::start(
            &target().join("release/tidegate"),
            &bundles,
            &folder.join("data"),
        )?;
        let start_s = started.elapsed().as_secs_f64();
        let failed = server.failed.first();
        ensure!(
            failed.is_none(),
            "a model was not loaded: {}",
            failed.context("there is one")?
        );
        let resident_mb = resident_mb(server.pid())?;
        Ok(Self {
            server,
            models,
            start_s,
            resident_mb,
        })
    }
}
