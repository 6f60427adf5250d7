//! The command line of `tidegate audit`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use crate::options::Place;

/// Read and check the audit log: who did what, from where, with what result
///
/// With --url, and after `tidegate login` also without it, a server is asked, which needs a key that
/// may view the log. Otherwise, and with --data or --config, the database is read directly.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    pub(super) command: AuditCommand,
    #[command(flatten)]
    pub(super) place: Place,
}

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// List the newest rows, oldest first
    List(List),
    /// Check that no row was changed, added or removed
    Verify(Verify),
    /// Print all rows with their hashes, one JSON object a line
    Export(Export),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only what this principal did
    #[arg(long)]
    pub(super) actor: Option<String>,
    /// Only this action, such as model.load, or all that begin so, such as model
    #[arg(long)]
    pub(super) action: Option<String>,
    /// Only what was done to the resource of this name
    #[arg(long)]
    pub(super) resource: Option<String>,
    /// Only rows that are no older, such as 30m, 12h or 7d
    #[arg(long, value_name = "AGE")]
    since: Option<String>,
    /// The largest number of rows
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..))]
    pub(super) limit: i64,
    /// Print JSON, one object a line
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// A further file of anchors, such as a copy from another machine
    #[arg(long, value_name = "FILE")]
    pub(super) anchor: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The number of the first row to print
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub(super) from: i64,
}

impl List {
    /// The time before which rows are left out, in milliseconds since 1970.
    pub(super) fn since_ms(&self, now_ms: i64) -> Result<i64> {
        let Some(age) = &self.since else {
            return Ok(0);
        };
        let unit_ms = match age.chars().last() {
            Some('s') => 1000,
            Some('m') => 60_000,
            Some('h') => 3_600_000,
            Some('d') => 86_400_000,
            _ => bail!("--since {age}: write a number and s, m, h or d, such as 12h"),
        };
        let number: i64 = match age[..age.len() - 1].parse() {
            Ok(number) if number >= 0 => number,
            _ => bail!("--since {age}: write a number and s, m, h or d, such as 12h"),
        };
        Ok(now_ms.saturating_sub(number.saturating_mul(unit_ms)))
    }
}
