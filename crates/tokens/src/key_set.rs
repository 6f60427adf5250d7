//! The key set that an issuer publishes (RFC 7517, section 5).

use serde_json::Value;

use crate::compact::CompactToken;
use crate::key::VerificationKey;
use crate::{TokenError, strict_json};

/// More keys than any issuer needs; what is beyond is not used.
const MAX_KEYS: usize = 100;
/// How many keys are tried for a token without a key id, or whose id several keys have. Each takes
/// tens of microseconds, which a stranger can cost us.
const MAX_TRIED: usize = 8;

/// The keys of an issuer that signatures can be verified with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KeySet {
    keys: Vec<VerificationKey>,
    /// Keys that are not used, and why.
    pub(crate) unused: Vec<(Option<String>, &'static str)>,
}

impl KeySet {
    /// Reads a key set. Keys that cannot be used are left out, as the RFC demands.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let set = strict_json::parse(bytes).map_err(|_| "the key set is not JSON")?;
        let Some(jwks) = set.get("keys").and_then(Value::as_array) else {
            return Err("the key set has no array \"keys\"");
        };
        let (mut keys, mut unused) = (Vec::new(), Vec::new());
        for jwk in jwks.iter().take(MAX_KEYS) {
            let id = jwk.get("kid").and_then(Value::as_str);
            match VerificationKey::from_jwk(jwk) {
                Ok(key) => keys.push(key),
                Err(reason) => unused.push((id.map(str::to_owned), reason)),
            }
        }
        Ok(Self { keys, unused })
    }

    /// How many keys signatures can be verified with.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether one of the keys signed the token.
    pub(crate) fn verify(&self, token: &CompactToken<'_>) -> Result<(), TokenError> {
        let fitting = self.keys.iter().filter(|key| key.fits(token.algorithm));
        let named = fitting.filter(|key| token.key_id.is_none() || key.id == token.key_id);
        let mut error = TokenError::UnknownKey { awaits_keys: false };
        for key in named.take(MAX_TRIED) {
            if key.verify(token.algorithm, token.signed, &token.signature) {
                return Ok(());
            }
            error = TokenError::Signature { awaits_keys: false };
        }
        Err(error)
    }
}
