//! `tidegate context`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use super::login::no_context;
use crate::contexts::Contexts;
use crate::output::{print_line, print_table};

/// List the servers that you are logged in to, and choose one
#[derive(Debug, Args)]
pub(super) struct Context {
    #[command(subcommand)]
    command: ContextCommand,
}

#[derive(Debug, Subcommand)]
enum ContextCommand {
    /// List the contexts
    List,
    /// Use another context from now on
    Use {
        /// The context
        #[arg(value_name = "NAME")]
        name: String,
    },
}

impl Context {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self.command {
            ContextCommand::List => list(&Contexts::read()?),
            ContextCommand::Use { name } => choose(name)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(contexts: &Contexts) {
    if contexts.named.is_empty() {
        print_line!("no contexts: `tidegate login --url URL` makes one");
        return;
    }
    let mut rows = vec![["CURRENT", "NAME", "URL"].map(str::to_owned)];
    for (name, context) in &contexts.named {
        let is_current = contexts.current.as_ref() == Some(name);
        let mark = if is_current { "*" } else { "" };
        rows.push([mark.to_owned(), name.clone(), context.url.clone()]);
    }
    print_table(&rows);
}

fn choose(name: String) -> Result<()> {
    Contexts::change(|contexts| {
        if !contexts.named.contains_key(&name) {
            bail!(no_context(&name));
        }
        contexts.current = Some(name);
        Ok(())
    })
}
