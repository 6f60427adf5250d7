//! The compact serialization of a signed token (RFC 7515, section 7.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::{Algorithm, TokenError, strict_json};

/// A token taken apart. Nothing in it is verified.
pub(crate) struct CompactToken<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
    pub(crate) claims: Map<String, Value>,
    /// The bytes that the signature is over.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: Vec<u8>,
}

impl<'a> CompactToken<'a> {
    pub(crate) fn parse(token: &'a str) -> Result<Self, TokenError> {
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed("it has not three parts"));
        };
        // Before the other parts, so that `none` is named as the reason, not its empty signature.
        let (algorithm, key_id) = read_header(&object(header)?)?;
        Ok(Self {
            algorithm,
            key_id,
            claims: object(payload)?,
            signed: &token.as_bytes()[..header.len() + 1 + payload.len()],
            signature: decode(signature)?,
        })
    }

    /// The issuer that the token names.
    pub(crate) fn issuer(&self) -> Result<&str, TokenError> {
        match self.claims.get("iss") {
            Some(Value::String(issuer)) => Ok(issuer),
            Some(_) => Err(TokenError::invalid("iss", "a string")),
            None => Err(TokenError::MissingClaim("iss".into())),
        }
    }
}

/// What a token says, whoever has written it.
#[derive(Clone, Debug, PartialEq)]
pub struct UnverifiedToken {
    /// The header.
    pub header: Map<String, Value>,
    /// The claims.
    pub claims: Map<String, Value>,
}

/// Reads a token without verifying anything, to show it to a person who looks for a mistake.
/// Nothing may be decided by it.
pub fn unverified(token: &str) -> Option<UnverifiedToken> {
    let mut parts = token.split('.');
    let header = object(parts.next()?).ok()?;
    let claims = object(parts.next()?).ok()?;
    Some(UnverifiedToken { header, claims })
}

/// Algorithm and key id. Keys in the header or behind its URLs (`jwk`, `jku`, `x5c`, `x5u`) are
/// the sender's word only, and are never looked at.
fn read_header(header: &Map<String, Value>) -> Result<(Algorithm, Option<String>), TokenError> {
    if header.contains_key("crit")
        || header
            .get("b64")
            .is_some_and(|b64| *b64 != Value::Bool(true))
    {
        return Err(TokenError::Extension);
    }
    if !header.get("typ").is_none_or(is_allowed_type) {
        return Err(TokenError::Type);
    }
    let Some(Value::String(name)) = header.get("alg") else {
        return Err(TokenError::Malformed("its header has no alg"));
    };
    let algorithm = Algorithm::named(name).ok_or(TokenError::Algorithm(refused_name(name)))?;
    match header.get("kid") {
        None => Ok((algorithm, None)),
        Some(Value::String(kid)) => Ok((algorithm, Some(kid.clone()))),
        Some(_) => Err(TokenError::Malformed("its header's kid is not a string")),
    }
}

/// Access and ID tokens. Other tokens of the same issuer (logout tokens, security events, proofs
/// of possession) name their own type and must not pass for one (RFC 8725, section 3.11).
fn is_allowed_type(value: &Value) -> bool {
    let Some(name) = value.as_str() else {
        return false;
    };
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix("application/").unwrap_or(&name);
    matches!(name, "jwt" | "at+jwt")
}

/// The name of an algorithm for a message, which must not repeat what a stranger has written.
fn refused_name(name: &str) -> &'static str {
    const KNOWN: [&str; 6] = ["none", "HS256", "HS384", "HS512", "ES512", "ES256K"];
    let known = KNOWN
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(name));
    known.unwrap_or("an unknown algorithm")
}

fn object(part: &str) -> Result<Map<String, Value>, TokenError> {
    match strict_json::parse(&decode(part)?) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(TokenError::Malformed("a part is not a JSON object")),
        Err(_) => Err(TokenError::Malformed(
            "a part is not JSON, or has two members of one name",
        )),
    }
}

/// Strict: no padding, no other alphabet, no spare bits. So a token has exactly one text.
fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    let decoded = URL_SAFE_NO_PAD.decode(part);
    decoded.map_err(|_| TokenError::Malformed("a part is not base64url"))
}
