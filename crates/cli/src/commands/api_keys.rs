//! `tidegate api-keys`.

mod listing;
mod remote;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use tidegate_gateway::{ChangedBy, GrantConfig, KeyRequest, LastAdminKey, Role};
use tidegate_server::ListedKey;
use tidegate_store::Store;

use crate::environment::actor;
use crate::options::{ChosenPlace, Place, period, period_or_zero};
use crate::output::{eprint_line, print_line};
use crate::registry_access::{RegistryAccess, block_on};

/// Manage the API keys of callers
///
/// With --url, and after `tidegate login` also without it, these commands ask a server, which needs a
/// key that permits it, and gives nobody more than the owner of that key has. Otherwise, and with
/// --data or --config, they write to the database directly, so the first key can be created before a
/// server runs; servers with auth.enabled = true see each change within a second.
#[derive(Debug, Args)]
pub(super) struct ApiKeys {
    #[command(subcommand)]
    command: ApiKeysCommand,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Subcommand)]
enum ApiKeysCommand {
    /// Create a key, and print it: it is shown only once
    Create(Create),
    /// List keys
    List(List),
    /// Replace a key by a new one, and print the new key; the old key stays valid for some time
    Rotate(Rotate),
    /// Revoke a key: servers refuse it within a second
    Revoke {
        /// The key's name
        #[arg(value_name = "NAME")]
        name: String,
        /// Also the last key that can manage keys
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// The key's name: who or what uses it
    #[arg(value_name = "NAME")]
    name: String,
    /// What the key permits: viewer, caller, deployer, operator or admin
    #[arg(long)]
    role: Role,
    /// The endpoints and models: names, `fraud*` for names that begin with fraud, or KIND:NAME
    /// [default: everything]
    #[arg(
        long,
        value_name = "RESOURCE",
        default_value = "*",
        hide_default_value = true
    )]
    on: Vec<String>,
    /// The tenant that the key belongs to
    #[arg(
        long,
        value_name = "TENANT",
        default_value = "",
        hide_default_value = true
    )]
    tenant: String,
    /// How long the key is valid, such as 12h or 90d [default: until it is revoked]
    #[arg(long, value_name = "PERIOD", value_parser = period)]
    expires: Option<Duration>,
}

#[derive(Debug, Args)]
struct List {
    /// Also list expired and revoked keys
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Rotate {
    /// The key's name
    #[arg(value_name = "NAME")]
    name: String,
    /// How long the earlier key stays valid, such as 30m or 24h; 0s ends it at once
    #[arg(long, value_name = "PERIOD", default_value = "24h", value_parser = period_or_zero)]
    overlap: Duration,
}

impl ApiKeys {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self.place.choose(RegistryAccess::keys_database)? {
            ChosenPlace::Server(url) => remote::run(&url, self.command)?,
            ChosenPlace::Database(access) => block_on(run(&access, self.command))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn run(access: &RegistryAccess, command: ApiKeysCommand) -> Result<()> {
    let store = Store::open(&access.keys_database()).await?;
    let keys = tidegate_gateway::ApiKeys::new(store);
    let actor = actor();
    let by = ChangedBy::Operator(&actor);
    match command {
        ApiKeysCommand::Create(create) => {
            let key = keys.create(by, &request(create)).await?;
            show_once(key.reveal());
        }
        ApiKeysCommand::Rotate(rotate) => {
            let key = keys.rotate(by, &rotate.name, rotate.overlap).await?;
            show_once(key.reveal());
        }
        ApiKeysCommand::Revoke { name, force } => {
            let has_others = access.config.auth.has_other_key_managers();
            let last_admin = LastAdminKey::of(force, has_others);
            keys.revoke(by, &name, last_admin).await?;
            print_line!("{name} is revoked");
        }
        ApiKeysCommand::List(list) => {
            let keys = keys.list().await?;
            listing::print(keys.into_iter().map(ListedKey::from).collect(), &list)?;
        }
    }
    keys.store().close().await;
    Ok(())
}

fn request(create: Create) -> KeyRequest {
    let grant = GrantConfig {
        role: create.role,
        resources: create.on,
    };
    KeyRequest {
        name: create.name,
        tenant: create.tenant,
        grants: vec![grant],
        valid_for: create.expires,
    }
}

/// The key alone on standard output, for scripts.
fn show_once(key: &str) {
    print_line!("{key}");
    eprint_line!("keep it now: it cannot be shown again");
}
