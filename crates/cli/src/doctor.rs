//! `tidegate doctor`: the checklist of an incident, held against a running server.
//!
//! A server is looked at twice, with a pause between, so that what grows is told from what once
//! was. Each file of [`checks`] makes [`Finding`]s of one part of what was seen; none of them asks
//! anything itself.

mod checks;
mod exam;
mod finding;
mod report;

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use self::exam::Exam;
use self::finding::Severity;
use self::report::Report;
use crate::ask::Asker;

/// Nothing is amiss.
const HEALTHY: u8 = 0;
/// A warning or worse was found.
const FINDINGS: u8 = 1;
/// The server could not be asked.
const UNSEEN: u8 = 2;

/// Go through the checklist of an incident on a running server: what is wrong, and what to do next
///
/// Exit status: 0 if nothing is wrong, 1 if a warning or something critical was found, 2 if the
/// server could not be asked.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The server to ask
    #[arg(
        long,
        visible_alias = "url",
        value_name = "URL",
        default_value = "http://127.0.0.1:8000"
    )]
    server: String,
    /// How far back changes and alerts are looked at, in hours
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=720))]
    hours: u64,
    /// How long what grows is watched, in seconds
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=600))]
    watch: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Looks, and says what it found.
pub(crate) fn run(args: &Doctor) -> Result<ExitCode> {
    let (findings, status) = match examine(args) {
        Ok(exam) => {
            let findings = checks::run(&exam);
            let is_healthy = findings
                .iter()
                .all(|finding| finding.severity < Severity::Warning);
            (findings, if is_healthy { HEALTHY } else { FINDINGS })
        }
        Err(error) => (vec![checks::unseen(&args.server, &error)], UNSEEN),
    };
    let report = Report {
        server: &args.server,
        findings,
    };
    if args.json {
        println!("{}", report.to_json(status));
    } else {
        print!("{}", report.to_text());
    }
    Ok(ExitCode::from(status))
}

fn examine(args: &Doctor) -> Result<Exam> {
    let asker = Asker::new(&args.server);
    let before = asker.figures()?;
    sleep(Duration::from_secs(args.watch));
    let look = asker.look()?;
    Ok(Exam {
        server: args.server.clone(),
        look,
        before,
        watch_s: args.watch as f64,
        hours: args.hours,
    })
}
