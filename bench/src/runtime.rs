//! The engine alone, and through the scheduler of the same process: what the way of a request adds.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use hdrhistogram::Histogram;
use ort::environment::Environment;
use ort::session::{Session, SessionInputs};
use serde::Serialize;
use tidegate_core::{EngineChoice, Shape, Tensor};
use tidegate_engines::{Engines, ONNX_RUNTIME};
use tidegate_serving::{InProcess, InferRequest, MetricRegistry, Models, Serving, Target};

/// What to time.
#[derive(Args)]
pub(crate) struct RuntimeArgs {
    /// The model: one FP32 input with a batch axis
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Rows per run
    #[arg(long, value_delimiter = ',', default_value = "1,32,128")]
    rows: Vec<usize>,
    /// Threads that run at once, each with a session of its own
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Threads inside one run
    #[arg(long, default_value_t = 1)]
    intra_op_threads: usize,
    /// How long each figure is measured
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Time Tidegate, from the decoded request to the answer, in place of the engine alone
    #[arg(long)]
    submit: bool,
}

/// A figure as a line of JSON.
#[derive(Serialize)]
struct Figure {
    what: &'static str,
    rows: usize,
    threads: usize,
    p50_us: f64,
    p99_us: f64,
    rows_per_second: f64,
}

/// Prints a line of JSON for each figure.
pub(crate) fn run(args: &RuntimeArgs) -> Result<()> {
    let time = Duration::from_secs_f64(args.seconds);
    if args.submit {
        return Loaded::new(&args.model)?.run(&args.rows, time);
    }
    let mut sessions = sessions(&args.model, args.threads, args.intra_op_threads)?;
    let input = sessions
        .first()
        .and_then(|session| session.inputs().first())
        .context("the model has no input")?;
    let extents = input
        .dtype()
        .tensor_shape()
        .context("the input is no tensor")?
        .to_vec();
    for rows in &args.rows {
        let inner = extents
            .iter()
            .skip(1)
            .map(|extent| usize::try_from(*extent).unwrap_or(1));
        let shape: Vec<usize> = std::iter::once(*rows).chain(inner).collect();
        let figure = time_runs(&mut sessions, &shape, time)?;
        println!("{}", serde_json::to_string(&figure)?);
    }
    Ok(())
}

/// Sessions over the library that `TIDEGATE_ONNXRUNTIME` names, as `cargo xtask bench` sets it.
pub(crate) fn sessions(
    model: &Path,
    count: usize,
    intra_op_threads: usize,
) -> Result<Vec<Session>> {
    let library = std::env::var_os("TIDEGATE_ONNXRUNTIME")
        .context("TIDEGATE_ONNXRUNTIME names no library")?;
    let environment = ort::init_from(library)?.with_telemetry(false).build()?;
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(session(&environment, model, intra_op_threads)?);
    }
    Ok(sessions)
}

fn session(
    environment: &Environment,
    model: &Path,
    intra_op_threads: usize,
) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_intra_threads(intra_op_threads)?
        .with_intra_op_spinning(false)?
        .commit_from_file(model)
}

/// `session.run` in as many threads as there are sessions.
fn time_runs(sessions: &mut [Session], shape: &[usize], time: Duration) -> Result<Figure> {
    let threads = sessions.len();
    let values = vec![0.5f32; shape.iter().product()];
    let stop = AtomicBool::new(false);
    let runs = AtomicU64::new(0);
    let started = Instant::now();
    let shape_wire: Vec<i64> = shape.iter().map(|extent| *extent as i64).collect();
    let histograms: Result<Vec<Histogram<u64>>> = std::thread::scope(|scope| {
        let workers: Vec<_> = sessions
            .iter_mut()
            .map(|session| {
                let (stop, runs, shape, values) = (&stop, &runs, &shape_wire, values.as_slice());
                scope.spawn(move || -> Result<Histogram<u64>> {
                    let mut histogram = Histogram::new(3)?;
                    while !stop.load(Ordering::Relaxed) {
                        let begun = Instant::now();
                        let value =
                            ort::value::TensorRef::from_array_view((shape.clone(), values))?;
                        drop(session.run(SessionInputs::ValueArray([value.into()]))?);
                        histogram.record(begun.elapsed().as_nanos() as u64)?;
                        runs.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(histogram)
                })
            })
            .collect();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .map_err(|_| anyhow::anyhow!("a run panicked"))?
            })
            .collect()
    });
    let elapsed = started.elapsed();
    let mut all = Histogram::new(3)?;
    for histogram in histograms? {
        all.add(histogram)?;
    }
    let rows_per_second = (runs.into_inner() as usize * shape[0]) as f64 / elapsed.as_secs_f64();
    Ok(figure(
        "session.run",
        shape[0],
        threads,
        &all,
        rows_per_second,
    ))
}

fn figure(
    what: &'static str,
    rows: usize,
    threads: usize,
    histogram: &Histogram<u64>,
    rows_per_second: f64,
) -> Figure {
    Figure {
        what,
        rows,
        threads,
        p50_us: quantile_us(histogram, 0.5),
        p99_us: quantile_us(histogram, 0.99),
        rows_per_second,
    }
}

/// Histograms hold nanoseconds.
fn quantile_us(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}

/// A model as `tidegate serve` loads it.
struct Loaded {
    serving: Serving,
    model: String,
}

impl Loaded {
    fn new(model: &Path) -> Result<Self> {
        let engines = Engines::discover(None, EngineChoice::from(ONNX_RUNTIME));
        let models = Models::new(vec![model.to_owned()], engines, &MetricRegistry::new());
        let report = models.load_all();
        let name = report
            .ready
            .first()
            .with_context(|| format!("the model does not load: {:?}", report.failed))?;
        Ok(Self {
            model: name.clone(),
            serving: Serving::new(models),
        })
    }

    fn run(&self, rows: &[usize], time: Duration) -> Result<()> {
        let version = self.serving.models().version(&self.model, None)?;
        let spec = version
            .signature()
            .inputs
            .first()
            .context("the model has no input")?;
        for rows in rows {
            let inner = spec
                .dims
                .iter()
                .flatten()
                .skip(1)
                .map(|dim| usize::try_from(dim.to_wire()).unwrap_or(1));
            let shape: Vec<usize> = std::iter::once(*rows).chain(inner).collect();
            let figure = self.time_submits(&spec.name, &Shape::new(&shape)?, time)?;
            println!("{}", serde_json::to_string(&figure)?);
        }
        Ok(())
    }

    /// One request after the other, as on an idle server.
    fn time_submits(&self, input: &str, shape: &Shape, time: Duration) -> Result<Figure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let tensor = Tensor::from_vec(shape.clone(), vec![0.5f32; shape.element_count()])?;
        let mut histogram = Histogram::new(3)?;
        let started = Instant::now();
        runtime.block_on(async {
            while started.elapsed() < time {
                let begun = Instant::now();
                let target = Target {
                    endpoint: self.model.clone(),
                    version: None,
                };
                let request = InferRequest {
                    inputs: vec![(input.to_owned(), tensor.clone())],
                    ..InferRequest::default()
                };
                let exchange = InProcess::new(target, request);
                self.serving.answer(exchange).await?;
                histogram.record(begun.elapsed().as_nanos() as u64)?;
            }
            anyhow::Ok(())
        })?;
        let rows_per_second =
            (histogram.len() as usize * shape[0]) as f64 / started.elapsed().as_secs_f64();
        Ok(figure("tidegate", shape[0], 1, &histogram, rows_per_second))
    }
}
