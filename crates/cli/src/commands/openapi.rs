//! `tidegate openapi`.

use std::process::ExitCode;

use crate::output::print_json_text;
use anyhow::Result;
use clap::Args;

/// Print the OpenAPI description of the REST interface
#[derive(Debug, Args)]
pub(super) struct Openapi {}

impl Openapi {
    pub(super) fn run(self) -> Result<ExitCode> {
        print_json_text(&tidegate_server::openapi().to_pretty_json()?);
        Ok(ExitCode::SUCCESS)
    }
}
