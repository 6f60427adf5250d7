//! `tidegate doctor`: the checklist of an incident, on a running server.
//!
//! Takes the metrics of a server twice, with a pause between, so that counters which grow now can be
//! told from those that grew some day. Each file of [`checks`] makes [`Finding`]s of one part of the
//! [`CheckContext`]; none of them asks the server itself.

mod checks;
mod context;
mod finding;
mod next_commands;
mod report;

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use self::context::CheckContext;
use self::finding::{Finding, Severity};
use self::next_commands::NextCommands;
use self::report::Report;
use crate::client::ServerClient;
use crate::options::ServerUrl;
use crate::output::{print_json_text, print_text};

/// No warning was found.
const EXIT_HEALTHY: u8 = 0;
/// A warning or worse was found.
const EXIT_FINDINGS: u8 = 1;
/// The server could not be reached.
const EXIT_UNREACHABLE: u8 = 2;

/// Check a running server: what is wrong, and what to do next
///
/// Exit status: 0 if nothing is wrong, 1 if there is a warning or something critical, 2 if the
/// server cannot be reached.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    server: ServerUrl,
    /// How many hours of changes and alerts to check
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=720))]
    hours: u64,
    /// For how many seconds to watch counters
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=600))]
    watch: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(self) -> Result<ExitCode> {
        let url = self.server.url()?;
        let commands = NextCommands::new(&url, &self.server);
        let (findings, status) = match self.watch_server(&url, commands.clone()) {
            Ok(context) => with_status(checks::run(&context)),
            Err(error) => (
                vec![checks::unreachable_server(&commands, &error)],
                EXIT_UNREACHABLE,
            ),
        };
        let report = Report {
            server: &url,
            findings,
        };
        if self.json {
            print_json_text(&report.to_json(status));
        } else {
            print_text(&report.to_text());
        }
        Ok(ExitCode::from(status))
    }

    fn watch_server(&self, url: &str, commands: NextCommands) -> Result<CheckContext> {
        let client = ServerClient::new(url)?;
        // Metrics alone are enough for the first reading, and take the server less time than a
        // snapshot.
        let before = client.metrics()?;
        sleep(Duration::from_secs(self.watch));
        Ok(CheckContext {
            commands,
            snapshot: client.snapshot()?,
            before,
            watch_s: self.watch as f64,
            hours: self.hours,
        })
    }
}

/// Findings with the exit status that they lead to.
fn with_status(findings: Vec<Finding>) -> (Vec<Finding>, u8) {
    let is_healthy = findings
        .iter()
        .all(|finding| finding.severity < Severity::Warning);
    (
        findings,
        if is_healthy {
            EXIT_HEALTHY
        } else {
            EXIT_FINDINGS
        },
    )
}
