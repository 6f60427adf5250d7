//! The benchmarks: Tidegate beside bare baselines, in the same run, with the same client.
//!
//! Every comparison runs in rounds that take the contestants in turn, each round in the reverse order of the one before,
//! and quotes the median of the rounds' ratios: a machine that others use drifts, and absolute figures say little.

mod batching;
mod bundle;
mod client;
mod compute;
mod contestant;
mod group;
mod grpc;
mod http;
mod load;
mod loadgen;
mod machine;
mod many;
mod neighbour;
mod observing;
mod overload;
mod peers;
mod registry;
mod report;
mod rounds;
mod runtime;
mod start;

use anyhow::{Result, bail};
use clap::Args;

use crate::{cargo, root, setup, succeed};

/// What the benchmarks can be told.
#[derive(Args)]
pub(crate) struct BenchArgs {
    /// What to measure: http, grpc, loadgen, runtime, start, compute, many, batching, overload, neighbour, observing,
    /// registry, peers; all but batching and peers, which take long, if none is named
    #[arg(value_name = "GROUP")]
    groups: Vec<String>,
    /// Rounds of each comparison; odd numbers have a middle one
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that each contestant is measured in each round
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Write the figures to bench/results and docs/benchmarks.md
    #[arg(long)]
    record: bool,
}

/// How long and how often to measure.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    seconds: u64,
}

type Group = (&'static str, fn(Effort) -> Result<report::Section>);

const GROUPS: [Group; 13] = [
    ("http", http::run),
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
    ("registry", registry::run),
    ("peers", peers::run),
];

/// Groups that run only when they are named: they take long.
const NAMED_ONLY: [&str; 2] = ["batching", "peers"];

/// Sets up, builds, measures, and prints or records the figures.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    for name in &args.groups {
        if !GROUPS.iter().any(|(known, _)| known == name) {
            bail!("there is no group \"{name}\", there are {}", GROUPS.map(|(known, _)| known).join(", "));
        }
    }
    setup::run(false)?;
    setup::bench()?;
    succeed(&mut cargo(&["build", "--release", "--quiet", "--package", "tidegate", "--package", "tidegate-bench"]))?;
    let effort = Effort { rounds: args.rounds.max(1), seconds: args.seconds.max(1) };
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
    Ok(())
}

/// The value in the middle; of an even number of values the lower of the two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}
