//! `tidegate batch run --explain`.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;
use tidegate_batch::{Explanation, Job};

use super::args::Resources;
use super::progress::seconds;
use super::run::threads;
use crate::output::{counted, print_json, print_line, print_table};

/// Prints what a job would do.
pub(super) fn print(job: &Job, resources: &Resources) -> Result<ExitCode> {
    let explanation = job.explain()?;
    let threads = threads(resources);
    if resources.json {
        print_json(&as_json(&explanation, threads))?;
        return Ok(ExitCode::SUCCESS);
    }
    print_line!("version   {}", explanation.version);
    print_line!("digest    {}", explanation.digest);
    print_line!(
        "batches   up to {}",
        counted(explanation.batch_rows as u64, "row")
    );
    print_line!(
        "input     {} in {}, {}",
        counted(explanation.rows, "row"),
        counted(explanation.files as u64, "file"),
        counted(explanation.units as u64, "unit")
    );
    if let Some(sample) = &explanation.sample {
        let expected = sample.expected(explanation.rows, threads).as_secs_f64();
        print_line!(
            "estimate  {} on {}, by a sample of {}, of which {} had no prediction",
            seconds(expected),
            counted(threads as u64, "thread"),
            counted(sample.rows, "row"),
            sample.bad
        );
    }
    print_line!("");
    print_line!("binding");
    print_pairs(&explanation.binding);
    print_line!("");
    print_line!("output");
    print_pairs(&explanation.output);
    Ok(ExitCode::SUCCESS)
}

fn print_pairs(pairs: &[(String, String)]) {
    let rows: Vec<[String; 2]> = pairs
        .iter()
        .map(|(name, value)| [format!("  {name}"), value.clone()])
        .collect();
    print_table(&rows);
}

fn as_json(explanation: &Explanation, threads: usize) -> serde_json::Value {
    let sample = explanation.sample.as_ref();
    json!({
        "version": explanation.version,
        "digest": explanation.digest,
        "batch_rows": explanation.batch_rows,
        "files": explanation.files,
        "rows": explanation.rows,
        "units": explanation.units,
        "threads": threads,
        "estimated_seconds": sample
            .map(|sample| sample.expected(explanation.rows, threads).as_secs_f64()),
        "sample_rows": sample.map(|sample| sample.rows),
        "binding": explanation.binding,
        "output": explanation.output,
    })
}
