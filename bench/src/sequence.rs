//! What a step of a sequence adds to a request: the same model with its state kept by the server, and
//! with its state sent by the client.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;
use tidegate_core::{EngineChoice, Shape, Tensor};
use tidegate_engines::Engines;
use tidegate_serving::{
    InProcess, InferRequest, MetricRegistry, Models, SequenceId, SequenceRequest, Serving, Target,
};

/// Requests of each kind in a round.
const ROUND: usize = 1000;

/// What to measure.
#[derive(Args)]
pub(crate) struct SequenceArgs {
    /// A bundle without states: it takes `x` and `sum_in`, both of FP32 with the shape [1, 1]
    #[arg(long, value_name = "FOLDER")]
    plain: PathBuf,
    /// A bundle of the same model that keeps `sum_in`
    #[arg(long, value_name = "FOLDER")]
    stateful: PathBuf,
    /// For how long
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
}

/// Medians, as JSON.
#[derive(Serialize)]
struct Figures {
    plain_us: f64,
    step_us: f64,
    added_us: f64,
}

/// Times requests one after the other, as on an idle server, of both kinds in turn.
pub(crate) fn run(args: &SequenceArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let registry = MetricRegistry::new();
    let engines = Engines::discover(None, EngineChoice::Auto);
    let paths = vec![args.plain.clone(), args.stateful.clone()];
    let serving = Serving::new(Models::new(paths, engines, &registry));
    let report = serving.models().load_all();
    ensure!(report.failed.is_empty(), "{:?}", report.failed);
    let (plain, stateful) = (name(&args.plain)?, name(&args.stateful)?);
    let time = Duration::from_secs_f64(args.seconds);
    let (mut plain_us, mut step_us) = (Histogram::new(3)?, Histogram::new(3)?);
    let started = Instant::now();
    runtime.block_on(async {
        serving
            .answer(exchange(&stateful, sequence(true), false)?)
            .await?;
        while started.elapsed() < time {
            for _ in 0..ROUND {
                let begun = Instant::now();
                serving.answer(exchange(&plain, None, true)?).await?;
                plain_us.record(begun.elapsed().as_nanos() as u64)?;
            }
            for _ in 0..ROUND {
                let begun = Instant::now();
                serving
                    .answer(exchange(&stateful, sequence(false), false)?)
                    .await?;
                step_us.record(begun.elapsed().as_nanos() as u64)?;
            }
        }
        anyhow::Ok(())
    })?;
    let micros = |histogram: &Histogram<u64>| histogram.value_at_quantile(0.5) as f64 / 1e3;
    let figures = Figures {
        plain_us: micros(&plain_us),
        step_us: micros(&step_us),
        added_us: micros(&step_us) - micros(&plain_us),
    };
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

fn name(bundle: &Path) -> Result<String> {
    let name = bundle.file_name().context("the bundle has no name")?;
    Ok(name.to_string_lossy().into_owned())
}

fn sequence(start: bool) -> Option<Box<SequenceRequest>> {
    let (id, end) = (SequenceId::Number(1), false);
    Some(Box::new(SequenceRequest { id, start, end }))
}

fn exchange(
    endpoint: &str,
    sequence: Option<Box<SequenceRequest>>,
    sends_state: bool,
) -> Result<InProcess> {
    let tensor = Tensor::from_vec(Shape::new(&[1, 1])?, vec![1f32])?;
    let mut inputs = vec![("x".to_owned(), tensor.clone())];
    if sends_state {
        inputs.push(("sum_in".to_owned(), tensor));
    }
    let target = Target {
        endpoint: endpoint.to_owned(),
        version: None,
    };
    let request = InferRequest {
        inputs,
        sequence,
        ..InferRequest::default()
    };
    Ok(InProcess::new(target, request))
}
