//! Keys as they are listed, from the database or from a server.

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;
use tidegate_gateway::GrantConfig;
use tidegate_server::ListedKey;
use tidegate_store::now_ms;

use super::List;
use crate::output::{print_json_text, print_line, print_table, timestamp};

/// A key with its state, as it is printed.
#[derive(Serialize)]
struct PrintedKey {
    #[serde(flatten)]
    key: ListedKey,
    state: &'static str,
}

/// Prints keys.
pub(super) fn print(keys: Vec<ListedKey>, list: &List) -> Result<()> {
    let now_ms = now_ms();
    let keys = keys.into_iter().map(|key| PrintedKey {
        state: state_at(&key, now_ms),
        key,
    });
    let mut keys: Vec<PrintedKey> = keys.collect();
    if !list.all {
        keys.retain(|key| key.state == VALID);
    }
    if list.json {
        print_json_text(&serde_json::to_string(&keys)?);
    } else if keys.is_empty() {
        print_line!("no API keys: create one with `tidegate api-keys create`");
    } else {
        print_table(&rows(&keys));
    }
    Ok(())
}

const VALID: &str = "valid";

fn rows(keys: &[PrintedKey]) -> Vec<[String; 7]> {
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
    rows.extend(keys.iter().map(PrintedKey::row));
    rows
}

impl PrintedKey {
    fn row(&self) -> [String; 7] {
        let key = &self.key;
        [
            key.name.clone(),
            format!("{}…", key.hint),
            key.tenant.clone(),
            roles(&key.grants),
            self.state.to_owned(),
            time_or_never(key.expires_ms),
            time_or_never(key.last_used_ms),
        ]
    }
}

fn state_at(key: &ListedKey, now_ms: i64) -> &'static str {
    match (key.revoked_ms, key.expires_ms) {
        (Some(_), _) => "revoked",
        (None, Some(end)) if end <= now_ms => "expired",
        _ => VALID,
    }
}

fn roles(grants: &Value) -> String {
    let grants = serde_json::from_value::<Vec<GrantConfig>>(grants.clone());
    let roles: Vec<String> = grants
        .unwrap_or_default()
        .iter()
        .map(|grant| format!("{} on {}", grant.role, grant.resources.join(", ")))
        .collect();
    roles.join("; ")
}

fn time_or_never(ms: Option<i64>) -> String {
    ms.map_or_else(|| "never".to_owned(), timestamp)
}
