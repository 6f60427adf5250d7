//! `tidegate batch`: scores tables with a version, exactly once.

mod args;
mod explain;
mod jobs;
mod load;
mod progress;
mod run;
mod show;

use std::process::ExitCode;

use anyhow::Result;

pub(super) use self::args::Batch;
use self::args::BatchCommand;

impl Batch {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self.command {
            BatchCommand::Run(args) => run::run(*args),
            BatchCommand::Resume(args) => run::resume(args),
            BatchCommand::Show(args) => show::show(&args),
            BatchCommand::List(args) => show::list(&args),
        }
    }
}
