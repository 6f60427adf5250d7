//! The audit log of a server that is asked over HTTP.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use tidegate_server::AuditPage;
use tidegate_store::{AuditAnchor, AuditCheck, AuditReport};

use super::args::{AuditCommand, Export, List, Verify};
use super::{named_anchors, print_report, print_rows};
use crate::client;

/// Most rows of one answer.
const PAGE: i64 = 250;
/// Rows may be removed from the front while the log is read; then it is read again.
const MAX_ATTEMPTS: usize = 3;

pub(super) fn run(url: &str, command: AuditCommand) -> Result<ExitCode> {
    match command {
        AuditCommand::List(args) => list(url, &args).map(|()| ExitCode::SUCCESS),
        AuditCommand::Export(args) => export(url, &args).map(|()| ExitCode::SUCCESS),
        AuditCommand::Verify(args) => verify(url, &args),
    }
}

fn list(url: &str, args: &List) -> Result<()> {
    if args.limit > PAGE {
        bail!("a server lists at most {PAGE} rows: `tidegate audit export` prints all");
    }
    let mut query = format!("limit={}", args.limit);
    for (name, value) in [
        ("actor", &args.actor),
        ("action", &args.action),
        ("resource", &args.resource),
    ] {
        if let Some(value) = value {
            query.push_str(&format!("&{name}={}", encoded(value)));
        }
    }
    let since_ms = args.since_ms(tidegate_store::now_ms())?;
    if since_ms != 0 {
        query.push_str(&format!("&since_ms={since_ms}"));
    }
    print_rows(&page(url, &query)?.rows, args.json)
}

fn export(url: &str, args: &Export) -> Result<()> {
    let mut next = Some(args.from);
    while let Some(from) = next {
        let page = rows_from(url, from)?;
        print_rows(&page.rows, true)?;
        next = following(&page);
    }
    Ok(())
}

/// Checks the chain here: a server could say anything of its own log.
fn verify(url: &str, args: &Verify) -> Result<ExitCode> {
    let anchors = named_anchors(args)?;
    let mut attempt = 1;
    let report = loop {
        let (report, is_same_front) = check(url, &anchors)?;
        if is_same_front || attempt == MAX_ATTEMPTS {
            break report;
        }
        attempt += 1;
    };
    print_report(&report, &anchors);
    Ok(match report.problems.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// What a check finds, and whether no rows were removed meanwhile.
fn check(url: &str, anchors: &[AuditAnchor]) -> Result<(AuditReport, bool)> {
    // From the smallest number: one below 1 is wrong too.
    let first = rows_from(url, i64::MIN)?;
    let mut check = AuditCheck::after(first.removed.clone(), anchors);
    let mut last = first.clone();
    loop {
        for row in &last.rows {
            check.record(row);
        }
        match following(&last) {
            Some(from) => last = rows_from(url, from)?,
            None => return Ok((check.finish(), last.removed == first.removed)),
        }
    }
}

/// The number that the next page begins at, if there may be one.
fn following(page: &AuditPage) -> Option<i64> {
    let last = page.rows.last()?;
    (page.rows.len() as i64 == PAGE).then(|| last.number.saturating_add(1))
}

fn rows_from(url: &str, from: i64) -> Result<AuditPage> {
    page(url, &format!("from={from}&limit={PAGE}"))
}

fn page(url: &str, query: &str) -> Result<AuditPage> {
    let text = client::get(url, &format!("/api/audit?{query}"))?;
    serde_json::from_str(&text).context("the response is not a page of an audit log")
}

/// A value of a query.
fn encoded(value: &str) -> String {
    let mut encoded = String::new();
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_query_are_escaped() {
        assert_eq!(encoded("key:a b&é"), "key%3Aa%20b%26%C3%A9");
    }
}
