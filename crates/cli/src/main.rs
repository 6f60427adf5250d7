//! `tidegate`: model inference in production, one binary.

mod alerts;
mod allocator;
mod args;
mod ask;
mod config;
mod cost;
mod doctor;
mod inspect;
mod leave;
mod load;
mod models;
mod observe;
mod predict;
mod printable;
mod registry;
mod serve;
mod silence;
mod slo;
mod table;
mod top;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Serve(args) => serve::run(args),
        Command::Predict(args) => predict::run(args).map(|()| ExitCode::SUCCESS),
        Command::Load(args) => load::run(&args),
        Command::Models(args) => models::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Inspect(args) => inspect::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Push(args) => registry::push(args),
        Command::Check(args) => registry::check(&args),
        Command::Rollback(args) => registry::rollback(args),
        Command::Registry { command, location } => registry::registry(location, command),
        Command::Keys(args) => registry::keys(args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Slo(args) => slo::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Alerts(args) => alerts::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Cost { command } => cost::run(&command).map(|()| ExitCode::SUCCESS),
        Command::Silence { command } => silence::run(command).map(|()| ExitCode::SUCCESS),
        Command::Observe { command } => observe::run(command).map(|()| ExitCode::SUCCESS),
        Command::Openapi => {
            println!(
                "{}",
                tidegate_server::openapi()
                    .to_pretty_json()
                    .unwrap_or_default()
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Args::command(),
                "tidegate",
                &mut std::io::stdout(),
            );
            Ok(ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        // Whoever read the output has seen enough, as in `tidegate predict … | head`.
        let closed = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::BrokenPipe;
        if error
            .chain()
            .filter_map(|cause| cause.downcast_ref())
            .any(closed)
        {
            return ExitCode::SUCCESS;
        }
        let code = error
            .downcast_ref::<tidegate_registry::Error>()
            .map(|error| error.code.name());
        let code = code.map_or_else(String::new, |code| format!(" [{code}]"));
        eprintln!("error: {error:#}{code}");
        ExitCode::FAILURE
    })
}
