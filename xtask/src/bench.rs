//! The benchmarks: Tidegate beside bare baselines, in the same run, with the same client.
//!
//! Every comparison runs in rounds that take the contestants in turn, each round in the reverse
//! order of the one before, and quotes the median of the rounds' ratios: a machine that others use
//! drifts, and absolute figures say little.

mod batching;
mod bundle;
mod client;
mod compute;
mod contestant;
mod fairness;
mod gateway;
mod graphs;
mod group;
mod grpc;
mod http;
mod instructions;
mod load;
mod loadgen;
mod machine;
mod many;
mod memory;
mod neighbour;
mod observing;
mod overload;
mod peers;
mod pipelines;
mod plots;
mod quality;
mod registry;
mod report;
mod rounds;
mod runtime;
mod sequences;
mod slow_clients;
mod start;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

pub(crate) use self::start::resident_mb;
use crate::{cargo, root, setup, succeed, target};

/// What the benchmarks can be told.
#[derive(Args)]
pub(crate) struct BenchArgs {
    /// What to measure: http, instructions, grpc, loadgen, runtime, start, compute, many, batching,
    /// overload, neighbour, observing, gateway, quality, slow-clients, fairness, pipelines, sequences, graphs,
    /// registry, memory, peers; all but batching, fairness, memory and peers, which take long or fetch
    /// models, if none is named
    #[arg(value_name = "GROUP")]
    groups: Vec<String>,
    /// Rounds of each comparison; odd numbers have a middle one
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that each contestant is measured in each round
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Write the figures to bench/results and docs/benchmarks.md, and draw the plots anew
    #[arg(long)]
    record: bool,
    /// Only draw the plots of what was recorded; measure nothing
    #[arg(long)]
    plots: bool,
}

/// The environment variable that names a binary to measure in place of a release build.
const BINARY: &str = "TIDEGATE_BIN";

/// The server and its command line, where a group takes another one than a release build.
fn binary() -> PathBuf {
    std::env::var_os(BINARY).map_or_else(|| target().join("release/tidegate"), PathBuf::from)
}

/// How long and how often to measure.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    seconds: u64,
}

type Group = (&'static str, fn(Effort) -> Result<report::Section>);

const GROUPS: [Group; 22] = [
    ("http", http::run),
    ("instructions", instructions::run),
    ("grpc", grpc::run),
    ("loadgen", loadgen::run),
    ("runtime", runtime::run),
    ("start", start::run),
    ("compute", compute::run),
    ("many", many::run),
    ("batching", batching::run),
    ("overload", overload::run),
    ("neighbour", neighbour::run),
    ("observing", observing::run),
    ("gateway", gateway::run),
    ("quality", quality::run),
    ("slow-clients", slow_clients::run),
    ("fairness", fairness::run),
    ("pipelines", pipelines::run),
    ("sequences", sequences::run),
    ("graphs", graphs::run),
    ("registry", registry::run),
    ("memory", memory::run),
    ("peers", peers::run),
];

/// Groups that run only when they are named: they take long, or fetch models from PyPI.
const NAMED_ONLY: [&str; 4] = ["batching", "fairness", "memory", "peers"];

/// Groups that need no more than the programs of `bench/`.
const BENCH_ONLY: [&str; 4] = ["instructions", "runtime", "sequences", "graphs"];

/// Sets up, builds, measures, and prints or records the figures.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    if args.plots {
        return plots::draw(&root());
    }
    for name in &args.groups {
        if !GROUPS.iter().any(|(known, _)| known == name) {
            bail!(
                "there is no group \"{name}\", there are {}",
                GROUPS.map(|(known, _)| known).join(", ")
            );
        }
    }
    setup::run(false)?;
    setup::bench()?;
    build(&args.groups)?;
    let effort = Effort {
        rounds: args.rounds.max(1),
        seconds: args.seconds.max(1),
    };
    for (name, measure) in GROUPS {
        let by_default = args.groups.is_empty() && !NAMED_ONLY.contains(&name);
        if by_default || args.groups.iter().any(|wanted| wanted == name) {
            let section = measure(effort)?;
            print!("\n{}", section.markdown());
            if args.record {
                report::record(&root(), name, &section)?;
            }
        }
    }
    if args.record {
        plots::draw(&root())
    } else {
        Ok(())
    }
}

/// Builds what is measured; of both packages even where only one program is, as they share features
/// of dependencies.
fn build(groups: &[String]) -> Result<()> {
    if std::env::var_os(BINARY).is_some() {
        return Ok(());
    }
    let mut build = cargo(&[
        "build",
        "--release",
        "--quiet",
        "--package",
        "tidegate",
        "--package",
        "tidegate-bench",
    ]);
    if !groups.is_empty()
        && groups
            .iter()
            .all(|group| BENCH_ONLY.contains(&group.as_str()))
    {
        build.args(["--bin", "tidegate-bench"]);
    }
    succeed(&mut build)
}

/// The value in the middle; of an even number of values the lower of the two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values
        .get(values.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(f64::NAN)
}
