//! `tidegate api`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::client;
use crate::options::ServerUrl;
use crate::output::print_data;

/// Ask a path of a server's API, with the key and the authority that other commands use
#[derive(Debug, Args)]
pub(super) struct Api {
    /// The path with its query, such as /api/events?limit=10
    #[arg(value_name = "PATH")]
    path: String,
    /// Send an empty POST, such as for /v2/repository/models/NAME/load
    #[arg(long)]
    post: bool,
    #[command(flatten)]
    server: ServerUrl,
}

impl Api {
    pub(super) fn run(self) -> Result<ExitCode> {
        let url = self.server.url()?;
        if !self.path.starts_with('/') {
            bail!("the path must begin with /, such as /api/events");
        }
        let body = match self.post {
            true => client::post(&url, &self.path)?,
            false => client::get(&url, &self.path)?,
        };
        print_data(&body);
        if !body.ends_with('\n') {
            print_data("\n");
        }
        Ok(ExitCode::SUCCESS)
    }
}
