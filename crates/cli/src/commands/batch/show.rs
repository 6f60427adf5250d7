//! `tidegate batch show` and `tidegate batch list`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};
use tidegate_batch::JobStatus;

use super::args::{ListArgs, ShowArgs};
use super::jobs;
use crate::output::{print_json, print_line, print_table};
use crate::registry_access::RegistryAccess;

pub(super) fn show(args: &ShowArgs) -> Result<ExitCode> {
    let access = RegistryAccess::new(&args.location)?;
    let output = jobs::find(&access, &args.job)?;
    let status = JobStatus::read(output.clone())?;
    if args.json {
        print_json(&as_json(&output, &status))?;
        return Ok(ExitCode::SUCCESS);
    }
    let spec = &status.spec;
    print_line!("output      {}", output.display());
    print_line!("model       {}", spec.reference);
    print_line!("version     {} ({})", spec.version, spec.digest);
    for input in &spec.inputs {
        print_line!("input       {input}");
    }
    print_line!("state       {}", state(&status));
    print_line!("rows        {}", status.rows);
    print_line!("scored      {}", status.scored_rows);
    print_line!("quarantined {}", status.quarantined_rows);
    print_line!("units       {} of {} done", status.units_done, status.units);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn list(args: &ListArgs) -> Result<ExitCode> {
    let access = RegistryAccess::new(&args.location)?;
    let mut rows = vec![["JOB", "VERSION", "STATE", "ROWS", "OUTPUT"].map(str::to_owned)];
    let mut listed = Vec::new();
    for job in jobs::all(&access)? {
        // The folder of a job may be gone, or on a disk that is not mounted now.
        let status = JobStatus::read(job.output.clone());
        let (version, state, done) = match &status {
            Ok(status) => (
                status.spec.version.clone(),
                state(status),
                format!(
                    "{} of {}",
                    status.scored_rows + status.quarantined_rows,
                    status.rows
                ),
            ),
            Err(_) => ("-".to_owned(), "unknown", "-".to_owned()),
        };
        let output = job.output.display().to_string();
        listed.push(json!({
            "job": job.id, "version": version, "state": state, "output": output,
        }));
        rows.push([job.id, version, state.to_owned(), done, output]);
    }
    match args.json {
        true => print_json(&listed)?,
        false => print_table(&rows),
    }
    Ok(ExitCode::SUCCESS)
}

fn state(status: &JobStatus) -> &'static str {
    match status.manifest {
        Some(_) => "complete",
        None => "incomplete",
    }
}

fn as_json(output: &Path, status: &JobStatus) -> Value {
    json!({
        "output": output,
        "spec": status.spec,
        "state": state(status),
        "rows": status.rows,
        "scored_rows": status.scored_rows,
        "quarantined_rows": status.quarantined_rows,
        "units": status.units,
        "units_done": status.units_done,
    })
}
