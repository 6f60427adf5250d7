//! `tidegate api-keys`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;
use tidegate_gateway::{GrantConfig, KeyRequest, NewApiKey, Role, is_valid};
use tidegate_store::{ApiKey, Store, now_ms};

use crate::environment::actor;
use crate::options::{RegistryLocation, period};
use crate::output::{eprint_line, print_json_text, print_line, print_table, timestamp};
use crate::registry_access::{RegistryAccess, block_on};

/// Manage the API keys of callers
///
/// These commands write to the database directly, so the first key can be created before a server
/// runs. Servers with auth.enabled = true see each change within a second.
#[derive(Debug, Args)]
pub(super) struct ApiKeys {
    #[command(subcommand)]
    command: ApiKeysCommand,
    #[command(flatten)]
    location: RegistryLocation,
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
    /// How long the earlier key stays valid, such as 30m or 24h
    #[arg(long, value_name = "PERIOD", default_value = "24h", value_parser = period)]
    overlap: Duration,
}

impl ApiKeys {
    pub(super) fn run(self) -> Result<ExitCode> {
        block_on(run(self)).map(|()| ExitCode::SUCCESS)
    }
}

async fn run(args: ApiKeys) -> Result<()> {
    let access = RegistryAccess::new(&args.location)?;
    let store = Store::open(&access.keys_database()).await?;
    let keys = tidegate_gateway::ApiKeys::new(store);
    match args.command {
        ApiKeysCommand::Create(create) => {
            let request = request(create);
            show_once(&keys.create(&actor(), &request).await?);
        }
        ApiKeysCommand::Rotate(rotate) => {
            let key = keys.rotate(&actor(), &rotate.name, rotate.overlap).await?;
            show_once(&key);
        }
        ApiKeysCommand::Revoke { name } => {
            keys.revoke(&actor(), &name).await?;
            print_line!("{name} is revoked");
        }
        ApiKeysCommand::List(list) => show_list(keys.list().await?, &list),
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
fn show_once(key: &NewApiKey) {
    print_line!("{}", key.reveal());
    eprint_line!("keep it now: it cannot be shown again");
}

fn show_list(mut keys: Vec<ApiKey>, list: &List) {
    let now_ms = now_ms();
    if !list.all {
        keys.retain(|key| is_valid(key, now_ms));
    }
    if list.json {
        let keys: Vec<_> = keys.iter().map(|key| as_json(key, now_ms)).collect();
        print_json_text(&json!(keys).to_string());
        return;
    }
    if keys.is_empty() {
        print_line!("no API keys: create one with `tidegate api-keys create`");
        return;
    }
    let header = [
        "NAME",
        "KEY",
        "TENANT",
        "ROLES",
        "STATE",
        "EXPIRES",
        "LAST USED",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(keys.iter().map(|key| row(key, now_ms)));
    print_table(&rows);
}

fn row(key: &ApiKey, now_ms: i64) -> [String; 7] {
    [
        key.name.clone(),
        format!("{}…", key.hint),
        key.tenant.clone(),
        roles(key),
        state(key, now_ms).to_owned(),
        key.expires_ms.map_or_else(|| "never".to_owned(), timestamp),
        key.last_used_ms
            .map_or_else(|| "never".to_owned(), timestamp),
    ]
}

fn state(key: &ApiKey, now_ms: i64) -> &'static str {
    match key.revoked_ms {
        Some(_) => "revoked",
        None if is_valid(key, now_ms) => "valid",
        None => "expired",
    }
}

fn roles(key: &ApiKey) -> String {
    let grants: Vec<GrantConfig> = serde_json::from_value(key.grants.clone()).unwrap_or_default();
    let roles: Vec<String> = grants
        .iter()
        .map(|grant| format!("{} on {}", grant.role, grant.resources.join(", ")))
        .collect();
    roles.join("; ")
}

fn as_json(key: &ApiKey, now_ms: i64) -> serde_json::Value {
    json!({
        "id": key.id,
        "name": key.name,
        "hint": key.hint,
        "tenant": key.tenant,
        "grants": key.grants,
        "state": state(key, now_ms),
        "created_ms": key.created_ms,
        "created_by": key.created_by,
        "expires_ms": key.expires_ms,
        "revoked_ms": key.revoked_ms,
        "last_used_ms": key.last_used_ms,
    })
}
