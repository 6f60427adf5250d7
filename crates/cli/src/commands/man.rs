//! `tidegate man`: for packages, so it does not show in the help.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};

use super::CommandLine;

/// Write the manual pages of all commands
#[derive(Debug, Args)]
#[command(hide = true)]
pub(super) struct Man {
    /// The folder to write them to; it is created if it does not exist
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Man {
    pub(super) fn run(self) -> Result<ExitCode> {
        let folder = &self.folder;
        std::fs::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(CommandLine::command(), folder))
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}
