//! `tidegate`: model inference in production, one binary.
//!
//! [`commands`] lists the commands. What several of them need lies beside it and depends on none of
//! them: [`config`], [`client`] (asking a running server), [`options`], and [`output`], through
//! which everything is printed.

// Text from elsewhere must not reach a terminal as it is; `output` escapes it.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod alias_followers;
mod allocator;
mod bundle_checks;
mod bundles;
mod client;
mod commands;
mod config;
mod contexts;
mod engines;
mod environment;
mod logging;
mod options;
mod output;
mod registry_access;
mod rows;

use std::ffi::OsStr;
use std::io;
use std::process::ExitCode;

use clap::Parser;
use tidegate_serving::CHILD_COMMAND;

use crate::commands::CommandLine;
use crate::output::{eprint_line, eprint_text, printable, printable_lines};

fn main() -> ExitCode {
    // A server starts itself with this argument. It is no command for people.
    if std::env::args_os().nth(1).as_deref() == Some(CHILD_COMMAND.as_ref()) {
        return tidegate_serving::run_child();
    }
    let command = match CommandLine::try_parse() {
        Ok(command) => command,
        Err(error) => return explain(&error),
    };
    let status = match command.run() {
        Ok(status) => status,
        // The reader of a pipe has seen enough, as in `tidegate predict … | head`.
        Err(error) if output::is_closed() && is_io_error(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // All causes on one line, so that scripts and log searches find them together.
            eprint_text(&describe(&error));
            ExitCode::FAILURE
        }
    };
    output::finish(status)
}

/// Prints the help, the version, or what is wrong with the arguments.
fn explain(error: &clap::Error) -> ExitCode {
    // Such as the name of a file from elsewhere. Clap would repeat it as it is.
    match std::env::args_os().find_map(|argument| with_control_characters(&argument)) {
        Some(argument) => eprint_line!("error: wrong arguments, including {argument}"),
        // With colours, on a terminal. Nobody may read it.
        None => drop(error.print()),
    }
    // Of clap: 0 for help and version, 2 for wrong arguments.
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
}

/// The argument in printable form, if it is not printable itself.
fn with_control_characters(argument: &OsStr) -> Option<String> {
    let argument = argument.to_string_lossy();
    let shown = printable(&argument);
    (shown != argument).then_some(shown)
}

/// The error with its causes in one line. Messages about a TOML file show a part of it below.
fn describe(error: &anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().map(describe_cause).collect();
    let code = registry_code(error);
    format!("error: {}{code}\n", causes.join(": ").trim_end())
}

fn describe_cause(cause: &(dyn std::error::Error + 'static)) -> String {
    let text = cause.to_string();
    if cause.is::<config::FileError>() || cause.is::<toml::de::Error>() {
        return printable_lines(&text).into_owned();
    }
    printable(text.trim_end())
}

fn is_io_error(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.is::<io::Error>() || cause.is::<csv::Error>())
}

/// The stable code of an error of the registry, for scripts.
fn registry_code(error: &anyhow::Error) -> String {
    match error.downcast_ref::<tidegate_registry::Error>() {
        Some(error) => format!(" [{}]", error.code.name()),
        None => String::new(),
    }
}
