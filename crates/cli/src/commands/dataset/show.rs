//! Data sets on the terminal.

use anyhow::Result;
use tidegate_datasets::{DatasetDiff, DatasetRecord};

use crate::output::{bytes, print_json, print_line, print_table, timestamp};

/// Columns that are named, at most.
const MAX_COLUMNS: usize = 200;

pub(super) fn print_list(records: &[DatasetRecord], json: bool) -> Result<()> {
    if json {
        return Ok(print_json(&records)?);
    }
    let header = ["DATA SET", "ROWS", "LABELS", "SIZE", "MADE", "DIGEST"];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(records.iter().map(|record| {
        let manifest = &record.manifest;
        [
            record.reference(),
            manifest.rows.to_string(),
            manifest.labels.to_string(),
            bytes(manifest.bytes),
            timestamp(record.created_ms),
            manifest.digest.chars().take(12).collect(),
        ]
    }));
    print_table(&rows);
    Ok(())
}

pub(super) fn print(record: &DatasetRecord, json: bool) -> Result<()> {
    if json {
        return Ok(print_json(record)?);
    }
    for (label, value) in facts(record) {
        print_line!("{label:<14}{value}");
    }
    for column in record.manifest.columns.iter().take(MAX_COLUMNS) {
        print_line!("{:<14}{} {}", "column", column.name, column.r#type);
    }
    Ok(())
}

fn facts(record: &DatasetRecord) -> Vec<(&'static str, String)> {
    let manifest = &record.manifest;
    let (lineage, query) = (&manifest.lineage, &manifest.lineage.query);
    let deleted = record.deleted_ms.map(|at_ms| ("deleted", timestamp(at_ms)));
    let made = format!("{} by {}", timestamp(record.created_ms), record.created_by);
    let (from, to) = (moment(query.from_ms), moment(query.to_ms));
    let files = &lineage.captured_files;
    let mut facts = vec![
        ("data set", record.reference()),
        ("digest", format!("sha256:{}", manifest.digest)),
        ("rows", manifest.rows.to_string()),
        (
            "labels",
            format!("{} ({})", manifest.labels, manifest.label.name()),
        ),
        ("size", bytes(manifest.bytes)),
        ("made", made),
        ("endpoint", query.endpoint.clone()),
        ("versions", lineage.versions.join(", ")),
        ("from", from),
        ("to", to),
        (
            "made from",
            format!("{files} captured files, sha256:{}", lineage.captures_digest),
        ),
        ("redaction", lineage.redaction.to_string()),
        ("folder", lineage.place.clone()),
    ];
    facts.extend(deleted);
    for (label, count) in [
        ("unanswered", lineage.unanswered),
        ("unusable", lineage.unusable_labels),
    ] {
        facts.extend((count > 0).then(|| (label, count.to_string())));
    }
    let left_out = &lineage.left_out_columns;
    facts.extend((!left_out.is_empty()).then(|| ("left out", left_out.join(", "))));
    facts
}

fn moment(at_ms: u64) -> String {
    timestamp(i64::try_from(at_ms).unwrap_or(i64::MAX))
}

pub(super) fn print_diff(diff: &DatasetDiff, json: bool) -> Result<()> {
    if json {
        return Ok(print_json(diff)?);
    }
    if diff.same_content {
        print_line!("the content is the same");
    }
    for change in diff.changes.iter().chain(&diff.changed_columns) {
        print_line!("{}: {} -> {}", change.name, change.from, change.to);
    }
    for column in &diff.added_columns {
        print_line!("+ {} {}", column.name, column.r#type);
    }
    for column in &diff.removed_columns {
        print_line!("- {} {}", column.name, column.r#type);
    }
    Ok(())
}
