//! What a verified token says, and whether it is valid here and now (RFC 7519, section 4.1).

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use crate::{JwtIssuerConfig, TokenError};

/// Longest subject or tenant in bytes. OpenID Connect allows 255 for a subject.
const MAX_NAME: usize = 255;
/// The end of the year 9999 in seconds. A later time was written in milliseconds.
const MAX_TIME: f64 = 253_402_300_799.0;

/// Who a token speaks for.
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    /// The issuer, as configured.
    pub issuer: String,
    /// The subject: unique within the issuer.
    pub subject: String,
    /// The tenant, if a claim is configured for it.
    pub tenant: Option<String>,
    /// The groups or roles, if a claim is configured for them.
    pub groups: Vec<String>,
    /// `exp`: seconds since 1970. Whoever serves this caller for long must stop then, give or take
    /// the configured clock skew.
    pub expires_at: i64,
    /// The claims that the configuration keeps.
    pub claims: Map<String, Value>,
    validity: Validity,
    derived: Derived,
}

/// What a user of the token has made of it.
#[derive(Clone, Default)]
struct Derived(OnceLock<Arc<dyn Any + Send + Sync>>);

impl fmt::Debug for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Derived(..)")
    }
}

/// When a token is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Validity {
    expires_at: i64,
    not_before: Option<i64>,
    issued_at: Option<i64>,
}

impl VerifiedToken {
    /// What `make` makes of the token. It is kept with the token, so that a token that is presented
    /// with every request is read once. Callers that want another type than the first one do without
    /// that.
    ///
    /// ```no_run
    /// # fn example(token: &tidegate_tokens::VerifiedToken) {
    /// let name = token.derived(|token| format!("{}@{}", token.subject, token.issuer));
    /// # }
    /// ```
    pub fn derived<T: Any + Send + Sync>(&self, make: impl FnOnce(&Self) -> T) -> Arc<T> {
        if let Some(kept) = self.derived.0.get()
            && let Ok(kept) = Arc::clone(kept).downcast()
        {
            return kept;
        }
        let made = Arc::new(make(self));
        // If another thread was first, both have made the same.
        let _ = self
            .derived
            .0
            .set(Arc::clone(&made) as Arc<dyn Any + Send + Sync>);
        made
    }

    /// Reads the claims of a token whose signature and issuer are verified, and checks them except
    /// for the time.
    pub(crate) fn read(
        claims: &Map<String, Value>,
        config: &JwtIssuerConfig,
    ) -> Result<Self, TokenError> {
        if claims.contains_key("cnf") {
            return Err(TokenError::Bound);
        }
        check_audience(claims, &config.audiences)?;
        for (name, allowed) in &config.required_claims {
            check_value(claims, name, allowed)?;
        }
        let validity = Validity::read(claims)?;
        let tenant = match &config.tenant_claim {
            Some(claim) => Some(name(claims, claim)?),
            None => None,
        };
        let groups = match &config.groups_claim {
            Some(claim) => groups(claims, claim)?,
            None => Vec::new(),
        };
        let kept = config.kept_claims.iter();
        let kept = kept.filter_map(|name| Some((name.clone(), find(claims, name)?.clone())));
        Ok(Self {
            issuer: config.issuer.clone(),
            subject: name(claims, &config.subject_claim)?,
            tenant,
            groups,
            expires_at: validity.expires_at,
            claims: kept.collect(),
            validity,
            derived: Derived::default(),
        })
    }

    /// Whether the token is valid at a time, give or take the skew between the issuer's clock and
    /// ours. Both in seconds.
    pub(crate) fn check_time(&self, now: i64, skew: i64) -> Result<(), TokenError> {
        self.validity.check(now, skew)
    }
}

impl Validity {
    fn read(claims: &Map<String, Value>) -> Result<Self, TokenError> {
        let expires_at = time(claims, "exp")?;
        Ok(Self {
            expires_at: expires_at.ok_or_else(|| TokenError::MissingClaim("exp".into()))?,
            not_before: time(claims, "nbf")?,
            issued_at: time(claims, "iat")?,
        })
    }

    fn check(&self, now: i64, skew: i64) -> Result<(), TokenError> {
        if now >= self.expires_at + skew {
            let seconds_ago = now - self.expires_at;
            return Err(TokenError::Expired { seconds_ago });
        }
        for (claim, starts_at) in [("nbf", self.not_before), ("iat", self.issued_at)] {
            let seconds_ahead = starts_at.map_or(0, |starts_at| starts_at - now);
            if seconds_ahead > skew {
                return Err(TokenError::NotYetValid {
                    claim,
                    seconds_ahead,
                });
            }
        }
        Ok(())
    }
}

/// A time in whole seconds; it may have been written as a fraction. Anything else than a number is
/// an error: to take it as absent would skip the check (CVE-2026-25537).
fn time(claims: &Map<String, Value>, claim: &str) -> Result<Option<i64>, TokenError> {
    let Some(value) = claims.get(claim) else {
        return Ok(None);
    };
    match value.as_f64() {
        Some(seconds) if (0.0..=MAX_TIME).contains(&seconds) => Ok(Some(seconds as i64)),
        _ => Err(TokenError::invalid(claim, "a time in seconds since 1970")),
    }
}

/// `aud` is a string or an array of strings.
fn check_audience(claims: &Map<String, Value>, audiences: &[String]) -> Result<(), TokenError> {
    let value = claims.get("aud");
    let value = value.ok_or_else(|| TokenError::MissingClaim("aud".into()))?;
    let named = strings(value);
    let named = named.ok_or_else(|| TokenError::invalid("aud", "a string or strings"))?;
    match named
        .iter()
        .any(|name| audiences.iter().any(|audience| audience == name))
    {
        true => Ok(()),
        false => Err(TokenError::Audience),
    }
}

/// Whether a claim has one of the allowed values, or any if none are listed. Numbers and truth
/// values are compared by their JSON text; of an array, one element is enough.
fn check_value(
    claims: &Map<String, Value>,
    name: &str,
    allowed: &[String],
) -> Result<(), TokenError> {
    let value = find(claims, name).ok_or_else(|| TokenError::MissingClaim(name.into()))?;
    let values = match value {
        Value::Array(values) => values.as_slice(),
        value => std::slice::from_ref(value),
    };
    match allowed.is_empty() || values.iter().any(|value| is_one_of(value, allowed)) {
        true => Ok(()),
        false => Err(TokenError::ClaimValue(name.into())),
    }
}

fn is_one_of(value: &Value, allowed: &[String]) -> bool {
    match value {
        Value::String(text) => allowed.contains(text),
        Value::Bool(_) | Value::Number(_) => allowed.contains(&value.to_string()),
        _ => false,
    }
}

/// A subject or tenant: it must be fit for logs and labels.
fn name(claims: &Map<String, Value>, claim: &str) -> Result<String, TokenError> {
    match find(claims, claim) {
        None => Err(TokenError::MissingClaim(claim.into())),
        Some(Value::String(name)) if is_name(name) => Ok(name.clone()),
        Some(_) => Err(TokenError::invalid(
            claim,
            "a string of 1 to 255 bytes without control characters",
        )),
    }
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Groups. A token without the claim is of no group.
fn groups(claims: &Map<String, Value>, claim: &str) -> Result<Vec<String>, TokenError> {
    let Some(value) = find(claims, claim) else {
        return Ok(Vec::new());
    };
    let names = strings(value);
    let names = names.ok_or_else(|| TokenError::invalid(claim, "a string or strings"))?;
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// A string, or an array of nothing else.
fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(values) => values.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// A claim by its name or, if there is none of that name, by its path through objects:
/// `realm_access.roles`. Names with dots are common too: `https://example.com/roles`.
fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    let inner = claims.get(first)?.as_object()?;
    find(inner, rest)
}
