//! What a graph of models adds to the runs of its nodes, in one process and on one thread.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use serde::Serialize;
use tidegate_core::{EngineChoice, Shape, Tensor};
use tidegate_engines::Engines;
use tidegate_serving::{
    InProcess, InferRequest, MetricRegistry, Models, Serving, Target, Version, Work,
};

/// Nodes of the graph that is measured.
const NODES: usize = 5;

/// What to measure.
#[derive(Args)]
pub(crate) struct GraphArgs {
    /// A model with an input and an output of the same shape, both FP64 [-1, 2], named `x` and `y`
    #[arg(long, value_name = "FILE")]
    node: PathBuf,
    /// For how long
    #[arg(long, default_value_t = 4)]
    seconds: u64,
}

/// Medians of many requests of one row, as JSON.
#[derive(Serialize)]
struct Figures {
    nodes: usize,
    /// One run of a node through the queue of its model, in microseconds.
    node_us: f64,
    /// One request of the graph, in microseconds.
    graph_us: f64,
    /// What the graph adds to its nodes, in microseconds.
    added_us: f64,
}

/// Times requests of a graph of five nodes and runs of its node, in turn.
pub(crate) fn run(args: &GraphArgs) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("tidegate-bench-graph-{}", std::process::id()));
    write(&folder, &args.node)?;
    let outcome = measure(&folder, Duration::from_secs(args.seconds));
    std::fs::remove_dir_all(&folder)?;
    println!("{}", serde_json::to_string(&outcome?)?);
    Ok(())
}

fn write(folder: &Path, node: &Path) -> Result<()> {
    std::fs::create_dir_all(folder.join("node"))?;
    std::fs::create_dir_all(folder.join("flow"))?;
    std::fs::copy(node, folder.join("node/model.onnx"))?;
    std::fs::write(folder.join("flow/model.toml"), MANIFEST)?;
    Ok(())
}

/// One node, three side by side, their mean, and one node.
const MANIFEST: &str = r#"
signature.inputs = [{ name = "x", datatype = "FP64", shape = [-1, 2] }]
signature.outputs = [{ name = "y", datatype = "FP64", shape = [-1, 2] }]
[graph]
nodes = [
    { name = "a", model = "node", inputs = { x = "x" }, outputs = { y = "t" } },
    { name = "b", model = "node", inputs = { x = "t" }, outputs = { y = "one" } },
    { name = "c", model = "node", inputs = { x = "t" }, outputs = { y = "two" } },
    { name = "d", model = "node", inputs = { x = "t" }, outputs = { y = "three" } },
    { name = "e", model = "node", inputs = { x = "all" }, outputs = { y = "y" } },
]
merges = [{ tensor = "all", merge = "mean", of = ["one", "two", "three"] }]
"#;

fn measure(folder: &Path, time: Duration) -> Result<Figures> {
    let registry = MetricRegistry::new();
    let library = std::env::var_os("TIDEGATE_ONNXRUNTIME").map(PathBuf::from);
    let engines = Engines::discover(library.as_deref(), EngineChoice::Auto);
    let serving = Serving::new(Models::new(vec![folder.to_owned()], engines, &registry));
    let report = serving.models().load_all();
    if let Some((name, problem)) = report.failed.first() {
        return Err(anyhow!("{name}: {problem}"));
    }
    let node = serving.models().version("node", None)?;
    let row = Tensor::from_vec(Shape::new(&[1, 2])?, vec![1f64, 2.0])?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    let end = Instant::now() + time;
    while Instant::now() < end {
        let begun = Instant::now();
        runtime.block_on(run_node(&node, &row))?;
        alone.push(begun.elapsed());
        let begun = Instant::now();
        runtime.block_on(run_graph(&serving, &row))?;
        together.push(begun.elapsed());
        // As a server does it twenty times a second.
        serving.metrics().observations().drain();
    }
    let (node_us, graph_us) = (median_us(alone)?, median_us(together)?);
    Ok(Figures {
        nodes: NODES,
        node_us,
        graph_us,
        added_us: graph_us - NODES as f64 * node_us,
    })
}

async fn run_node(version: &Version, row: &Tensor) -> Result<()> {
    let work = Work {
        inputs: vec![Some(row.clone())],
        rows: 1,
        deadline: None,
        level: 1,
        runs_alone: false,
        share: Default::default(),
    };
    version.scheduler().submit(work).await?;
    Ok(())
}

async fn run_graph(serving: &Serving, row: &Tensor) -> Result<()> {
    let target = Target {
        endpoint: "flow".to_owned(),
        version: None,
    };
    let request = InferRequest {
        inputs: vec![("x".to_owned(), row.clone())],
        ..InferRequest::default()
    };
    serving.answer(InProcess::new(target, request)).await?;
    Ok(())
}

fn median_us(mut times: Vec<Duration>) -> Result<f64> {
    times.sort_unstable();
    let middle = times.get(times.len() / 2).context("nothing was measured")?;
    Ok(middle.as_secs_f64() * 1e6)
}
