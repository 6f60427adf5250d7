//! `tidegate registry`: the subcommands that inspect and maintain the registry.

mod alias;
mod args;
mod diff;
mod events;
mod fetch;
mod list;
mod maintenance;
mod show;
mod transfer;

use std::process::ExitCode;

use anyhow::Result;

pub(super) use self::args::Registry;
use self::args::RegistryCommand;
use crate::registry_access::{RegistryAccess, block_on};

impl Registry {
    pub(super) fn run(self) -> Result<ExitCode> {
        block_on(run(self))
    }
}

async fn run(args: Registry) -> Result<ExitCode> {
    let registry = RegistryAccess::new(&args.location)?.open().await?;
    let outcome = match args.command {
        RegistryCommand::List(args) => list::list(&registry, &args).await,
        RegistryCommand::Show(args) => show::show(&registry, &args).await,
        RegistryCommand::Diff(args) => diff::diff(&registry, &args).await,
        RegistryCommand::Events(args) => events::events(&registry, &args).await,
        RegistryCommand::Alias { command } => alias::alias(&registry, command).await,
        RegistryCommand::Fetch(args) => fetch::fetch(&registry, &args).await,
        RegistryCommand::Deprecate(args) => maintenance::deprecate(&registry, &args).await,
        RegistryCommand::Delete(args) => maintenance::delete(&registry, &args).await,
        // Its exit status depends on what it finds, so it closes the registry itself.
        RegistryCommand::Verify => return maintenance::verify(&registry).await,
        RegistryCommand::Gc(args) => maintenance::gc(&registry, &args).await,
        RegistryCommand::Export(args) => transfer::export(&registry, &args).await,
        // Boxed: it holds a whole manifest, of which there is only one.
        RegistryCommand::Import(args) => Box::pin(transfer::import(&registry, &args)).await,
    };
    // Also after an error: closing folds SQLite's log into the database file.
    registry.close().await;
    outcome.map(|()| ExitCode::SUCCESS)
}
