//! Keys, tokens and a server of keys for the tests.

mod key_server;
mod keys;

pub(crate) use key_server::{KeyServer, until};
pub(crate) use keys::{TestKey, encode, encode_json};

use serde_json::{Map, Value, json};

use crate::JwtIssuerConfig;

/// The time of the tests, in seconds since 1970.
pub(crate) const NOW: i64 = 1_800_000_000;

/// The issuer of the tests' tokens.
pub(crate) const ISSUER: &str = "https://issuer.example";

/// A configuration that accepts [`claims`].
pub(crate) fn config() -> JwtIssuerConfig {
    JwtIssuerConfig {
        issuer: ISSUER.to_owned(),
        audiences: vec!["models".to_owned()],
        ..JwtIssuerConfig::default()
    }
}

/// The claims of a valid token, with those of `changes` in their place; null removes one.
pub(crate) fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "sub": "ann", "aud": "models", "exp": NOW + 300, "nbf": NOW, "iat": NOW,
    });
    let members = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap_or(&Map::new()) {
        match value {
            Value::Null => members.shift_remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
    claims
}

/// A key set of these keys.
pub(crate) fn key_set(keys: &[&TestKey]) -> Value {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() })
}
