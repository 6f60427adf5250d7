//! `tidegate models`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use tidegate_core::Signature;
use tidegate_engines::Engines;
use tidegate_serving::{VersionPlan, compile_graph, scan};

use crate::client::{self, IndexEntry};
use crate::options::ServerUrl;
use crate::output::{print_table, tensor};

/// List the models of a running server, or those found under paths
#[derive(Debug, Args)]
pub(super) struct Models {
    /// Where to look for models; without a path, list the models of a running server
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    server: ServerUrl,
}

impl Models {
    pub(super) fn run(self) -> Result<ExitCode> {
        if self.paths.is_empty() {
            print_table(&served(&self.server.url()?)?);
        } else {
            print_table(&found(&self.paths)?);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The models of a server.
fn served(url: &str) -> Result<Vec<[String; 6]>> {
    let text = client::post(url, "/v2/repository/index")?;
    let entries: Vec<IndexEntry> =
        serde_json::from_str(&text).context("the response is not a list of models")?;
    let header = ["MODEL", "VERSION", "STATE", "ALIASES", "MEMORY", "REASON"];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(entries.into_iter().map(served_row));
    Ok(rows)
}

fn served_row(entry: IndexEntry) -> [String; 6] {
    let mut aliases = entry.aliases;
    if entry.default {
        aliases.insert(0, "default".to_owned());
    }
    let memory = match entry.memory_bytes {
        Some(bytes) => format!("{:.1} MB", bytes as f64 / 1e6),
        None => String::new(),
    };
    [
        entry.name,
        entry.version,
        entry
            .stage
            .map_or(entry.state, |stage| stage.to_uppercase()),
        aliases.join(","),
        memory,
        entry.reason,
    ]
}

/// The models under paths.
fn found(paths: &[PathBuf]) -> Result<Vec<[String; 4]>> {
    let mut rows = vec![["MODEL", "VERSION", "STATE", "INPUTS"].map(str::to_owned)];
    for path in paths {
        rows.extend(found_under(path)?);
    }
    // The header is always there.
    if rows.len() == 1 {
        bail!("no models found");
    }
    Ok(rows)
}

fn found_under(path: &Path) -> Result<Vec<[String; 4]>> {
    let mut rows = Vec::new();
    for (name, plans) in scan(path)? {
        for plan in plans {
            let (state, inputs) = state_and_inputs(&plan);
            let version = plan.number.to_string();
            rows.push([name.clone(), version, state.to_owned(), inputs]);
        }
    }
    Ok(rows)
}

/// The inputs of a model, or the problem with them.
fn state_and_inputs(plan: &VersionPlan) -> (&'static str, String) {
    if let Some(remote) = &plan.manifest.remote {
        return ("REMOTE", remote.endpoints.join(", "));
    }
    if plan.is_graph() {
        return match compile_graph(plan) {
            Ok(compiled) => {
                let signature = compiled.map(|(_, signature)| signature).unwrap_or_default();
                ("GRAPH", inputs(&signature))
            }
            Err(problem) => ("UNREADABLE", problem),
        };
    }
    let summary = match Engines::summarize(&plan.artifact) {
        Ok(summary) => summary,
        Err(problem) => return ("UNREADABLE", problem.to_string()),
    };
    match summary.signature {
        Ok(signature) => ("FOUND", inputs(&signature)),
        Err(problem) => ("FOUND", problem),
    }
}

fn inputs(signature: &Signature) -> String {
    let inputs: Vec<String> = signature.inputs.iter().map(tensor).collect();
    inputs.join(", ")
}
