//! `tidegate rollback`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::alias_followers::AliasFollowers;
use crate::options::RegistryLocation;
use crate::output::print_line;
use crate::registry_access::{RegistryAccess, block_on};

/// Point an alias back at the version that it pointed at before
#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The model
    #[arg(value_name = "MODEL")]
    model: String,
    /// The alias to roll back
    #[arg(long, default_value = "champion")]
    alias: String,
    #[command(flatten)]
    location: RegistryLocation,
}

impl Rollback {
    pub(super) fn run(self) -> Result<ExitCode> {
        block_on(self.roll_back()).map(|()| ExitCode::SUCCESS)
    }

    async fn roll_back(self) -> Result<()> {
        let Self { model, alias, .. } = &self;
        let registry = RegistryAccess::new(&self.location)?.open().await?;
        let name = model.parse()?;
        // Before the move: a server may follow it before this command looks again.
        let followers = match registry.alias_history(&name, alias).await?.version {
            Some(from) => Some(AliasFollowers::before_move(&registry, model, from).await?),
            None => None,
        };
        let (from, to) = registry.rollback(&name, alias).await?;
        print_line!("{model}@{alias} -> {model}:{to} (was {model}:{from})");
        if let Some(followers) = followers {
            followers.report(&registry, to).await;
        }
        registry.close().await;
        Ok(())
    }
}
