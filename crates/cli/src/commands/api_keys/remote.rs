//! Keys of a server that is asked over HTTP.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_server::ListedKey;

use super::listing;
use super::{ApiKeysCommand, Create, show_once};
use crate::client;
use crate::output::print_line;

const KEYS: &str = "/api/keys";

/// A new key.
#[derive(Deserialize)]
struct ShownKey {
    key: String,
}

pub(super) fn run(url: &str, command: ApiKeysCommand) -> Result<()> {
    match command {
        ApiKeysCommand::Create(create) => {
            show(&client::post_json(url, KEYS, body(&create))?)?;
        }
        ApiKeysCommand::Rotate(rotate) => {
            let path = format!("{}/rotate", path_of(&rotate.name)?);
            let body = json!({"overlap_s": rotate.overlap.as_secs()});
            show(&client::post_json(url, &path, body)?)?;
        }
        ApiKeysCommand::Revoke { name, force } => {
            let query = if force { "?force=true" } else { "" };
            client::delete(url, &format!("{}{query}", path_of(&name)?))?;
            print_line!("{name} is revoked");
        }
        ApiKeysCommand::List(list) => {
            let text = client::get(url, KEYS)?;
            let keys: Vec<ListedKey> =
                serde_json::from_str(&text).context("the response is not a list of keys")?;
            listing::print(keys, &list)?;
        }
    }
    Ok(())
}

fn path_of(name: &str) -> Result<String> {
    // No other byte is in the name of a key, and these need no escape in a path.
    if name.is_empty() || !name.bytes().all(is_name_byte) {
        bail!("there is no valid key {name:?}");
    }
    Ok(format!("{KEYS}/{name}"))
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte)
}

fn body(create: &Create) -> Value {
    let mut body = json!({
        "name": create.name,
        "grants": [{"role": create.role, "resources": create.on}],
        "valid_for_s": create.expires.map(|time| time.as_secs()),
    });
    // The server has a default: the tenant of the caller.
    if !create.tenant.is_empty() {
        body["tenant"] = json!(create.tenant);
    }
    body
}

fn show(text: &str) -> Result<()> {
    let shown: ShownKey = serde_json::from_str(text).context("the response has no key")?;
    show_once(&shown.key);
    Ok(())
}
