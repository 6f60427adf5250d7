//! `tidegate models`.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tidegate_engines::Engines;
use tidegate_serving::scan;

use crate::args::Models;
use crate::inspect;

#[derive(Deserialize)]
struct IndexEntry {
    name: String,
    #[serde(default)]
    version: String,
    state: String,
    #[serde(default)]
    reason: String,
}

/// Lists models.
pub(crate) fn run(args: &Models) -> Result<()> {
    let rows = if args.paths.is_empty() { of_server(&args.url)? } else { of_paths(args)? };
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    for [name, version, state, more] in &rows {
        let line = format!("{name:<0$}  {version:<1$}  {state:<2$}  {more}", widths[0], widths[1], widths[2]);
        println!("{}", line.trim_end());
    }
    Ok(())
}

fn header(more: &str) -> [String; 4] {
    ["MODEL", "VERSION", "STATE", more].map(str::to_owned)
}

fn of_server(url: &str) -> Result<Vec<[String; 4]>> {
    let target = format!("{}/v2/repository/index", url.trim_end_matches('/'));
    let mut response = ureq::post(&target)
        .send_empty()
        .with_context(|| format!("cannot ask {target}: is the server running? (--url names another one)"))?;
    let entries: Vec<IndexEntry> = response.body_mut().read_json().context("the answer is no model index")?;
    let mut rows = vec![header("REASON")];
    rows.extend(entries.into_iter().map(|entry| [entry.name, entry.version, entry.state, entry.reason]));
    Ok(rows)
}

fn of_paths(args: &Models) -> Result<Vec<[String; 4]>> {
    let mut rows = vec![header("INPUTS")];
    for path in &args.paths {
        for (name, plans) in scan(path)? {
            for plan in plans {
                let (state, more) = match Engines::summarize(&plan.artifact) {
                    Err(problem) => ("UNREADABLE", problem.to_string()),
                    Ok(summary) => match summary.signature {
                        Ok(signature) => {
                            let inputs: Vec<String> = signature.inputs.iter().map(inspect::tensor).collect();
                            ("FOUND", inputs.join(", "))
                        }
                        Err(problem) => ("FOUND", problem),
                    },
                };
                rows.push([name.clone(), plan.number.to_string(), state.to_owned(), more]);
            }
        }
    }
    if rows.len() == 1 {
        bail!("no models were found");
    }
    Ok(rows)
}
