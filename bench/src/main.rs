//! Baselines and measuring programs: what a server costs is only known next to one that does
//! nothing.
//!
//! `cargo xtask bench` starts these and Tidegate in turn and measures them with the same client.

mod callgrind;
mod counted;
mod echo;
mod graphs;
mod grpc_echo;
mod listen;
mod naive;
mod records;
mod runtime;
mod sequence;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bare baselines to measure Tidegate against.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    baseline: Baseline,
}

#[derive(Subcommand)]
enum Baseline {
    /// An axum server that reads a body whole and answers a fixed body
    Echo {
        /// What it answers
        #[arg(long, value_name = "FILE")]
        answer: PathBuf,
        /// The answer's content type
        #[arg(long, default_value = "application/json")]
        content_type: String,
    },
    /// A tonic server that decodes a `ModelInferRequest` and answers a fixed `ModelInferResponse`
    GrpcEcho {
        /// Bytes of raw output in the answer
        #[arg(long, default_value_t = 48)]
        output_bytes: usize,
        /// Numbers in a row of the input that it says it has
        #[arg(long, default_value_t = 64)]
        columns: i64,
    },
    /// An inference server as one would first write it: axum, `serde_json`, ONNX Runtime behind a
    /// lock
    Naive {
        /// The model
        #[arg(long, value_name = "FILE")]
        model: PathBuf,
    },
    /// Tidegate over a model, to be run under callgrind
    Counted {
        /// The model's folder
        #[arg(long, value_name = "FOLDER")]
        model: PathBuf,
    },
    /// Time ONNX Runtime alone, and through Tidegate's scheduler in the same process
    Runtime(runtime::RuntimeArgs),
    /// Time the steps of a pipeline before its model, without a server
    Records(records::RecordsArgs),
    /// Time what a step of a sequence adds to a request, in the same process
    Sequence(sequence::SequenceArgs),
    /// Time what a graph of models adds to its nodes, without a server
    Graph(graphs::GraphArgs),
}

fn main() -> anyhow::Result<()> {
    match Args::parse().baseline {
        Baseline::Echo {
            answer,
            content_type,
        } => echo::run(&answer, &content_type),
        Baseline::GrpcEcho {
            output_bytes,
            columns,
        } => grpc_echo::run(output_bytes, columns),
        Baseline::Naive { model } => naive::run(&model),
        Baseline::Counted { model } => counted::run(&model),
        Baseline::Runtime(args) => runtime::run(&args),
        Baseline::Records(args) => records::run(&args),
        Baseline::Sequence(args) => sequence::run(&args),
        Baseline::Graph(args) => graphs::run(&args),
    }
}
