//! Keys as they are listed, from the database or from a server.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_gateway::GrantConfig;
use tidegate_store::{ApiKey, now_ms};

use super::List;
use crate::output::{print_json_text, print_line, print_table, timestamp};

/// A key without its text and digest.
#[derive(Serialize, Deserialize)]
pub(super) struct ListedKey {
    id: String,
    name: String,
    hint: String,
    tenant: String,
    grants: Value,
    /// Filled in before it is printed.
    #[serde(skip_deserializing)]
    state: &'static str,
    created_ms: i64,
    created_by: String,
    expires_ms: Option<i64>,
    revoked_ms: Option<i64>,
    last_used_ms: Option<i64>,
}

/// Prints keys.
pub(super) fn print(mut keys: Vec<ListedKey>, list: &List) -> Result<()> {
    let now_ms = now_ms();
    for key in &mut keys {
        key.state = key.state_at(now_ms);
    }
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

fn rows(keys: &[ListedKey]) -> Vec<[String; 7]> {
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
    rows.extend(keys.iter().map(ListedKey::row));
    rows
}

impl ListedKey {
    fn row(&self) -> [String; 7] {
        [
            self.name.clone(),
            format!("{}…", self.hint),
            self.tenant.clone(),
            self.roles(),
            self.state.to_owned(),
            time_or_never(self.expires_ms),
            time_or_never(self.last_used_ms),
        ]
    }

    fn state_at(&self, now_ms: i64) -> &'static str {
        match (self.revoked_ms, self.expires_ms) {
            (Some(_), _) => "revoked",
            (None, Some(end)) if end <= now_ms => "expired",
            _ => VALID,
        }
    }

    fn roles(&self) -> String {
        let grants = serde_json::from_value::<Vec<GrantConfig>>(self.grants.clone());
        let roles: Vec<String> = grants
            .unwrap_or_default()
            .iter()
            .map(|grant| format!("{} on {}", grant.role, grant.resources.join(", ")))
            .collect();
        roles.join("; ")
    }
}

fn time_or_never(ms: Option<i64>) -> String {
    ms.map_or_else(|| "never".to_owned(), timestamp)
}

impl From<ApiKey> for ListedKey {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            hint: key.hint,
            tenant: key.tenant,
            grants: key.grants,
            state: "",
            created_ms: key.created_ms,
            created_by: key.created_by,
            expires_ms: key.expires_ms,
            revoked_ms: key.revoked_ms,
            last_used_ms: key.last_used_ms,
        }
    }
}
