//! `tidegate audit`.

mod args;
mod remote;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use tidegate_gateway::AuditAnchors;
use tidegate_store::{AuditAnchor, AuditFilter, AuditRecord, AuditReport, OpenOptions, Store};

pub(super) use self::args::Audit;
use self::args::{AuditCommand, Export, List, Verify};
use crate::options::ChosenPlace;
use crate::output::{counted, print_line, printable, timestamp};
use crate::registry_access::{RegistryAccess, block_on};

/// Rows that are read at once.
const PAGE: i64 = 1000;

impl Audit {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self.place.choose(RegistryAccess::audit_database)? {
            ChosenPlace::Server(url) => remote::run(&url, self.command),
            ChosenPlace::Database(access) => block_on(run(&access, self.command)),
        }
    }
}

async fn run(access: &RegistryAccess, command: AuditCommand) -> Result<ExitCode> {
    let options = OpenOptions {
        // A mistyped path must not look like an empty log.
        must_exist: true,
        ..OpenOptions::default()
    };
    let store = Store::open_with(&access.audit_database(), options).await?;
    let outcome = match command {
        AuditCommand::List(args) => list(&store, &args).await.map(|()| ExitCode::SUCCESS),
        AuditCommand::Export(args) => export(&store, &args).await.map(|()| ExitCode::SUCCESS),
        AuditCommand::Verify(args) => verify(&store, &args, access.data()).await,
    };
    store.close().await;
    outcome
}

async fn list(store: &Store, args: &List) -> Result<()> {
    let filter = AuditFilter {
        actor: args.actor.clone().unwrap_or_default(),
        tenant: String::new(),
        action: args.action.clone().unwrap_or_default(),
        resource: args.resource.clone().unwrap_or_default(),
        since_ms: args.since_ms(tidegate_store::now_ms())?,
    };
    print_rows(&store.audit(&filter, args.limit).await?, args.json)
}

fn print_rows(rows: &[AuditRecord], as_json: bool) -> Result<()> {
    for record in rows {
        match as_json {
            true => print_line!("{}", serde_json::to_string(record)?),
            false => print_line!("{}", described(record)),
        }
    }
    Ok(())
}

/// A row for people: `17 2026-03-01T12:00:00Z key:ci model.load model fraud ok from 10.0.0.7`.
fn described(record: &AuditRecord) -> String {
    let entry = &record.entry;
    let mut line = format!(
        "{} {} {} {}",
        record.number,
        timestamp(record.at_ms),
        entry.actor,
        entry.action
    );
    for part in [
        &entry.resource_kind,
        &entry.resource,
        &entry.result,
        &entry.code,
    ] {
        if !part.is_empty() {
            line.push(' ');
            line.push_str(part);
        }
    }
    if entry.occurrences > 1 {
        line.push_str(&format!(" {} times", entry.occurrences));
    }
    if !entry.source.is_empty() {
        line.push_str(&format!(" from {}", entry.source));
    }
    for (word, state) in [
        ("before", &entry.state_before),
        ("after", &entry.state_after),
    ] {
        if !state.is_empty() {
            line.push_str(&format!(" {word} {state}"));
        }
    }
    printable(&line)
}

async fn export(store: &Store, args: &Export) -> Result<()> {
    let mut from = args.from;
    loop {
        let records = store.audit_from(from, PAGE).await?;
        print_rows(&records, true)?;
        match records.last() {
            Some(last) if records.len() as i64 == PAGE => from = last.number.saturating_add(1),
            _ => return Ok(()),
        }
    }
}

async fn verify(store: &Store, args: &Verify, data: &Path) -> Result<ExitCode> {
    let own = AuditAnchors::in_folder(data);
    let mut anchors = read(&own)?;
    anchors.extend(named_anchors(args)?);
    let report = store.verify_audit(&anchors).await?;
    print_report(&report, &anchors);
    if !report.problems.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    // What was found whole today must still be there at the next check.
    if report.head.number > 0
        && let Err(error) = own.append(&report.head)
    {
        print_line!(
            "warning  {} cannot be written: {error}",
            own.path().display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The anchors of the files that the options name.
fn named_anchors(args: &Verify) -> Result<Vec<AuditAnchor>> {
    let mut anchors = Vec::new();
    for path in &args.anchor {
        // A file that is named must be there.
        std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        anchors.extend(read(&AuditAnchors::at(path.clone()))?);
    }
    Ok(anchors)
}

fn read(anchors: &AuditAnchors) -> Result<Vec<AuditAnchor>> {
    let path = anchors.path().display();
    anchors
        .read()
        .with_context(|| format!("cannot read the anchors in {path}"))
}

fn print_report(report: &AuditReport, anchors: &[AuditAnchor]) {
    for problem in &report.problems {
        print_line!("row {}: {}", problem.number, problem.what);
    }
    let rows = counted(report.rows, "row");
    let known = counted(anchors.len() as u64, "anchor");
    let outcome = match report.problems.is_empty() {
        true => "whole",
        false => "NOT whole",
    };
    print_line!(
        "{outcome}: {rows}, {known}, newest row {}",
        report.head.number
    );
    if report.removed.number > 0 {
        print_line!(
            "rows up to {} were removed by retention",
            report.removed.number
        );
    }
    if anchors.is_empty() {
        print_line!("no anchor is known: rows missing at the end are not found");
    }
}
