//! `tidegate completions`.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, CommandFactory};

use super::CommandLine;
use crate::output::print_data;

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell to complete for
    shell: clap_complete::Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<ExitCode> {
        let mut command = CommandLine::command();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "tidegate", &mut script);
        print_data(&String::from_utf8(script)?);
        Ok(ExitCode::SUCCESS)
    }
}
