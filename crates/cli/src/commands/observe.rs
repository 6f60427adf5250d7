//! `tidegate observe`: files for Prometheus, Grafana and OpenSLO.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde::Serialize;
use tidegate_observe::{Objective, RuleOptions, Slo, dashboards, openslo, rules};

use crate::options::server_url;
use crate::output::{print_data, print_line};
use crate::{client, config};

/// Generate Prometheus rules, Grafana dashboards and OpenSLO documents
#[derive(Debug, Args)]
pub(super) struct Observe {
    #[command(subcommand)]
    command: ObserveCommand,
}

#[derive(Debug, Subcommand)]
enum ObserveCommand {
    /// Print recording and alert rules for Prometheus, for the objectives and for every server
    Rules(Rules),
    /// Write three dashboards for Grafana: executive, on-call, debug
    Dashboards(Dashboards),
    /// Print the objectives as OpenSLO v1 documents
    Export(Export),
    /// Print the objectives of OpenSLO v1 documents as sections for tidegate.toml
    Import(Import),
}

#[derive(Debug, Args)]
struct Source {
    /// The configuration file with the objectives
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
    /// A running server, whose objectives are used: those of its configuration and those set later
    #[arg(long, visible_alias = "server", value_name = "URL", value_parser = server_url)]
    url: Option<String>,
    /// The job under which Prometheus scrapes the servers
    #[arg(long, default_value = "tidegate")]
    job: String,
}

#[derive(Debug, Args)]
struct Rules {
    #[command(flatten)]
    source: Source,
    /// Where the runbooks are; /NAME.md is appended
    #[arg(long, value_name = "URL")]
    runbooks: Option<String>,
    /// The memory limit of a server; adds an alert that fires when a server is close to it
    #[arg(long, value_name = "BYTES")]
    memory_limit: Option<u64>,
}

#[derive(Debug, Args)]
struct Dashboards {
    /// The job under which Prometheus scrapes the servers
    #[arg(long, default_value = "tidegate")]
    job: String,
    /// The folder to write them to; it is created if it does not exist
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct Export {
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Args)]
struct Import {
    /// The file with the documents
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The Prometheus job in their queries
    #[arg(long, default_value = "tidegate")]
    job: String,
}

impl Observe {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self.command {
            ObserveCommand::Rules(args) => print_rules(args)?,
            ObserveCommand::Dashboards(args) => write_dashboards(&args)?,
            ObserveCommand::Export(args) => {
                let documents = openslo::export(&args.source.slos()?, &args.source.job)?;
                print_data(&documents);
            }
            ObserveCommand::Import(args) => print_sections(&args)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print_rules(args: Rules) -> Result<()> {
    let slos = args.source.slos()?;
    let default = RuleOptions::default();
    let options = RuleOptions {
        job: args.source.job,
        runbook_base: args.runbooks.unwrap_or(default.runbook_base),
        memory_limit_bytes: args.memory_limit,
    };
    print_data(&rules(&slos, &options).to_yaml()?);
    Ok(())
}

fn write_dashboards(args: &Dashboards) -> Result<()> {
    let folder = &args.out;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    for dashboard in dashboards(&args.job) {
        let path = folder.join(format!("{}.json", dashboard.name));
        std::fs::write(&path, format!("{:#}\n", dashboard.to_json()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        print_line!("{}", path.display());
    }
    Ok(())
}

fn print_sections(args: &Import) -> Result<()> {
    let text = std::fs::read_to_string(&args.file)
        .with_context(|| format!("cannot read {}", args.file.display()))?;
    let sections = SloSections {
        slo: openslo::import(&text, &args.job)?,
    };
    print_data(&toml::to_string(&sections)?);
    Ok(())
}

/// The objectives of a tidegate.toml.
#[derive(Serialize)]
struct SloSections {
    slo: Vec<Objective>,
}

impl Source {
    fn slos(&self) -> Result<Vec<Slo>> {
        let objectives = match &self.url {
            Some(url) => objectives_of_server(url)?,
            None => config::load(self.config.as_deref(), config::environment())?.slo,
        };
        Ok(Objective::parse_all(&objectives)?)
    }
}

fn objectives_of_server(url: &str) -> Result<Vec<Objective>> {
    let text = client::get(url, "/api/slos")?;
    let objectives: Vec<client::Objective> =
        serde_json::from_str(&text).context("the response is not a list of objectives")?;
    objectives
        .iter()
        .map(client::Objective::to_config)
        .collect()
}
