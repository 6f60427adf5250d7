//! `tidegate models`.

use anyhow::{Context, Result, bail};
use tidegate_engines::Engines;
use tidegate_serving::scan;

use crate::args::Models;
use crate::ask::{self, IndexEntry};
use crate::inspect;
use crate::registry::print_table;

/// Lists models.
pub(crate) fn run(args: &Models) -> Result<()> {
    if args.paths.is_empty() {
        print_table(&of_server(&args.url)?)
    } else {
        print_table(&of_paths(args)?)
    }
    Ok(())
}

fn of_server(url: &str) -> Result<Vec<[String; 6]>> {
    let target = ask::target(url, "/v2/repository/index");
    let mut response = ask::asked(&target, ureq::post(&target).send_empty())?;
    let entries: Vec<IndexEntry> = response
        .body_mut()
        .read_json()
        .context("the answer is no model index")?;
    let mut rows = vec![
        [
            "MODEL",
            "VERSION",
            "STATE",
            "ANSWERS AS",
            "MEMORY",
            "REASON",
        ]
        .map(str::to_owned),
    ];
    rows.extend(entries.into_iter().map(|entry| {
        let state = entry
            .stage
            .map_or(entry.state, |stage| stage.to_uppercase());
        let default = entry.default.then(|| "default".to_owned());
        let names: Vec<String> = default.into_iter().chain(entry.aliases).collect();
        let memory = entry
            .memory_bytes
            .map_or_else(String::new, |bytes| format!("{:.1} MB", bytes as f64 / 1e6));
        [
            entry.name,
            entry.version,
            state,
            names.join(","),
            memory,
            entry.reason,
        ]
    }));
    Ok(rows)
}

fn of_paths(args: &Models) -> Result<Vec<[String; 4]>> {
    let mut rows = vec![["MODEL", "VERSION", "STATE", "INPUTS"].map(str::to_owned)];
    for path in &args.paths {
        for (name, plans) in scan(path)? {
            for plan in plans {
                let (state, more) = match Engines::summarize(&plan.artifact) {
                    Err(problem) => ("UNREADABLE", problem.to_string()),
                    Ok(summary) => match summary.signature {
                        Ok(signature) => {
                            let inputs: Vec<String> =
                                signature.inputs.iter().map(inspect::tensor).collect();
                            ("FOUND", inputs.join(", "))
                        }
                        Err(problem) => ("FOUND", problem),
                    },
                };
                rows.push([
                    name.clone(),
                    plan.number.to_string(),
                    state.to_owned(),
                    more,
                ]);
            }
        }
    }
    if rows.len() == 1 {
        bail!("no models were found");
    }
    Ok(rows)
}
