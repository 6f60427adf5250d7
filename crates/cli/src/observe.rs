//! `tidegate observe`: what Prometheus, Grafana and OpenSLO are told of a server.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde::Serialize;
use tidegate_observe::{Objective, RuleOptions, Slo, dashboards, openslo, rules};

use crate::args::Serve;
use crate::{ask, config};

#[derive(Debug, Subcommand)]
pub(crate) enum ObserveCommand {
    /// Recording and alert rules for Prometheus: those of the objectives, and those that every
    /// server should have
    Rules(Rules),
    /// The three dashboards for Grafana: executive, on-call, debug
    Dashboards(Dashboards),
    /// The objectives as documents of OpenSLO v1
    Export(Export),
    /// The objectives of documents of OpenSLO v1, as sections for tidegate.toml
    Import(Import),
}

#[derive(Debug, Args)]
pub(crate) struct Source {
    /// The configuration file with the objectives
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
    /// A running server with the objectives: those of its configuration and those that were set
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The job under which Prometheus scrapes the servers
    #[arg(long, default_value = "tidegate")]
    job: String,
}

#[derive(Debug, Args)]
pub(crate) struct Rules {
    #[command(flatten)]
    source: Source,
    /// Where the runbooks are; /NAME.md is appended
    #[arg(long, value_name = "URL")]
    runbooks: Option<String>,
    /// How much memory a server may take, for an alert when it nears that
    #[arg(long, value_name = "BYTES")]
    memory_limit: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Dashboards {
    /// The job under which Prometheus scrapes the servers
    #[arg(long, default_value = "tidegate")]
    job: String,
    /// The folder to write them to; it is made if it is not there
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The documents
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The job that their queries name
    #[arg(long, default_value = "tidegate")]
    job: String,
}

/// Writes what is asked for.
pub(crate) fn run(command: ObserveCommand) -> Result<()> {
    match command {
        ObserveCommand::Rules(args) => {
            let standard = RuleOptions::default();
            let options = RuleOptions {
                job: args.source.job.clone(),
                runbook_base: args.runbooks.unwrap_or(standard.runbook_base),
                memory_limit_bytes: args.memory_limit,
            };
            print!("{}", rules(&args.source.slos()?, &options).to_yaml()?);
        }
        ObserveCommand::Dashboards(args) => {
            let fail = |path: &Path| format!("cannot write {}", path.display());
            std::fs::create_dir_all(&args.out).with_context(|| fail(&args.out))?;
            for dashboard in dashboards(&args.job) {
                let path = args.out.join(format!("{}.json", dashboard.name));
                std::fs::write(&path, format!("{:#}\n", dashboard.to_json()))
                    .with_context(|| fail(&path))?;
                println!("{}", path.display());
            }
        }
        ObserveCommand::Export(args) => print!(
            "{}",
            openslo::export(&args.source.slos()?, &args.source.job)?
        ),
        ObserveCommand::Import(args) => {
            let text = std::fs::read_to_string(&args.file);
            let text = text.with_context(|| format!("cannot read {}", args.file.display()))?;
            print!(
                "{}",
                toml::to_string(&Sections {
                    slo: openslo::import(&text, &args.job)?
                })?
            );
        }
    }
    Ok(())
}

/// Objectives as they stand in tidegate.toml.
#[derive(Serialize)]
struct Sections {
    slo: Vec<Objective>,
}

impl Source {
    fn slos(&self) -> Result<Vec<Slo>> {
        if let Some(url) = &self.url {
            let answer = ask::get(url, "/api/slos")?;
            let objectives: Vec<ask::Objective> =
                serde_json::from_str(&answer).context("the answer is no list of objectives")?;
            let objectives = objectives
                .iter()
                .map(ask::Objective::written)
                .collect::<Result<Vec<_>>>()?;
            return Ok(Objective::parse_all(&objectives)?);
        }
        let flags = Serve {
            config: self.config.clone(),
            ..Serve::default()
        };
        Ok(Objective::parse_all(
            &config::load(&flags, std::env::vars())?.slo,
        )?)
    }
}
