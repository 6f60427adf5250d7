//! The steps before a model, alone on one thread.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use tidegate_core::{DataType, Dim, Manifest, Signature, TensorSpec};
use tidegate_pipeline::{BundleFiles, Pipeline};

/// What to measure.
#[derive(Args)]
pub(crate) struct RecordsArgs {
    /// A bundle whose pipeline reads no files and feeds one input of FP32
    #[arg(long, value_name = "FOLDER")]
    model: PathBuf,
    /// The body of a request
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// For how long
    #[arg(long, default_value_t = 2)]
    seconds: u64,
}

/// The fastest of many runs, as JSON.
#[derive(Serialize)]
struct Figures {
    rows: usize,
    us_per_row: f64,
}

/// Times a request's body to the tensors of the model.
pub(crate) fn run(args: &RecordsArgs) -> Result<()> {
    let manifest = std::fs::read_to_string(args.model.join(Manifest::FILE))?;
    let manifest: Manifest = toml::from_str(&manifest)?;
    let spec = manifest.pipeline.context("the bundle has no pipeline")?;
    let input = spec.inputs.first().context("the pipeline has no inputs")?;
    let signature = Signature {
        inputs: vec![tensor(&input.name, &[Dim::Any, Dim::Any])],
        outputs: Vec::new(),
    };
    // What it makes of the outputs is not measured.
    let before = tidegate_core::PipelineSpec {
        after: Vec::new(),
        response: Vec::new(),
        ..spec.clone()
    };
    let pipeline = Pipeline::compile(&before, &BundleFiles::new(), &signature)?;
    let body = std::fs::read(&args.body)?;
    let (mut rows, mut best) = (0, Duration::MAX);
    let end = Instant::now() + Duration::from_secs(args.seconds);
    while Instant::now() < end {
        let begin = Instant::now();
        let run = pipeline.before(pipeline.read(&body)?)?;
        best = best.min(begin.elapsed());
        rows = run.rows();
    }
    let figures = Figures {
        rows,
        us_per_row: best.as_secs_f64() * 1e6 / rows as f64,
    };
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

fn tensor(name: &str, dims: &[Dim]) -> TensorSpec {
    TensorSpec {
        name: name.to_owned(),
        datatype: DataType::Fp32,
        dims: Some(dims.to_vec()),
        optional: false,
    }
}
