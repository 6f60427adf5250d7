//! `tidegate`: model inference in production, one binary.
//!
//! [`commands`] lists the commands. What several of them need lies beside it and depends on none of
//! them: [`config`], [`client`] (asking a running server), [`options`], [`output`].

mod allocator;
mod bundle_checks;
mod bundles;
mod client;
mod commands;
mod config;
mod engines;
mod environment;
mod logging;
mod options;
mod output;
mod registry_access;
mod rows;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use crate::commands::CommandLine;

fn main() -> ExitCode {
    match CommandLine::parse().run() {
        Ok(code) => code,
        // The reader of a pipe has seen enough, as in `tidegate predict … | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // All causes on one line, so that scripts and log searches find them together.
            eprintln!("error: {error:#}{}", registry_code(&error));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// The stable code of an error of the registry, for scripts.
fn registry_code(error: &anyhow::Error) -> String {
    match error.downcast_ref::<tidegate_registry::Error>() {
        Some(error) => format!(" [{}]", error.code.name()),
        None => String::new(),
    }
}
